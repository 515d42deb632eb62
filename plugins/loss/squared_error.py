"""Squared error."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from backproof.contracts import REGRESSION, Array, RegressionLoss, cached_scalar


@dataclass(frozen=True)
class SquaredError(RegressionLoss):
    """Err(y, z) = mean over B of ½ Σ_k (z_k − y_k)² (Legendre 1805; the likelihood for normal errors, Gauss 1809).

    The sum over K targets is not divided by K.
    """

    default_for: ClassVar[tuple[str, ...]] = (REGRESSION,)

    def value(self, z: Array, y: Array) -> Array:
        gap = z - y
        return 0.5 * (gap * gap).sum(axis=-1).mean(axis=-1)

    def gradient(self, z: Array, y: Array, grad: Array) -> None:
        """∂Err/∂z_k = (z_k − y_k) / B."""
        np.subtract(z, y, grad)
        np.multiply(grad, cached_scalar(1 / z.shape[1], grad.dtype), grad)
