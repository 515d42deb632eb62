"""LeCun, uniform: for selu and tanh."""

from dataclasses import dataclass
from typing import ClassVar

from backproof.contracts import VarianceScaling


@dataclass(frozen=True)
class LeCunUniform(VarianceScaling):
    """W ~ U(−u, u), u = √(3 / D), with D inputs: the variance 1 / D of LeCun et al. 1998, eq. 16."""

    gain: ClassVar[int] = 1
    uniform: ClassVar[bool] = True
