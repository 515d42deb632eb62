"""Scaled exponential linear unit."""

from dataclasses import dataclass

import numpy as np
from backproof.contracts import Activation, Array, cached_scalar, is_complex

# The fixed point of mean 0 and variance 1 (equation 14 of the paper).
ALPHA, SCALE = 1.6732632423543772, 1.0507009873554805


@dataclass(frozen=True)
class SELU(Activation):
    """φ(a) = λ a at a > 0, λ α (exp(a) − 1) at a ≤ 0 (Klambauer et al. 2017, eq. 2).

    Meant for lecun_normal weights.
    """

    @property
    def kinks(self) -> tuple[float, ...]:
        return (0.0,)

    def forward(self, a: Array, out: Array) -> None:
        if is_complex(a):
            above = np.real(a) > 0
            out[...] = SCALE * np.where(above, a, ALPHA * np.expm1(np.where(above, 0, a)))
            return
        np.minimum(a, cached_scalar(0, out.dtype), out=out)
        np.expm1(out, out)
        np.multiply(out, cached_scalar(ALPHA, out.dtype), out)
        # The mask takes one byte per element.
        np.copyto(out, a, where=a > 0)
        np.multiply(out, cached_scalar(SCALE, out.dtype), out)

    def backward(self, a: Array, h: Array, grad: Array, work: tuple[Array, Array]) -> None:
        """φ'(a) = λ at a > 0, λ α exp(a) = h + λ α at a ≤ 0, the kink included."""
        slope, above = work
        np.greater(a, cached_scalar(0, a.dtype), out=above)
        np.minimum(h, cached_scalar(0, h.dtype), out=slope)
        np.add(slope, cached_scalar(SCALE * ALPHA, h.dtype), slope)
        np.multiply(above, cached_scalar(SCALE - SCALE * ALPHA, h.dtype), above)
        np.add(slope, above, slope)
        np.multiply(grad, slope, grad)
