"""Is a point worse than the best, or is it the seeds?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

#: Above this a difference is not told apart from what seeds do.
LEVEL = 0.05
PAIRED, WELCH = "paired t-test", "Welch's t-test"


@dataclass(frozen=True)
class Comparison:
    """The mean difference to the best point, and how likely one as large is if there is none."""

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
    """The values of a point by seed against those of the best.

    A paired t-test (two-sided) on the differences by seed where at least two seeds are the same, Welch's where they
    are not; no test where there are fewer. A Wilcoxon test is not used: with five seeds its p cannot fall below
    0.06. Where all differences are the same number (0 apart) the t-statistic is not defined, and nothing is said.
    """
    a, b = _finite(values), _finite(best)
    shared = sorted(a.keys() & b.keys())
    if len(shared) > 1:
        differences = np.array([a[seed] - b[seed] for seed in shared])
        return Comparison(float(differences.mean()), PAIRED, _one_sample(differences), len(shared))
    difference = _mean(a) - _mean(b)
    if min(len(a), len(b)) < 2 or shared:
        return Comparison(difference, None, math.nan, min(len(a), len(b)))
    return Comparison(difference, WELCH, _welch([*a.values()], [*b.values()]), min(len(a), len(b)))


def _one_sample(differences: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    """p of a mean of 0."""
    mean, n = abs(float(differences.mean())), len(differences)
    error = float(differences.std(ddof=1)) / math.sqrt(n)
    scale = float(np.abs(differences).max())
    if error <= 1e-12 * scale or scale == 0:
        return 1.0 if scale == 0 else math.nan
    from scipy import stats  # pyright: ignore

    return float(cast("Any", stats).t.sf(mean / error, n - 1) * 2)


def _welch(a: Sequence[float], b: Sequence[float]) -> float:
    variances = float(np.var(a)) + float(np.var(b))
    if variances <= 1e-24 * max(map(abs, [*a, *b])) ** 2:
        return 1.0 if a[0] == b[0] else math.nan
    from scipy import stats  # pyright: ignore

    return float(cast("Any", stats).ttest_ind(a, b, equal_var=False).pvalue)


def holm(p: Sequence[float]) -> list[float]:
    """Holm's correction for several comparisons; NaN (no test) stays so and does not count."""
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
