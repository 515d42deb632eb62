"""One cycle: up, then far down."""

import math
from dataclasses import dataclass

from backproof.contracts import Schedule, hyper


@dataclass(frozen=True)
class OneCycle(Schedule):
    """Up from 1 / start to 1 over the fraction `rise`, then down to 1 / (start · final) (Smith & Topin 2018).

    Both parts follow half a cosine, as in PyTorch, not straight lines as in the paper; the momentum does not
    change. `lr` is the largest step size.
    """

    rise: float = hyper(0.3, "fraction of the training in which it rises", gt=0, lt=1)
    start: float = hyper(25.0, "the first step size is lr / start", ge=1)
    final: float = hyper(1e4, "it falls to lr / (start · final)", ge=1)

    def factor(self, t: int, total: int) -> float:
        top = self.rise * total
        if t < top:
            return self._between(1 / self.start, 1.0, t / top)
        return self._between(1.0, 1 / (self.start * self.final), (t - top) / (total - top))

    def _between(self, first: float, last: float, part: float) -> float:
        return last + (first - last) * 0.5 * (1 + math.cos(math.pi * part))
