"""Huber's loss."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from backproof.contracts import REGRESSION, Array, Loss, cached_scalar, hyper
from numpy.typing import DTypeLike


@dataclass(frozen=True)
class Huber(Loss):
    """Err(y, z) = mean over B of Σ_k ρ(z_k − y_k); ρ(u) = ½u² at |u| ≤ δ, δ(|u| − ½δ) beyond (Huber 1964).

    Its derivative is continuous: no kink.
    """

    tasks: ClassVar[tuple[str, ...]] = (REGRESSION,)

    delta: float = hyper(1.0, "δ: beyond it the loss is linear", gt=0)

    def encode(self, y: Array, K: int, dtype: DTypeLike) -> Array:
        """From real targets (N, K)."""
        if y.shape[1:] != (K,):
            raise ValueError(f"targets must be (N, {K}), got {y.shape}")
        return y.astype(dtype)

    def value(self, z: Array, y: Array) -> Array:
        gap = z - y
        side = np.real(gap)
        # With c = u clipped to ±δ both branches are c (u − c/2), and no square overflows far out.
        clipped = np.where(np.abs(side) <= self.delta, gap, self.delta * np.sign(side))
        return (clipped * (gap - 0.5 * clipped)).sum(axis=-1).mean(axis=-1)

    def gradient(self, z: Array, y: Array, grad: Array) -> None:
        """∂Err/∂z_k = min(max(z_k − y_k, −δ), δ) / B."""
        np.subtract(z, y, grad)
        np.minimum(grad, cached_scalar(self.delta, grad.dtype), out=grad)
        np.maximum(grad, cached_scalar(-self.delta, grad.dtype), out=grad)
        np.multiply(grad, cached_scalar(1 / z.shape[1], grad.dtype), grad)

    def link(self, z: Array, out: Array) -> None:
        """The values themselves."""
        np.copyto(out, z)

    @classmethod
    def examples(cls) -> tuple[dict[str, Any], ...]:
        return ({}, {"delta": 0.1})
