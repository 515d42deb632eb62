"""Exponential linear unit."""

from dataclasses import dataclass

import numpy as np

from framework.kinds import Activation, Array, const, hyper, is_complex


@dataclass(frozen=True)
class ELU(Activation):
    """φ(a) = a at a > 0, α (exp(a) − 1) at a ≤ 0 (Clevert, Unterthiner & Hochreiter 2016, eq. 15)."""

    alpha: float = hyper(1.0, "α: the limit −α at minus infinity", gt=0)

    @property
    def kinks(self) -> tuple[float, ...]:
        return () if self.alpha == 1 else (0.0,)

    def forward(self, a: Array, out: Array) -> None:
        if is_complex(a):
            above = np.real(a) > 0
            out[...] = np.where(above, a, self.alpha * np.expm1(np.where(above, 0, a)))
            return
        np.minimum(a, const(0, out.dtype), out=out)
        np.expm1(out, out)
        np.multiply(out, self.alpha, out)
        # Above zero `out` is 0, and what is missing is a; a mask takes a byte an element.
        np.add(out, a, out=out, where=a > 0)

    def backward(self, a: Array, h: Array, grad: Array, work: tuple[Array, Array]) -> None:
        """φ'(a) = 1 at a > 0, α exp(a) = h + α at a ≤ 0."""
        slope, above = work
        np.greater(a, 0, out=above)
        np.minimum(h, const(0, h.dtype), out=slope)
        np.add(slope, self.alpha, slope)
        np.multiply(above, 1 - self.alpha, above)
        np.add(slope, above, slope)
        np.multiply(grad, slope, grad)
