"""Squared error."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from backproof.contracts import REGRESSION, Array, Loss, cached_scalar
from numpy.typing import DTypeLike


@dataclass(frozen=True)
class SquaredError(Loss):
    """Err(y, z) = mean over B of ½ Σ_k (z_k − y_k)² (Legendre 1805; for normal errors the likelihood, Gauss 1809).

    The sum over K targets is not divided by K.
    """

    tasks: ClassVar[tuple[str, ...]] = (REGRESSION,)
    default_for: ClassVar[tuple[str, ...]] = (REGRESSION,)

    def encode(self, y: Array, K: int, dtype: DTypeLike) -> Array:
        """From real targets (N, K)."""
        if y.shape[1:] != (K,):
            raise ValueError(f"targets must be (N, {K}), got {y.shape}")
        return y.astype(dtype)

    def value(self, z: Array, y: Array) -> Array:
        gap = z - y
        return 0.5 * (gap * gap).sum(axis=-1).mean(axis=-1)

    def gradient(self, z: Array, y: Array, grad: Array) -> None:
        """∂Err/∂z_k = (z_k − y_k) / B."""
        np.subtract(z, y, grad)
        np.multiply(grad, cached_scalar(1 / z.shape[1], grad.dtype), grad)

    def link(self, z: Array, out: Array) -> None:
        """The values themselves."""
        np.copyto(out, z)
