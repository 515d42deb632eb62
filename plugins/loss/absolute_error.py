"""Absolute error."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from backproof.contracts import REGRESSION, Array, Loss, cached_scalar
from numpy.typing import DTypeLike


@dataclass(frozen=True)
class AbsoluteError(Loss):
    """Err(y, z) = mean over B of Σ_k |z_k − y_k| (Laplace 1774): the median, where squares give the mean."""

    tasks: ClassVar[tuple[str, ...]] = (REGRESSION,)

    def encode(self, y: Array, K: int, dtype: DTypeLike) -> Array:
        """From real targets (N, K)."""
        if y.shape[1:] != (K,):
            raise ValueError(f"targets must be (N, {K}), got {y.shape}")
        return y.astype(dtype)

    def value(self, z: Array, y: Array) -> Array:
        gap = z - y
        # A complex number has no |.| of its own here: the branch is that of its real part.
        return (gap * np.sign(np.real(gap))).sum(axis=-1).mean(axis=-1)

    def gradient(self, z: Array, y: Array, grad: Array) -> None:
        """∂Err/∂z_k = sign(z_k − y_k) / B; 0 where z_k = y_k, which is a kink."""
        np.subtract(z, y, grad)
        np.sign(np.real(grad), out=grad)
        np.multiply(grad, cached_scalar(1 / z.shape[1], grad.dtype), grad)

    def link(self, z: Array, out: Array) -> None:
        """The values themselves."""
        np.copyto(out, z)
