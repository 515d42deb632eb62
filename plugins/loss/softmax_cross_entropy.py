"""Softmax cross-entropy, the loss of the homework."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from backproof.contracts import CLASSIFICATION, Array, Loss, cached_scalar, hyper
from numpy.typing import DTypeLike


@dataclass(frozen=True)
class SoftmaxCrossEntropy(Loss):
    """Err(y, z) = mean over B of −Σ_k y_k z_k + (Σ_k y_k) log Σ_k exp(z_k), y one-hot (Bridle 1990).

    Label smoothing ε replaces y by (1 − ε) y + ε / K (Szegedy et al. 2016, section 7). A class weight multiplies
    the samples of its class. The mean is still over B samples, not over their weights as in PyTorch, so that all
    batches count equally.
    """

    tasks: ClassVar[tuple[str, ...]] = (CLASSIFICATION,)
    default_for: ClassVar[tuple[str, ...]] = (CLASSIFICATION,)
    prediction: ClassVar[str] = "probability"

    label_smoothing: float = hyper(0.0, "ε: how much of each target is spread over all classes", ge=0, lt=1)
    class_weights: tuple[float, ...] | None = hyper(None, "one weight per class; null for 1 each", gt=0)

    def encode(self, y: Array, K: int, dtype: DTypeLike) -> Array:
        """Return rows (N, K) from class indices (N,), or from rows that are one-hot or probabilities."""
        if y.ndim == 1:
            rows = (y[:, None] == np.arange(K)).astype(np.float64)
            known = rows.any(axis=1)
            if not known.all():
                raise ValueError(f"class indices must be 0 to {K - 1}, got {y[~known][0]}")
        elif y.shape[1:] == (K,) and (y >= 0).all() and np.allclose(y.sum(axis=1), 1):
            rows = y.astype(np.float64)
        else:
            raise ValueError(
                f"targets must be class indices (N,), or probabilities (N, {K}) that sum to 1, got {y.shape}"
            )
        weights = np.ones(K) if self.class_weights is None else np.array(self.class_weights)
        if weights.shape != (K,):
            raise ValueError(f"loss.class_weights must be {K} numbers, one per class, got {len(weights)}")
        # A sample has the weight of its class, before the target is smoothed.
        sample_weights = rows @ weights
        smoothed = rows * (1 - self.label_smoothing) + self.label_smoothing / K
        return (smoothed * sample_weights[:, None]).astype(dtype)

    def value(self, z: Array, y: Array) -> Array:
        """Use log-sum-exp with the largest logit subtracted: exact, so no probability is clipped."""
        shifted = z - np.maximum.reduce(np.real(z), -1, keepdims=True)
        # The reductions of ufuncs: in small batches the array methods' Python overhead costs more than the sums.
        err = np.log(np.add.reduce(np.exp(shifted), -1))
        if self.class_weights is not None:
            err *= y.sum(axis=-1)
        err -= np.add.reduce(y * shifted, -1)
        return np.add.reduce(err, -1) / err.shape[-1]

    def gradient(self, z: Array, y: Array, grad: Array) -> None:
        """(α) ∂Err/∂z_k = (p_k Σ_j y_j − y_k) / B, p = softmax(z); Σ_j y_j = 1 without class weights."""
        R, B, _ = z.shape
        # One number per sample, laid out as the logits are, samples contiguous.
        reduced = np.empty((R, 1, B), z.dtype).swapaxes(1, 2)
        np.maximum.reduce(z, -1, None, reduced, True)  # pyright: ignore
        np.subtract(z, reduced, grad)
        np.exp(grad, grad)
        np.add.reduce(grad, -1, None, reduced, True)  # pyright: ignore
        np.divide(grad, reduced, grad)
        if self.class_weights is not None:
            np.multiply(grad, y.sum(axis=-1, keepdims=True), grad)
        np.subtract(grad, y, grad)
        np.multiply(grad, cached_scalar(1 / B, grad.dtype), grad)

    def link(self, z: Array, out: Array) -> None:
        """Write p = softmax(z)."""
        np.subtract(z, z.max(axis=-1, keepdims=True), out)
        np.exp(out, out)
        np.divide(out, out.sum(axis=-1, keepdims=True), out)

    @classmethod
    def examples(cls) -> tuple[dict[str, Any], ...]:
        return ({}, {"label_smoothing": 0.1}, {"class_weights": (0.5, 2.0, 1.0)})
