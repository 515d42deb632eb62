"""He, uniform: for ReLU."""

from dataclasses import dataclass
from typing import ClassVar

from backproof.contracts import VarianceScaling


@dataclass(frozen=True)
class HeUniform(VarianceScaling):
    """W ~ U(−u, u), u = √(6 / D), with D inputs: the variance 2 / D of He et al. 2015, eq. 10."""

    gain: ClassVar[int] = 2
    uniform: ClassVar[bool] = True
