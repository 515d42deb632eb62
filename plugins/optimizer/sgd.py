"""Stochastic gradient descent."""

from dataclasses import dataclass

import numpy as np
from backproof.contracts import Array, Optimizer, as_dtype_of, hyper


@dataclass(frozen=True)
class SGD(Optimizer):
    """θ ← θ − lr g (Robbins & Monro 1951), g the mean gradient of the batch.

    With momentum v ← μ v + g, θ ← θ − lr v (Polyak 1964); Nesterov's looks ahead, θ ← θ − lr (g + μ v) (Sutskever
    et al. 2013). Both in PyTorch's variant: lr multiplies the step, not the gradient in v.
    """

    lr: float = hyper(0.1, "step size", gt=0)
    momentum: float = hyper(0.0, "μ: the fraction of the last step that is added", ge=0, lt=1)
    nesterov: bool = hyper(False, "look ahead along the momentum")

    @property
    def slots(self) -> tuple[str, ...]:  # pyright: ignore
        """Without momentum there is no velocity: a step then touches only theta and its gradient."""
        return ("velocity",) if np.any(self.momentum) else ()

    def step(
        self, theta: Array, grad: Array, state: tuple[Array, ...], t: int, lr: float | Array, work: Array
    ) -> None:
        if state:
            (v,) = state
            mu = as_dtype_of(self.momentum, v)
            np.multiply(v, mu, v)
            np.add(v, grad, v)
            if self.nesterov:
                np.multiply(v, mu, work)
                np.add(grad, work, grad)
            else:
                grad = v
        np.multiply(grad, as_dtype_of(lr, theta), work)
        np.subtract(theta, work, theta)

    @classmethod
    def examples(cls) -> tuple[dict[str, object], ...]:
        return ({}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True})
