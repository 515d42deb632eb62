"""Glorot, uniform: for tanh and sigmoid."""

from dataclasses import dataclass
from typing import ClassVar

from backproof.contracts import VarianceScaling


@dataclass(frozen=True)
class GlorotUniform(VarianceScaling):
    """W ~ U(−u, u), u = √(6 / (D + H)), with D inputs and H units (Glorot & Bengio 2010, eq. 16)."""

    gain: ClassVar[int] = 2
    uniform: ClassVar[bool] = True

    def fan(self, H: int, D: int) -> int:
        return H + D
