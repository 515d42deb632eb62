"""No penalty."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from backproof.contracts import Array, Penalty


@dataclass(frozen=True)
class NoPenalty(Penalty):
    """Ω(θ) = 0."""

    null: ClassVar[bool] = True

    def value(self, theta: Array, mask: Array) -> Array:
        return np.zeros(len(theta))

    def gradient(self, theta: Array, mask: Array, grad: Array, work: Array) -> None:
        """∂Ω/∂θ = 0."""
