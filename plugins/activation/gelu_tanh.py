"""Gaussian error linear unit, in the tanh approximation."""

from dataclasses import dataclass

import numpy as np
from backproof.contracts import Activation, Array, cached_scalar, is_complex
from scipy.special import expit  # pyright: ignore

# 2u = C a (1 + CUBIC a²)
C, CUBIC = 2 * np.sqrt(2 / np.pi), 0.044715


@dataclass(frozen=True)
class GELUTanh(Activation):
    """φ(a) = a/2 (1 + tanh(u)), u = √(2/π) (a + 0.044715 a³) (Hendrycks & Gimpel 2016, section 2).

    Computed as a σ(2u), which is equal and does not cancel below zero.
    """

    def forward(self, a: Array, out: Array) -> None:
        if is_complex(a):
            out[...] = a * 0.5 * (1 + np.tanh(0.5 * C * a * (1 + CUBIC * a * a)))
            return
        self._twice_u(a, out)
        expit(out, out)
        np.multiply(out, a, out)

    def backward(self, a: Array, h: Array, grad: Array, work: tuple[Array, Array]) -> None:
        """φ'(a) = σ + h (1 − σ) 2u', σ = σ(2u), 2u' = 2√(2/π) (1 + 3 · 0.044715 a²)."""
        slope, rest = work
        self._twice_u(a, rest)
        if is_complex(a):
            rest[...] = 0.5 * (1 - np.tanh(0.5 * rest))
        else:
            np.negative(rest, rest)
            expit(rest, rest)  # 1 − σ
        np.multiply(a, a, slope)
        np.multiply(slope, cached_scalar(3 * CUBIC * C, a.dtype), slope)
        np.add(slope, cached_scalar(C, a.dtype), slope)
        np.multiply(slope, h, slope)
        # σ + h (1 − σ) 2u' = 1 + (1 − σ)(h 2u' − 1)
        np.subtract(slope, cached_scalar(1, a.dtype), slope)
        np.multiply(slope, rest, slope)
        np.add(slope, cached_scalar(1, a.dtype), slope)
        np.multiply(grad, slope, grad)

    def _twice_u(self, a: Array, out: Array) -> None:
        np.multiply(a, a, out)
        np.multiply(out, cached_scalar(CUBIC * C, a.dtype), out)
        np.add(out, cached_scalar(C, a.dtype), out)
        np.multiply(out, a, out)
