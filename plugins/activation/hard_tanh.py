"""Hard tanh: the identity, clipped to [−1, 1]."""

from dataclasses import dataclass

import numpy as np
from backproof.contracts import Activation, Array, cached_scalar, is_complex


@dataclass(frozen=True)
class HardTanh(Activation):
    """φ(a) = min(max(a, −1), 1) (Collobert 2004)."""

    @property
    def kinks(self) -> tuple[float, ...]:
        return (-1.0, 1.0)

    def forward(self, a: Array, out: Array) -> None:
        if is_complex(a):
            out[...] = np.where(np.abs(np.real(a)) < 1, a, np.sign(np.real(a)))
            return
        np.clip(a, cached_scalar(-1, a.dtype), cached_scalar(1, a.dtype), out=out)

    def backward(self, a: Array, h: Array, grad: Array, work: tuple[Array, Array]) -> None:
        """φ'(a) = 1 at |a| < 1, and 0 at |a| ≥ 1, the kinks included."""
        slope, _ = work
        np.abs(a, slope)
        np.less(slope, cached_scalar(1, a.dtype), out=slope)
        np.multiply(grad, slope, grad)
