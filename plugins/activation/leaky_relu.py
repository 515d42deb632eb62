"""Leaky rectified linear unit."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from backproof.contracts import Activation, Array, cached_scalar, hyper, is_complex


@dataclass(frozen=True)
class LeakyReLU(Activation):
    """φ(a) = a at a > 0, slope · a at a ≤ 0 (Maas, Hannun & Ng 2013)."""

    slope: float = hyper(0.01, "slope below zero", ge=0, lt=1)

    @classmethod
    def examples(cls) -> tuple[dict[str, Any], ...]:
        return {}, {"slope": 0.0}, {"slope": 0.3}

    @property
    def kinks(self) -> tuple[float, ...]:
        return (0.0,)

    def forward(self, a: Array, out: Array) -> None:
        if is_complex(a):
            np.multiply(a, np.where(np.real(a) > 0, 1.0, self.slope), out=out)
            return
        np.multiply(a, cached_scalar(self.slope, a.dtype), out)
        np.maximum(a, out, out=out)

    def backward(self, a: Array, h: Array, grad: Array, work: tuple[Array, Array]) -> None:
        """φ'(a) = 1 at a > 0, slope at a ≤ 0, the kink included."""
        slope, _ = work
        np.greater(a, cached_scalar(0, a.dtype), out=slope)
        np.maximum(slope, cached_scalar(self.slope, a.dtype), out=slope)
        np.multiply(grad, slope, grad)
