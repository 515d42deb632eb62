"""Lion: the sign of a momentum."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from backproof.contracts import Array, Optimizer, as_dtype_of, hyper


@dataclass(frozen=True)
class Lion(Optimizer):
    """θ ← θ − lr (sign(β1 m + (1 − β1) g) + λ θ), m ← β2 m + (1 − β2) g (Chen et al. 2023, algorithm 2).

    All parameters decay by λ, including biases.
    """

    slots: ClassVar[tuple[str, ...]] = ("m",)

    lr: float = hyper(1e-4, "step size: how far each parameter moves", gt=0)
    beta1: float = hyper(0.9, "β1: share of the momentum in the sign", ge=0, lt=1)
    beta2: float = hyper(0.99, "β2: decay of the momentum", ge=0, lt=1)
    weight_decay: float = hyper(0.0, "λ: weight decay", ge=0)

    def step(
        self, theta: Array, grad: Array, state: tuple[Array, ...], t: int, lr: float | Array, work: Array
    ) -> None:
        (m,) = state
        # Both terms divided by 1 − β1, which leaves the sign and saves a product.
        np.multiply(m, as_dtype_of(self.beta1 / (1 - self.beta1), m), work)
        np.add(work, grad, work)
        np.sign(work, work)
        np.multiply(work, as_dtype_of(lr, work), work)
        decay = self.weight_decay
        if isinstance(decay, np.ndarray) or decay:
            np.multiply(theta, as_dtype_of(1 - lr * decay, theta), theta)
        np.subtract(theta, work, theta)
        np.multiply(m, as_dtype_of(self.beta2, m), m)
        np.multiply(grad, as_dtype_of(1 - self.beta2, grad), grad)
        np.add(m, grad, m)

    @classmethod
    def examples(cls) -> tuple[dict[str, object], ...]:
        return ({}, {"weight_decay": 0.1})
