"""Mish."""

from dataclasses import dataclass

import numpy as np
from backproof.contracts import Activation, Array, cached_scalar, is_complex
from scipy.special import expit  # pyright: ignore


@dataclass(frozen=True)
class Mish(Activation):
    """φ(a) = a tanh(log(1 + exp(a))) (Misra 2020, eq. 1)."""

    def forward(self, a: Array, out: Array) -> None:
        if is_complex(a):
            above = np.real(a) > 0
            out[...] = a * np.tanh(np.where(above, a, 0) + np.log1p(np.exp(np.where(above, -a, a))))
            return
        self._tanh_softplus(a, out)
        np.multiply(out, a, out)

    def backward(self, a: Array, h: Array, grad: Array, work: tuple[Array, Array]) -> None:
        """φ'(a) = τ + σ(a) a (1 − τ²) = τ + σ(a) (a − h τ), τ = tanh(log(1 + exp(a)))."""
        tau, slope = work
        self._tanh_softplus(a, tau)
        np.multiply(h, tau, slope)
        np.subtract(a, slope, slope)
        if is_complex(a):
            tau[...] = 0.5 * (1 + np.tanh(0.5 * a))
        else:
            expit(a, tau)
        np.multiply(slope, tau, slope)
        self._tanh_softplus(a, tau)
        np.add(slope, tau, slope)
        np.multiply(grad, slope, grad)

    def _tanh_softplus(self, a: Array, out: Array) -> None:
        # tanh(log(1 + exp(a))) is 1 to rounding long before a = 80, where exp has not overflowed yet.
        np.minimum(a, cached_scalar(80, a.dtype), out=out)
        np.exp(out, out)
        np.log1p(out, out)
        np.tanh(out, out)
