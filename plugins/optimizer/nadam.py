"""Adam with Nesterov momentum."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from backproof.contracts import Array, Optimizer, as_dtype_of, hyper, pow_exact, sqrt_exact


@dataclass(frozen=True)
class NAdam(Optimizer):
    """θ ← θ − lr (β1 m / (1 − β1^(t+1)) + (1 − β1) g / (1 − β1^t)) / (√v̂ + ε), v̂ as in Adam (Dozat 2016, with
    a constant μ = β1, as in optax).

    The paper's schedule of μ, which PyTorch and Keras follow, is omitted: it would need one more state array, for
    the product of all μ so far.

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
        np.multiply(grad, grad, work)
        np.add(v, work, v)
        scale = sqrt_exact((1 - self.beta2) / (1 - pow_exact(self.beta2, t)))
        np.multiply(grad, as_dtype_of((1 - self.beta1) / (1 - pow_exact(self.beta1, t)), grad), grad)
        np.multiply(m, as_dtype_of(self.beta1 * (1 - self.beta1) / (1 - pow_exact(self.beta1, t + 1)), m), work)
        np.add(grad, work, grad)
        np.sqrt(v, work)
        np.add(work, as_dtype_of(self.eps / scale, work), work)
        np.divide(grad, work, grad)
        np.multiply(grad, as_dtype_of(lr / scale, grad), grad)
        np.subtract(theta, grad, theta)
