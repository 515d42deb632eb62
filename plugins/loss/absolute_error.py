"""Absolute error."""

from dataclasses import dataclass

import numpy as np
from backproof.contracts import Array, RegressionLoss, cached_scalar


@dataclass(frozen=True)
class AbsoluteError(RegressionLoss):
    """Err(y, z) = mean over B of Σ_k |z_k − y_k| (Laplace 1774). It fits the median, as squares fit the mean."""

    def value(self, z: Array, y: Array) -> Array:
        gap = z - y
        # For the complex step, |u| must be u times the sign of its real part.
        return (gap * np.sign(np.real(gap))).sum(axis=-1).mean(axis=-1)

    def gradient(self, z: Array, y: Array, grad: Array) -> None:
        """∂Err/∂z_k = sign(z_k − y_k) / B, and 0 at the kink z_k = y_k."""
        np.subtract(z, y, grad)
        np.sign(np.real(grad), out=grad)
        np.multiply(grad, cached_scalar(1 / z.shape[1], grad.dtype), grad)
