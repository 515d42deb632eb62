"""Logistic sigmoid."""

from dataclasses import dataclass

import numpy as np
from backproof.contracts import Activation, Array, cached_scalar, is_complex
from scipy.special import expit  # pyright: ignore


@dataclass(frozen=True)
class Sigmoid(Activation):
    """φ(a) = 1 / (1 + exp(−a)) (Rumelhart, Hinton & Williams 1986)."""

    def forward(self, a: Array, out: Array) -> None:
        if is_complex(a):
            e = np.exp(np.where(np.real(a) > 0, -a, a))
            out[...] = np.where(np.real(a) > 0, 1, e) / (1 + e)
            return
        expit(a, out)

    def backward(self, a: Array, h: Array, grad: Array, work: tuple[Array, Array]) -> None:
        """φ'(a) = h (1 − h)."""
        slope, _ = work
        np.subtract(cached_scalar(1, h.dtype), h, slope)
        np.multiply(slope, h, slope)
        np.multiply(grad, slope, grad)
