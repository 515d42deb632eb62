"""RMSprop."""

from dataclasses import dataclass

import numpy as np
from backproof.contracts import Array, Optimizer, as_dtype_of, hyper, sqrt_exact


@dataclass(frozen=True)
class RMSprop(Optimizer):
    """v ← ρ v + (1 − ρ) g², θ ← θ − lr g / (√v + ε) (Tieleman & Hinton 2012, lecture 6e; ε outside the
    root, as in PyTorch). With momentum u ← μ u + g / (√v + ε), θ ← θ − lr u (Graves 2013 without centring).

    The state holds v / (1 − ρ); ε and the step size contain the constant.
    """

    lr: float = hyper(1e-3, "step size", gt=0)
    rho: float = hyper(0.9, "ρ: decay of the mean of squares", ge=0, lt=1)
    eps: float = hyper(1e-8, "ε", gt=0)
    momentum: float = hyper(0.0, "μ: the fraction of the last step that is added", ge=0, lt=1)

    @property
    def slots(self) -> tuple[str, ...]:  # pyright: ignore
        return ("v", "velocity") if np.any(self.momentum) else ("v",)

    def step(
        self, theta: Array, grad: Array, state: tuple[Array, ...], t: int, lr: float | Array, work: Array
    ) -> None:
        v, *rest = state
        np.multiply(v, as_dtype_of(self.rho, v), v)
        np.multiply(grad, grad, work)
        np.add(v, work, v)
        scale = sqrt_exact(1 - self.rho)
        np.sqrt(v, work)
        np.add(work, as_dtype_of(self.eps / scale, work), work)
        np.divide(grad, work, grad)
        if rest:
            (u,) = rest
            np.multiply(u, as_dtype_of(self.momentum, u), u)
            np.add(u, grad, u)
            grad = u
        np.multiply(grad, as_dtype_of(lr / scale, work), work)
        np.subtract(theta, work, theta)

    @classmethod
    def examples(cls) -> tuple[dict[str, object], ...]:
        return ({}, {"momentum": 0.9})
