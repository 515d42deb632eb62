"""Derivatives of functions that work element by element, from their values alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from backproof.contracts import Array

Function = Callable[[Array], Array]


def complex_step(f: Function, x: Array) -> Array:
    """f'(x) = Im f(x + ih) / h, h = 1e-30 (Squire & Trapp 1998): exact to rounding, nothing is subtracted.

    f takes complex128 arrays and branches on the real part; the step therefore never crosses a kink.
    """
    return np.imag(f(x + 1e-30j)) / 1e-30


def central(f: Function, x: Array, h: float = 1e-3) -> Array:
    """f'(x) by central differences of steps h and h/2, extrapolated (Richardson): the error is O(h⁴) and
    eps |f(x)| / h, about 1e-12 for a smooth f of order 1. Wrong within h of a kink."""
    wide, narrow = (_difference(f, x - step, x + step) for step in (h, h / 2))
    return (4 * narrow - wide) / 3


def one_sided(f: Function, x: Array, h: float) -> Array:
    """The slope of f on the right of x, or on the left for h < 0: the parabola through f at x, x + h and
    x + 2h. The error is O(h²) and eps |f(x)| / |h|."""
    return 2 * _difference(f, x, x + h) - _difference(f, x, x + 2 * h)


def jumps(f: Function, grid: Array, size: float) -> Array:
    """Where f jumps by more than `size`, or is NaN, between neighbours of a sorted grid; by halving."""
    low, high = grid[:-1], grid[1:]
    for _ in range(64):
        left, right = f(low), f(high)
        found = ~(np.abs(right - left) <= size)  # NaN is found
        low, high, left, right = low[found], high[found], left[found], right[found]
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
