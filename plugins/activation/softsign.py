"""Softsign."""

from dataclasses import dataclass

import numpy as np
from backproof.contracts import Activation, Array, cached_scalar, is_complex


@dataclass(frozen=True)
class Softsign(Activation):
    """φ(a) = a / (1 + |a|) (Bergstra et al. 2009; Glorot & Bengio 2010)."""

    def forward(self, a: Array, out: Array) -> None:
        if is_complex(a):
            np.divide(a, 1 + np.where(np.real(a) < 0, -a, a), out=out)
            return
        np.abs(a, out)
        np.add(out, cached_scalar(1, a.dtype), out)
        np.divide(a, out, out)

    def backward(self, a: Array, h: Array, grad: Array, work: tuple[Array, Array]) -> None:
        """φ'(a) = 1 / (1 + |a|)², which is 1 on both sides of 0: no kink."""
        below, _ = work
        if is_complex(a):
            np.multiply(a, np.where(np.real(a) < 0, -1, 1), below)
        else:
            np.abs(a, below)
        np.add(below, cached_scalar(1, a.dtype), below)
        np.divide(grad, below, grad)
        np.divide(grad, below, grad)
