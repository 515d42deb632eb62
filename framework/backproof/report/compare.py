"""Tests of whether a point is worse than the best, or whether only the seeds differ."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from backproof.sweeps.objective import Objective
from backproof.sweeps.result import Point

#: From this p-value on, a difference may be due to the seeds.
LEVEL = 0.05
PAIRED, WELCH = "paired t-test", "Welch's t-test"


@dataclass(frozen=True)
class Comparison:
    """The mean difference to the best point, and the p-value of a test of it."""

    difference: float
    test: str | None = None  # None: too few seeds
    p: float = math.nan
    n: int = 0  # pairs, or the smaller number of seeds

    @property
    def worse(self) -> bool:
        return self.p < LEVEL

    @property
    def alike(self) -> bool:
        return self.p >= LEVEL


def compare(values: Mapping[int, float], best: Mapping[int, float]) -> Comparison:
    """Compare the values of a point, by seed, with those of the best point.

    The test is a two-sided paired t-test over the seeds that both have, if there are at least two; Welch's t-test
    if they share none; no test if there are fewer. A Wilcoxon test is not used: with five seeds its p cannot fall
    below 0.06. Where all differences are equal and not 0, the t-statistic is undefined and p is NaN.
    """
    a, b = _finite(values), _finite(best)
    shared = sorted(a.keys() & b.keys())
    if len(shared) > 1:
        pairs = [a[seed] for seed in shared], [b[seed] for seed in shared]
        differences = [x - y for x, y in zip(*pairs, strict=True)]
        p = _p_value(
            statistics.stdev(differences),
            max(map(abs, differences)),
            any(differences),
            lambda stats: stats.ttest_rel(*pairs),
        )
        difference = math.fsum(differences) / len(shared)
        if abs(difference) <= 1e-12 * max(map(abs, pairs[1])):
            difference = 0.0  # Differences that cancel leave only rounding.
        return Comparison(difference, PAIRED, p, len(shared))
    difference, n = _mean(a) - _mean(b), min(len(a), len(b))
    if n < 2 or shared:
        return Comparison(difference, None, math.nan, n)
    x, y = [*a.values()], [*b.values()]
    p = _p_value(
        math.hypot(statistics.stdev(x), statistics.stdev(y)),
        max(map(abs, [*x, *y])),
        x[0] != y[0],
        lambda stats: stats.ttest_ind(x, y, equal_var=False),
    )
    return Comparison(difference, WELCH, p, n)


def compare_points(points: Sequence[Point], objective: Objective) -> list[Comparison | None]:
    """Compare each ranked point with the best one, corrected for the number of comparisons.

    None for the best point, and for a point without a finite objective.
    """
    name = objective.name
    ranked = [point for point in points if math.isfinite(point.stat(name).mean)]
    comparisons = [compare(point.values(name), ranked[0].values(name)) for point in ranked[1:]]
    adjusted = holm([comparison.p for comparison in comparisons])
    corrected: list[Comparison | None] = [
        dataclasses.replace(comparison, p=p) for comparison, p in zip(comparisons, adjusted, strict=True)
    ]
    by_point = dict(zip(map(id, ranked[1:]), corrected, strict=True))
    return [by_point.get(id(point)) for point in points]


def _p_value(spread: float, scale: float, differs: bool, test: Callable[[Any], Any]) -> float:
    """Return the p-value of a test from scipy.stats. Without spread, t is undefined: NaN, or 1 for equal values."""
    if spread <= 1e-12 * scale:
        return math.nan if differs else 1.0
    from scipy import stats  # pyright: ignore

    return float(test(cast("Any", stats)).pvalue)


def holm(p: Sequence[float]) -> list[float]:
    """Return p-values with Holm's correction for several comparisons; NaN (no test) does not count."""
    order = sorted((value, index) for index, value in enumerate(p) if value == value)
    adjusted, running = list(p), 0.0
    for rank, (value, index) in enumerate(order):
        running = max(running, min(1.0, value * (len(order) - rank)))
        adjusted[index] = running
    return adjusted


def _finite(values: Mapping[int, float]) -> dict[int, float]:
    return {seed: value for seed, value in values.items() if math.isfinite(value)}


def _mean(values: Mapping[int, float]) -> float:
    return math.fsum(values.values()) / len(values) if values else math.nan
