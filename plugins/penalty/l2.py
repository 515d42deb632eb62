"""L2: weight decay as a term of the loss."""

from dataclasses import dataclass

import numpy as np
from backproof.contracts import Array, Penalty, as_dtype_of, hyper, per_member


@dataclass(frozen=True)
class L2(Penalty):
    """Ω(θ) = λ/2 Σ_j θ_j² over the penalised parameters (Tikhonov; Krogh & Hertz 1992)."""

    strength: float = hyper(1e-4, "λ", ge=0)

    def value(self, theta: Array, mask: Array) -> Array:
        return as_dtype_of(per_member(0.5 * self.strength), theta) * (theta * theta * mask).sum(axis=-1)

    def gradient(self, theta: Array, mask: Array, grad: Array, work: Array) -> None:
        """∂Ω/∂θ_j = λ θ_j."""
        np.multiply(theta, mask, work)
        np.multiply(work, as_dtype_of(self.strength, work), work)
        np.add(grad, work, grad)
