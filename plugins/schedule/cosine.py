"""Cosine decay."""

import math
from dataclasses import dataclass

from backproof.contracts import Schedule, hyper


@dataclass(frozen=True)
class Cosine(Schedule):
    """factor = final + (1 − final) (1 + cos(π t / total)) / 2 (Loshchilov & Hutter 2017, eq. 5).

    It has no restarts, unlike the paper's.
    """

    final: float = hyper(0.0, "the factor that it approaches", ge=0, le=1)

    def factor(self, t: int, total: int) -> float:
        return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * t / total))
