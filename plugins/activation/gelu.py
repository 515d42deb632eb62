"""Gaussian error linear unit, exact."""

from dataclasses import dataclass

import numpy as np
from backproof.contracts import Activation, Array, cached_scalar
from scipy.special import ndtr  # pyright: ignore


@dataclass(frozen=True)
class GELU(Activation):
    """φ(a) = a Φ(a), Φ the normal distribution function (Hendrycks & Gimpel 2016, eq. 1; the exact form)."""

    def forward(self, a: Array, out: Array) -> None:
        ndtr(a, out)
        np.multiply(out, a, out)

    def backward(self, a: Array, h: Array, grad: Array, work: tuple[Array, Array]) -> None:
        """φ'(a) = Φ(a) + a exp(−a²/2) / √(2π)."""
        slope, density = work
        np.multiply(a, a, density)
        np.multiply(density, cached_scalar(-0.5, a.dtype), density)
        np.exp(density, density)
        np.multiply(density, a, density)
        np.multiply(density, cached_scalar((2 * np.pi) ** -0.5, a.dtype), density)
        ndtr(a, slope)
        np.add(slope, density, slope)
        np.multiply(grad, slope, grad)
