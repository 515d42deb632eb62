"""How accurate the values of a function are: rounding and quantisation."""

from __future__ import annotations

import math

import numpy as np

from backproof.contracts import Array
from backproof.gradcheck.lines import EPS, Lines

#: Roundings of a value that a function of several operations has at least.
PER_VALUE = 4.0
#: Relative distances over which noise is looked for, and the points at each.
DECADES = (1e-11, 1e-9, 1e-7, 1e-5)
POINTS = 9
#: The root mean square of fourth differences of white noise over its own; 0.67 is a normal variable's median.
FOURTH = math.sqrt(math.factorial(8)) / math.factorial(4) * 0.67


def noise_along(lines: Lines, row: int) -> float:
    """Return how far the values on a line jump about: their fourth differences at points so near that the function
    itself is a straight line (after Moré & Wild 2011), and the smallest change of a value that is quantised.

    Noise is the same over several decades of spacing; what a smooth function does there grows with the spacing. So
    the least of the decades counts. A jump or a kink among the points is not noise: the median ignores it.
    """
    f0 = float(lines.origin[row])
    rounding = PER_VALUE * EPS * abs(f0)
    estimates: list[float] = []
    values: list[Array] = [np.array([f0])]
    for spacing in DECADES:
        t = spacing * float(lines.sizes[row]) * (np.arange(POINTS) - POINTS // 2)
        found = lines.values(np.full(POINTS, row), t).astype(np.float64)
        values.append(found)
        if np.isfinite(found).all():
            estimates.append(float(np.median(np.abs(np.diff(found, 4)))) / FOURTH)
    # What is quantised this coarsely changes at larger distances only.
    for spacing in (1e-3, 1e-2, 1e-1):
        if any((found[np.isfinite(found)] != f0).any() for found in values):
            break
        t = spacing * float(lines.sizes[row]) * np.array([-1.0, 1.0])
        values.append(lines.values(np.full(2, row), t).astype(np.float64))
    known = [estimate for estimate in estimates if estimate > 0]
    noise = 2 * min(known) if known else 0.0
    return max(rounding, noise, _quantum(np.concatenate(values), f0))


def _quantum(values: Array, f0: float) -> float:
    """Return the smallest change of a value that stays the same over small distances; 0 if it does not stay."""
    off = np.abs(values[np.isfinite(values)] - f0)
    # The points of the smallest distance, apart from theta itself.
    still = (off[1 : POINTS + 1] == 0).sum() > POINTS // 2
    changed = off[off > 0]
    return float(changed.min()) if still and len(changed) else 0.0
