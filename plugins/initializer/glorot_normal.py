"""Glorot, normal: for tanh and sigmoid."""

from dataclasses import dataclass
from typing import ClassVar

from backproof.contracts import VarianceScaling


@dataclass(frozen=True)
class GlorotNormal(VarianceScaling):
    """W ~ N(0, 2 / (D + H)), with D inputs and H units (Glorot & Bengio 2010, eq. 12)."""

    gain: ClassVar[int] = 2
    uniform: ClassVar[bool] = False

    def fan(self, H: int, D: int) -> int:
        return H + D
