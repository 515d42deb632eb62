"""AMSGrad: Adam with the largest mean of squares so far."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from backproof.contracts import Array, Optimizer, as_dtype_of, hyper, pow_exact, sqrt_exact


@dataclass(frozen=True)
class AMSGrad(Optimizer):
    """θ ← θ − lr m̂ / (√(max v / (1 − β2^t)) + ε), the maximum over all steps so far (Reddi, Kale & Kumar
    2018, algorithm 2, with Adam's bias correction and ε, which PyTorch has and the paper does not).

    The state holds m / (1 − β1), v / (1 − β2) and the maximum of the latter, which saves two products per
    step; the step size and ε contain the constants.
    """

    slots: ClassVar[tuple[str, ...]] = ("m", "v", "v_max")

    lr: float = hyper(1e-3, "step size", gt=0)
    beta1: float = hyper(0.9, "β1: decay of the mean of gradients", ge=0, lt=1)
    beta2: float = hyper(0.999, "β2: decay of the mean of squares", ge=0, lt=1)
    eps: float = hyper(1e-8, "ε", gt=0)

    def step(
        self, theta: Array, grad: Array, state: tuple[Array, ...], t: int, lr: float | Array, work: Array
    ) -> None:
        m, v, v_max = state
        np.multiply(m, as_dtype_of(self.beta1, m), m)
        np.add(m, grad, m)
        np.multiply(v, as_dtype_of(self.beta2, v), v)
        np.multiply(grad, grad, grad)
        np.add(v, grad, v)
        np.maximum(v_max, v, out=v_max)
        scale = sqrt_exact((1 - self.beta2) / (1 - pow_exact(self.beta2, t)))
        np.sqrt(v_max, work)
        np.add(work, as_dtype_of(self.eps / scale, work), work)
        np.divide(m, work, work)
        np.multiply(
            work, as_dtype_of(lr * (1 - self.beta1) / (1 - pow_exact(self.beta1, t)) / scale, work), work
        )
        np.subtract(theta, work, theta)
