"""Softplus: a smooth ReLU."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from backproof.contracts import Activation, Array, cached_scalar, hyper, is_complex
from scipy.special import expit  # pyright: ignore


@dataclass(frozen=True)
class Softplus(Activation):
    """φ(a) = log(1 + exp(β a)) / β (Dugas et al. 2001 with β = 1)."""

    beta: float = hyper(1.0, "β: larger values are closer to ReLU", gt=0)

    @classmethod
    def examples(cls) -> tuple[dict[str, Any], ...]:
        return {}, {"beta": 0.3}, {"beta": 30.0}

    def forward(self, a: Array, out: Array) -> None:
        """φ(a), by log1p(exp(β a)); from β a = 80, where exp has not overflowed yet, φ(a) = a to rounding.

        np.logaddexp would take ten times as long.
        """
        if is_complex(a):
            b, above = self.beta * a, np.real(a) > 0
            out[...] = (np.where(above, b, 0) + np.log1p(np.exp(np.where(above, -b, b)))) / self.beta
            return
        np.multiply(a, cached_scalar(self.beta, a.dtype), out)
        np.minimum(out, cached_scalar(80, a.dtype), out=out)
        np.exp(out, out)
        np.log1p(out, out)
        np.divide(out, cached_scalar(self.beta, a.dtype), out)
        np.maximum(out, a, out=out)

    def backward(self, a: Array, h: Array, grad: Array, work: tuple[Array, Array]) -> None:
        """φ'(a) = σ(β a)."""
        slope, _ = work
        np.multiply(a, cached_scalar(self.beta, a.dtype), slope)
        if is_complex(a):
            slope[...] = 0.5 * (1 + np.tanh(0.5 * slope))
        else:
            expit(slope, slope)
        np.multiply(grad, slope, grad)
