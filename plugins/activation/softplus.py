"""Softplus: a smooth ReLU."""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit  # pyright: ignore

from framework.kinds import Activation, Array, const, hyper, is_complex


@dataclass(frozen=True)
class Softplus(Activation):
    """φ(a) = log(1 + exp(β a)) / β (Dugas et al. 2001 with β = 1)."""

    beta: float = hyper(1.0, "β: the larger, the nearer to ReLU", gt=0)

    def forward(self, a: Array, out: Array) -> None:
        if is_complex(a):
            b, above = self.beta * a, np.real(a) > 0
            out[...] = (np.where(above, b, 0) + np.log1p(np.exp(np.where(above, -b, b)))) / self.beta
            return
        np.multiply(a, self.beta, out)
        np.logaddexp(out, const(0, a.dtype), out)
        np.divide(out, self.beta, out)

    def backward(self, a: Array, h: Array, grad: Array, work: tuple[Array, Array]) -> None:
        """φ'(a) = σ(β a)."""
        slope, _ = work
        np.multiply(a, self.beta, slope)
        expit(slope, slope)
        np.multiply(grad, slope, grad)
