"""One cycle: up, then far down."""

import math
from dataclasses import dataclass

from backproof.contracts import Schedule, hyper


@dataclass(frozen=True)
class OneCycle(Schedule):
    """From 1 / start up to 1 over the fraction `rise`, then down towards 1 / (start · final), both by half a
    cosine (Smith & Topin 2018, their lines made cosines as in PyTorch, the momentum left as it is). `lr` is the
    largest step size.
    """

    rise: float = hyper(0.3, "fraction of the training that goes up", gt=0, lt=1)
    start: float = hyper(25.0, "the first step size is lr / start", ge=1)
    final: float = hyper(1e4, "it falls towards the first divided by this", ge=1)

    def factor(self, t: int, total: int) -> float:
        top = self.rise * total
        if t < top:
            return self._between(1 / self.start, 1.0, t / top)
        return self._between(1.0, 1 / (self.start * self.final), (t - top) / (total - top))

    def _between(self, first: float, last: float, part: float) -> float:
        return last + (first - last) * 0.5 * (1 + math.cos(math.pi * part))
