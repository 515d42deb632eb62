"""Derivatives of functions that work element by element, from their values alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from backproof.contracts import Array
from backproof.gradcheck.differences import PER_VALUE
from backproof.gradcheck.ladder import Ladder
from backproof.gradcheck.lines import EPS, ElementwiseLines
from backproof.gradcheck.oracles import STEP

Function = Callable[[Array], Array]


def complex_step(f: Function, x: Array) -> tuple[Array, Array]:
    """Return f'(x) = Im f(x + ih) / h and its error, 0: nothing is subtracted and nothing truncated.

    f takes complex128 arrays and branches on the real part; the step therefore never crosses a kink.
    """
    return np.imag(f(x + 1j * STEP)) / STEP, np.zeros_like(x)


def central(f: Function, x: Array) -> tuple[Array, Array]:
    """Return f'(x) by central differences, each at the steps that suit it, and its error."""
    lines = ElementwiseLines(f, x)
    ladder = Ladder.of(lines, PER_VALUE * EPS * np.abs(lines.origin), lines.sizes)
    rows = np.arange(len(x))
    with np.errstate(all="ignore"):
        ladder.climb(rows)
        return ladder.slopes(rows).best()


def one_sided(f: Function, x: Array, h: float) -> Array:
    """Return the slope of f on the right of x, or on the left for h < 0: of the parabola at x, x + h and x + 2h.

    The error is O(h²) and eps |f(x)| / |h|.
    """
    return 2 * _difference(f, x, x + h) - _difference(f, x, x + 2 * h)


def jumps(f: Function, grid: Array, size: float) -> Array:
    """Return where f jumps by more than `size`, or is NaN, between neighbours of a sorted grid; by bisection."""
    low, high = grid[:-1], grid[1:]
    for _ in range(64):
        left, right = f(low), f(high)
        jump = ~(np.abs(right - left) <= size)  # NaN counts as a jump
        low, high, left, right = low[jump], high[jump], left[jump], right[jump]
        if not len(low) or (high - low).max() < 1e-9:
            break
        middle = (low + high) / 2
        at = f(middle)
        lower = ~(np.abs(at - left) <= np.abs(right - at))
        low, high = np.where(lower, low, middle), np.where(lower, middle, high)
    return (low + high) / 2


def _difference(f: Function, low: Array, high: Array) -> Array:
    # Over the width as it was rounded, which matters at large x.
    return (f(high) - f(low)) / (high - low)
