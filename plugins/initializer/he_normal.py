"""He, normal: for ReLU."""

from dataclasses import dataclass
from typing import ClassVar

from backproof.contracts import VarianceScaling


@dataclass(frozen=True)
class HeNormal(VarianceScaling):
    """W ~ N(0, 2 / D), with D inputs (He et al. 2015, eq. 10)."""

    gain: ClassVar[int] = 2
    uniform: ClassVar[bool] = False
