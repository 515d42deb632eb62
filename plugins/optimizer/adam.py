"""Adam."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from backproof.contracts import Array, Optimizer, as_dtype_of, hyper, pow_exact, sqrt_exact


@dataclass(frozen=True)
class Adam(Optimizer):
    """θ ← θ − lr m̂ / (√v̂ + ε), m̂ and v̂ the bias-corrected means of g and g² (Kingma & Ba 2015,
    algorithm 1).

    The state holds m / (1 − β1) and v / (1 − β2), which saves two products per step; the step size and ε
    contain the constants.
    """

    slots: ClassVar[tuple[str, ...]] = ("m", "v")

    lr: float = hyper(1e-3, "step size", gt=0)
    beta1: float = hyper(0.9, "β1: decay of the mean of gradients", ge=0, lt=1)
    beta2: float = hyper(0.999, "β2: decay of the mean of squares", ge=0, lt=1)
    eps: float = hyper(1e-8, "ε", gt=0)

    def step(
        self, theta: Array, grad: Array, state: tuple[Array, ...], t: int, lr: float | Array, work: Array
    ) -> None:
        m, v = state
        np.multiply(m, as_dtype_of(self.beta1, m), m)
        np.add(m, grad, m)
        np.multiply(v, as_dtype_of(self.beta2, v), v)
        np.multiply(grad, grad, grad)
        np.add(v, grad, v)
        scale = sqrt_exact((1 - self.beta2) / (1 - pow_exact(self.beta2, t)))
        # grad is no longer needed but still in the cache, so it is used instead of work.
        np.sqrt(v, grad)
        np.add(grad, as_dtype_of(self.eps / scale, grad), grad)
        np.divide(m, grad, grad)
        np.multiply(
            grad, as_dtype_of(lr * (1 - self.beta1) / (1 - pow_exact(self.beta1, t)) / scale, grad), grad
        )
        np.subtract(theta, grad, theta)
