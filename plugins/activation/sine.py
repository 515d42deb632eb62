"""Sine, for periodic and implicit representations."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from backproof.contracts import Activation, Array, cached_scalar, hyper


@dataclass(frozen=True)
class Sine(Activation):
    """φ(a) = sin(ω a) (Sitzmann et al. 2020, SIREN, eq. 4, with ω = 30 in the first layer)."""

    omega: float = hyper(1.0, "ω: the frequency", gt=0)

    @classmethod
    def examples(cls) -> tuple[dict[str, Any], ...]:
        return {}, {"omega": 30.0}

    def forward(self, a: Array, out: Array) -> None:
        np.multiply(a, cached_scalar(self.omega, a.dtype), out)
        np.sin(out, out)

    def backward(self, a: Array, h: Array, grad: Array, work: tuple[Array, Array]) -> None:
        """φ'(a) = ω cos(ω a)."""
        slope, _ = work
        np.multiply(a, cached_scalar(self.omega, a.dtype), slope)
        np.cos(slope, slope)
        np.multiply(slope, cached_scalar(self.omega, a.dtype), slope)
        np.multiply(grad, slope, grad)
