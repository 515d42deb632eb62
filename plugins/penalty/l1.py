"""L1: drives weights to exactly zero."""

from dataclasses import dataclass

import numpy as np
from backproof.contracts import Array, Penalty, as_dtype_of, hyper, per_member


@dataclass(frozen=True)
class L1(Penalty):
    """Ω(θ) = λ Σ_j |θ_j| over the penalised parameters (Tibshirani 1996)."""

    strength: float = hyper(1e-4, "λ", ge=0)

    def value(self, theta: Array, mask: Array) -> Array:
        return as_dtype_of(per_member(self.strength), theta) * (theta * np.sign(np.real(theta)) * mask).sum(
            axis=-1
        )

    def gradient(self, theta: Array, mask: Array, grad: Array, work: Array) -> None:
        """∂Ω/∂θ_j = λ sign(θ_j); 0 at the kink θ_j = 0."""
        np.sign(np.real(theta), out=work)
        np.multiply(work, mask, work)
        np.multiply(work, as_dtype_of(self.strength, work), work)
        np.add(grad, work, grad)
