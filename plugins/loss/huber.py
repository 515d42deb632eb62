"""Huber loss: quadratic near the target, linear far from it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from backproof.contracts import Array, RegressionLoss, cached_scalar, hyper


@dataclass(frozen=True)
class Huber(RegressionLoss):
    """Err(y, z) = mean over B of Σ_k ρ(z_k − y_k); ρ(u) = ½u² at |u| ≤ δ, δ(|u| − ½δ) beyond (Huber 1964).

    Its derivative is continuous: no kink.
    """

    delta: float = hyper(1.0, "δ: beyond it the loss is linear", gt=0)

    def value(self, z: Array, y: Array) -> Array:
        gap = z - y
        side = np.real(gap)
        # With c = u clipped to ±δ, both branches are c (u − c/2), and no square overflows.
        clipped = np.where(np.abs(side) <= self.delta, gap, self.delta * np.sign(side))
        return (clipped * (gap - 0.5 * clipped)).sum(axis=-1).mean(axis=-1)

    def gradient(self, z: Array, y: Array, grad: Array) -> None:
        """∂Err/∂z_k = min(max(z_k − y_k, −δ), δ) / B."""
        np.subtract(z, y, grad)
        np.minimum(grad, cached_scalar(self.delta, grad.dtype), out=grad)
        np.maximum(grad, cached_scalar(-self.delta, grad.dtype), out=grad)
        np.multiply(grad, cached_scalar(1 / z.shape[1], grad.dtype), grad)

    @classmethod
    def examples(cls) -> tuple[dict[str, Any], ...]:
        return ({}, {"delta": 0.1})
