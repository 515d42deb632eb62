"""Multiclass hinge loss: the margin of a support vector machine."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from backproof.contracts import CLASSIFICATION, Array, Loss, cached_scalar
from numpy.typing import DTypeLike


@dataclass(frozen=True)
class Hinge(Loss):
    """Err(y, z) = mean over B of max_k (z_k + 1 − y_k) − z_c, c the true class (Crammer & Singer 2001, eq. 5).

    That is max(0, 1 + max over k ≠ c of z_k − z_c).
    """

    tasks: ClassVar[tuple[str, ...]] = (CLASSIFICATION,)
    prediction: ClassVar[str] = "score"

    def encode(self, y: Array, K: int, dtype: DTypeLike) -> Array:
        """Return one-hot rows (N, K) of class indices (N,)."""
        if y.ndim != 1:
            raise ValueError(f"targets must be class indices (N,), got {y.shape}")
        rows = y[:, None] == np.arange(K)
        known = rows.any(axis=1)
        if not known.all():
            raise ValueError(f"class indices must be 0 to {K - 1}, got {y[~known][0]}")
        return rows.astype(dtype)

    def value(self, z: Array, y: Array) -> Array:
        margins = z - y
        largest = np.argmax(np.real(margins), axis=-1)[..., None]
        return (np.take_along_axis(margins, largest, -1)[..., 0] + 1 - (y * z).sum(axis=-1)).mean(axis=-1)

    def gradient(self, z: Array, y: Array, grad: Array) -> None:
        """∂Err/∂z_k = ([k is the class of the largest z_k + 1 − y_k] − y_k) / B; the first one of a tie.

        np.argmax would copy z, which it wants contiguous along K.
        """
        R, B, K = z.shape
        # One number per sample, laid out as the logits are, samples contiguous.
        largest = np.empty((R, 1, B), z.dtype).swapaxes(1, 2)
        np.subtract(z, y, grad)
        np.maximum.reduce(grad, -1, None, largest, True)  # pyright: ignore
        np.equal(grad, largest, grad)
        # Of a tie, the first class has the largest of the weights K, ..., 1.
        np.multiply(grad, np.arange(K, 0, -1, z.dtype), grad)  # pyright: ignore
        np.maximum.reduce(grad, -1, None, largest, True)  # pyright: ignore
        np.equal(grad, largest, grad)
        np.subtract(grad, y, grad)
        np.multiply(grad, cached_scalar(1 / B, grad.dtype), grad)

    def link(self, z: Array, out: Array) -> None:
        """Write the scores, which are z itself."""
        np.copyto(out, z)
