"""Adadelta."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from backproof.contracts import Array, Optimizer, as_dtype_of, hyper


@dataclass(frozen=True)
class Adadelta(Optimizer):
    """Steps in units of the parameters (Zeiler 2012, algorithm 1; `lr` scales them as in PyTorch, 1 in the
    paper):

    v ← ρ v + (1 − ρ) g²,  Δ = g √(u + ε) / √(v + ε),  u ← ρ u + (1 − ρ) Δ²,  θ ← θ − lr Δ.

    The state holds v / (1 − ρ) and u / (1 − ρ), which saves two products per step; ε contains the constant.
    """

    slots: ClassVar[tuple[str, ...]] = ("v", "u")

    lr: float = hyper(1.0, "scale of the steps", gt=0)
    rho: float = hyper(0.9, "ρ: decay of the means of squares", ge=0, lt=1)
    eps: float = hyper(1e-6, "ε: √ε is the size of the first steps", gt=0)

    def step(
        self, theta: Array, grad: Array, state: tuple[Array, ...], t: int, lr: float | Array, work: Array
    ) -> None:
        v, u = state
        rho, eps = as_dtype_of(self.rho, v), as_dtype_of(self.eps / (1 - self.rho), v)
        np.multiply(v, rho, v)
        np.multiply(grad, grad, work)
        np.add(v, work, v)
        np.add(v, eps, work)
        np.sqrt(work, work)
        np.divide(grad, work, grad)
        np.add(u, eps, work)
        np.sqrt(work, work)
        np.multiply(grad, work, grad)
        np.multiply(u, rho, u)
        np.multiply(grad, grad, work)
        np.add(u, work, u)
        np.multiply(grad, as_dtype_of(lr, grad), grad)
        np.subtract(theta, grad, theta)
