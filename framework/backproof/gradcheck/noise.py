"""How accurate the values of a function are: rounding, quantisation, and iterations whose number varies."""

from __future__ import annotations

import gc
import math
import sys
from collections import Counter
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

import numpy as np

from backproof.contracts import Array
from backproof.gradcheck.lines import EPS, Lines

#: Roundings of a value that a function of several operations has at least.
PER_VALUE = 4.0
#: Relative distances over which noise is looked for, and the points at each.
DECADES = (1e-11, 1e-9, 1e-7, 1e-5)
POINTS = 9
#: Points at which the iterations of a function are counted.
PROBES = 25
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


class _Counter:
    """Counts how often each line of Python code is executed."""

    def __init__(self) -> None:
        self.lines: Counter[tuple[CodeType, int]] = Counter()

    def __call__(self, frame: FrameType, event: str, argument: Any) -> _Counter:
        if event == "line":
            self.lines[frame.f_code, frame.f_lineno] += 1
        return self

    def loops(self) -> dict[CodeType, int]:
        """Return the most frequent line of each code object that has a repeated one."""
        most: dict[CodeType, int] = {}
        for (code, _), count in self.lines.items():
            most[code] = max(count, most.get(code, 0))
        return {code: count for code, count in most.items() if count > 1}


def iterates(value: Callable[[float], float], size: float) -> bool:
    """Return whether the number of iterations that a function of t needs changes within +-size.

    Solvers, quadrature and fixed points stop when they are accurate enough. Their values jump where the number of
    iterations changes, and between the jumps their derivative is not quite that of the function they approximate.
    """
    seen = [_traced(value, float(t)) for t in np.linspace(-size, size, PROBES)]
    # Outside of its domain a function may stop at any line.
    loops = [counts for found, counts in seen if np.isfinite(found)]
    return any(counts != loops[0] for counts in loops)


def _traced(value: Callable[[float], float], t: float) -> tuple[float, dict[CodeType, int]]:
    """Return the value at t, and how often its loops ran."""
    before, counter, collects = sys.gettrace(), _Counter(), gc.isenabled()
    # A collection calls finalizers and callbacks, whose lines are not those of f.
    gc.disable()
    sys.settrace(counter)
    try:
        found = value(t)
    finally:
        sys.settrace(before)
        if collects:
            gc.enable()
    return found, counter.loops()
