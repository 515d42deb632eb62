"""Mean and standard deviation over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Stat:
    """A mean over seeds, with the sample standard deviation if there are several."""

    mean: float
    std: float | None = None
    n: int = 1

    @classmethod
    def of(cls, values: Sequence[float]) -> Stat:
        """Return the mean and the standard deviation of values."""
        n = len(values)
        mean = math.fsum(values) / n if n else math.nan
        if n < 2:
            return cls(mean, None, n)
        return cls(mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1)), n)

    @classmethod
    def pooled(cls, stats: Sequence[Stat]) -> Stat:
        """Return the mean over groups of equal size, and the standard deviation over all their values."""
        if len(stats) == 1:
            return stats[0]
        mean = math.fsum(stat.mean for stat in stats) / len(stats) if stats else math.nan
        n = sum(stat.n for stat in stats)
        squares = [(stat.n - 1) * (stat.std or 0.0) ** 2 + stat.n * (stat.mean - mean) ** 2 for stat in stats]
        return cls(mean, math.sqrt(math.fsum(squares) / (n - 1)) if n > 1 else None, n)

    def __str__(self) -> str:
        if not math.isfinite(self.mean):
            return "–"
        return f"{self.mean:.4g}" + (f" ± {self.std:.2g}" if self.std is not None else "")
