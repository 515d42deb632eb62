"""Adagrad."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from backproof.contracts import Array, Optimizer, as_dtype_of, hyper


@dataclass(frozen=True)
class Adagrad(Optimizer):
    """s ← s + g², θ ← θ − lr g / (√s + ε) (Duchi, Hazan & Singer 2011, the diagonal form of figure 1, ε its δ)."""

    slots: ClassVar[tuple[str, ...]] = ("s",)

    lr: float = hyper(0.01, "step size", gt=0)
    eps: float = hyper(1e-10, "ε", gt=0)
    initial_accumulator: float = hyper(0.0, "initial value of s", ge=0)

    def initial(self, slot: str) -> float:
        return self.initial_accumulator

    def step(
        self, theta: Array, grad: Array, state: tuple[Array, ...], t: int, lr: float | Array, work: Array
    ) -> None:
        (s,) = state
        np.multiply(grad, grad, work)
        np.add(s, work, s)
        np.sqrt(s, work)
        np.add(work, as_dtype_of(self.eps, work), work)
        np.divide(grad, work, grad)
        np.multiply(grad, as_dtype_of(lr, grad), grad)
        np.subtract(theta, grad, theta)

    @classmethod
    def examples(cls) -> tuple[dict[str, object], ...]:
        return ({}, {"initial_accumulator": 0.1})
