"""LeCun, normal: for selu and tanh."""

from dataclasses import dataclass
from typing import ClassVar

from backproof.contracts import VarianceScaling


@dataclass(frozen=True)
class LeCunNormal(VarianceScaling):
    """W ~ N(0, 1 / D), with D inputs (LeCun et al. 1998, eq. 16)."""

    gain: ClassVar[int] = 1
    uniform: ClassVar[bool] = False
