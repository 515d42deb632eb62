"""The effect of one hyperparameter on the objective, averaged over all others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from backproof.sweeps.varying import in_order, number

#: A numeric hyperparameter with more values than this is binned.
LEVELS = 8


@dataclass(frozen=True)
class Effect:
    """One hyperparameter: the runs' (value, objective), the mean at each level, and the share it explains."""

    key: str
    pairs: list[tuple[str | None, float, str]]  # value, objective, run id
    share: float  # of the variance; NaN if it cannot be estimated

    @property
    def levels(self) -> list[str | None]:
        return in_order(value for value, _, _ in self.pairs)

    @property
    def many(self) -> bool:
        """Return whether it is a number with many values, which needs bins and a continuous axis."""
        levels = self.levels
        return len(levels) > LEVELS and all(number(level) is not None for level in levels if level is not None)

    def means(self) -> list[tuple[str | None, float]]:
        return [
            (level, float(np.mean([y for value, y, _ in self.pairs if value == level])))
            for level in self.levels
        ]


def effect(key: str, pairs: Sequence[tuple[str | None, float, str]]) -> Effect:
    """Return the effect of a hyperparameter, from the runs with a finite objective."""
    finite = [pair for pair in pairs if math.isfinite(pair[1])]
    many = Effect(key, finite, math.nan).many
    groups = _binned(finite) if many else [level for level, _, _ in finite]
    return Effect(key, finite, explained(groups, [y for _, y, _ in finite]))


def explained(groups: Sequence[object], y: Sequence[float]) -> float:
    """Return ε² in [0, 1]: the share of the variance between groups, less what they would explain by chance.

    ε² = (SS_between − (k − 1) s²) / SS_total with s² = SS_within / (n − k). NaN if all values are equal or each
    run is its own group. (Kelley 1935; η² without the correction grows with the number of groups.)
    """
    values = np.asarray(y, float)
    n, k = len(values), len(set(groups))
    total = float(((values - values.mean()) ** 2).sum()) if n else 0.0
    if n <= k or k < 2 or total <= 1e-24 * max(1e-300, float(np.abs(values).max()) ** 2):
        return math.nan
    within = 0.0
    for level in set(groups):
        members = values[[group == level for group in groups]]
        within += float(((members - members.mean()) ** 2).sum())
    share = (total - within - (k - 1) * within / (n - k)) / total
    return min(1.0, max(0.0, share))


def _binned(pairs: Sequence[tuple[str | None, float, str]]) -> list[object]:
    """Return the bin of each value; bins have about equal counts, and equal values share one."""
    numbers = [number(value) for value, _, _ in pairs]
    known = np.array([value for value in numbers if value is not None])
    bins = max(2, min(6, len(known) // 4))
    edges = np.quantile(known, np.linspace(0, 1, bins + 1)[1:-1])
    return [None if value is None else int(np.searchsorted(edges, value, "right")) for value in numbers]
