"""Sigmoid linear unit, also called swish."""

from dataclasses import dataclass

import numpy as np
from backproof.contracts import Activation, Array, cached_scalar, is_complex
from scipy.special import expit  # pyright: ignore


@dataclass(frozen=True)
class SiLU(Activation):
    """φ(a) = a σ(a) (Elfwing, Uchibe & Doya 2018, eq. 3; Ramachandran et al. 2017 with β = 1)."""

    def forward(self, a: Array, out: Array) -> None:
        if is_complex(a):
            out[...] = a * 0.5 * (1 + np.tanh(0.5 * a))
            return
        expit(a, out)
        np.multiply(out, a, out)

    def backward(self, a: Array, h: Array, grad: Array, work: tuple[Array, Array]) -> None:
        """φ'(a) = σ(a) (1 + a (1 − σ(a))) = σ(a) (1 + a − h)."""
        slope, sigma = work
        np.subtract(a, h, slope)
        np.add(slope, cached_scalar(1, a.dtype), slope)
        if is_complex(a):
            sigma[...] = 0.5 * (1 + np.tanh(0.5 * a))
        else:
            expit(a, sigma)
        np.multiply(slope, sigma, slope)
        np.multiply(grad, slope, grad)
