"""Linear warm-up, then cosine decay."""

import math
from dataclasses import dataclass

from backproof.contracts import Schedule, hyper


@dataclass(frozen=True)
class WarmupCosine(Schedule):
    """Linear from 1 / n to 1 over the first n steps (Goyal et al. 2017, section 2.2), then a cosine.

    The cosine falls to `final` (Loshchilov & Hutter 2017, eq. 5).
    """

    warmup: float = hyper(0.1, "fraction of the training in which it rises", ge=0, lt=1)
    final: float = hyper(0.0, "the factor that it approaches", ge=0, le=1)

    def factor(self, t: int, total: int) -> float:
        n = round(self.warmup * total)
        if t < n:
            return (t + 1) / n
        return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * (t - n) / (total - n)))
