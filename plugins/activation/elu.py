"""Exponential linear unit."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from backproof.contracts import Activation, Array, cached_scalar, hyper, is_complex


@dataclass(frozen=True)
class ELU(Activation):
    """φ(a) = a at a > 0, α (exp(a) − 1) at a ≤ 0 (Clevert, Unterthiner & Hochreiter 2016, eq. 15)."""

    alpha: float = hyper(1.0, "α: the limit −α at minus infinity", gt=0)

    @classmethod
    def examples(cls) -> tuple[dict[str, Any], ...]:
        return {}, {"alpha": 0.3}, {"alpha": 2.0}

    @property
    def kinks(self) -> tuple[float, ...]:
        return () if self.alpha == 1 else (0.0,)

    def forward(self, a: Array, out: Array) -> None:
        if is_complex(a):
            above = np.real(a) > 0
            out[...] = np.where(above, a, self.alpha * np.expm1(np.where(above, 0, a)))
            return
        np.minimum(a, cached_scalar(0, out.dtype), out=out)
        np.expm1(out, out)
        if self.alpha != 1:
            np.multiply(out, cached_scalar(self.alpha, out.dtype), out)
        if self.alpha <= 1:
            # Below zero α (exp(a) − 1) ≥ a, and a mask would take two to three times as long.
            np.maximum(out, a, out=out)
        else:
            # The mask takes one byte per element.
            np.copyto(out, a, where=a > 0)

    def backward(self, a: Array, h: Array, grad: Array, work: tuple[Array, Array]) -> None:
        """φ'(a) = 1 at a > 0, α exp(a) = h + α at a ≤ 0, the kink included."""
        slope, above = work
        np.minimum(h, cached_scalar(0, h.dtype), out=slope)
        np.add(slope, cached_scalar(self.alpha, h.dtype), slope)
        if self.alpha != 1:
            np.greater(a, cached_scalar(0, a.dtype), out=above)
            np.multiply(above, cached_scalar(1 - self.alpha, h.dtype), above)
            np.add(slope, above, slope)
        np.multiply(grad, slope, grad)
