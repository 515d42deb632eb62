"""Elastic net: L1 and L2 together."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from backproof.contracts import Array, Penalty, as_dtype_of, hyper, per_member


@dataclass(frozen=True)
class ElasticNet(Penalty):
    """Ω(θ) = λ Σ_j (ρ |θ_j| + (1 − ρ)/2 θ_j²) (Zou & Hastie 2005, in scikit-learn's form).

    The sum is over the penalised parameters.
    """

    strength: float = hyper(1e-4, "λ", ge=0)
    l1_ratio: float = hyper(0.5, "ρ: the share of the L1 term", ge=0, le=1)

    def value(self, theta: Array, mask: Array) -> Array:
        size = (theta * np.sign(np.real(theta)) * mask).sum(axis=-1)
        square = (theta * theta * mask).sum(axis=-1)
        absolute = as_dtype_of(per_member(self.strength * self.l1_ratio), theta)
        squared = as_dtype_of(per_member(0.5 * self.strength * (1 - self.l1_ratio)), theta)
        return absolute * size + squared * square

    def gradient(self, theta: Array, mask: Array, grad: Array, work: Array) -> None:
        """∂Ω/∂θ_j = λ (ρ sign(θ_j) + (1 − ρ) θ_j); 0 at the kink θ_j = 0."""
        np.sign(np.real(theta), out=work)
        np.multiply(work, mask, work)
        np.multiply(work, as_dtype_of(self.strength * self.l1_ratio, work), work)
        np.add(grad, work, grad)
        np.multiply(theta, mask, work)
        np.multiply(work, as_dtype_of(self.strength * (1 - self.l1_ratio), work), work)
        np.add(grad, work, grad)

    @classmethod
    def examples(cls) -> tuple[dict[str, Any], ...]:
        return ({}, {"l1_ratio": 0.0}, {"l1_ratio": 1.0}, {"strength": 0.5})
