"""Hyperbolic tangent."""

from dataclasses import dataclass

import numpy as np
from backproof.contracts import Activation, Array, cached_scalar


@dataclass(frozen=True)
class Tanh(Activation):
    """φ(a) = tanh(a) (LeCun et al. 1998, section 4.4)."""

    def forward(self, a: Array, out: Array) -> None:
        np.tanh(a, out)

    def backward(self, a: Array, h: Array, grad: Array, work: tuple[Array, Array]) -> None:
        """φ'(a) = 1 − tanh²(a) = 1 − h²."""
        slope, _ = work
        np.multiply(h, h, slope)
        np.subtract(cached_scalar(1, h.dtype), slope, slope)
        np.multiply(grad, slope, grad)
