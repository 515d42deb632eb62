"""Rectified linear unit, the φ of the homework."""

from dataclasses import dataclass

import numpy as np
from backproof.contracts import Activation, Array, cached_scalar, is_complex


@dataclass(frozen=True)
class ReLU(Activation):
    """φ(a) = max(a, 0) (Nair & Hinton 2010)."""

    @property
    def kinks(self) -> tuple[float, ...]:
        return (0.0,)

    def forward(self, a: Array, out: Array) -> None:
        if is_complex(a):
            np.multiply(a, np.real(a) > 0, out=out)
            return
        np.maximum(a, cached_scalar(0, a.dtype), out=out)

    def backward(self, a: Array, h: Array, grad: Array, work: tuple[Array, Array]) -> None:
        """φ'(a) = 1 at a > 0, and 0 at a ≤ 0, the homework's convention at the kink: the sign of h."""
        slope, _ = work
        if is_complex(h):
            np.multiply(grad, np.real(h) > 0, grad)
            return
        np.sign(h, slope)
        np.multiply(grad, slope, grad)
