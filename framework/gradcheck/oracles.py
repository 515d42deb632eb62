"""Floor 1: derivatives of a function from its values alone, for many points at once.

A value function takes (S, P), S parameter vectors, and returns (S,).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
from numpy.typing import DTypeLike

from framework.kinds import Array

Values = Callable[[Array], Array]

#: The imaginary step. Its square is far below the smallest rounding, so that nothing is truncated.
STEP = 1e-30
#: Most numbers in the parameter vectors that are evaluated at a time.
ROOM = 1 << 20
MOST_ROWS = 64


class Directions(Protocol):
    """S directions in the space of P parameters, written a range at a time so that they need no S·P numbers."""

    def __len__(self) -> int: ...
    def write(self, rows: slice, out: Array) -> None:
        """Directions `rows` into `out` (rows, P), which is zero."""
        ...


class Dense:
    """Directions given as an array (S, n) on some of the parameters, `index` (n,)."""

    def __init__(self, index: Array, vectors: Array) -> None:
        self.index, self.vectors = index, vectors

    def __len__(self) -> int:
        return len(self.vectors)

    def write(self, rows: slice, out: Array) -> None:
        """Directions `rows` into `out`."""
        out[:, self.index] = self.vectors[rows]


class Axes:
    """The coordinate axes of some of the parameters, `index` (S,)."""

    def __init__(self, index: Array) -> None:
        self.index = index

    def __len__(self) -> int:
        return len(self.index)

    def write(self, rows: slice, out: Array) -> None:
        """Directions `rows` into `out`."""
        index = self.index[rows]
        out[np.arange(len(index)), index] = 1


class Oracle(Protocol):
    """Derivatives of `value` at theta (P,) along S directions: the numbers (S,), and for each the error (S,)
    that its method leaves, as far as it can tell."""

    def __call__(self, value: Values, theta: Array, along: Directions) -> tuple[Array, Array]: ...


def complex_step(value: Values, theta: Array, along: Directions) -> tuple[Array, Array]:
    """Im f(θ + i h v) / h with h = 1e-30 (Squire & Trapp 1998; Martins et al. 2003).

    No difference is taken, so nothing cancels and nothing is truncated: exact to rounding, whatever the scale,
    for any function that is written for complex numbers. The error is given as zero.
    """
    slopes = np.empty(len(along))
    for rows, points in _points(theta, along, np.complex128, (1j * STEP,)):
        slopes[rows] = np.imag(value(next(points))) / STEP
    return slopes, np.zeros_like(slopes)


def central_differences(value: Values, theta: Array, along: Directions) -> tuple[Array, Array]:
    """Richardson's (4 D(h/2) − D(h)) / 3 of D(h) = (f(θ + hv) − f(θ − hv)) / 2h (Richardson 1911).

    The error is what the extrapolation changed, which bounds the truncation, and the rounding ε|f| / h of the
    differences. It is large where a kink lies within the step. h = ε^(1/5) (1 + |θ|∞), for the O(h^4) rule.
    """
    eps = np.finfo(np.float64).eps
    h = eps**0.2 * (1 + float(np.abs(theta).max(initial=0.0))) * 0.1
    slopes, errors = np.empty(len(along)), np.empty(len(along))
    for rows, points in _points(theta, along, np.float64, (h, -h, h / 2, -h / 2)):
        # A value function may own what it returns.
        plus, minus, half_plus, half_minus = (np.array(value(each)) for each in points)
        wide, narrow = (plus - minus) / (2 * h), (half_plus - half_minus) / h
        slopes[rows] = (4 * narrow - wide) / 3
        rounding = 4 * eps * np.maximum(np.abs(plus), np.abs(minus)) / h
        errors[rows] = np.abs(slopes[rows] - narrow) + rounding
    return slopes, errors


def _points(
    theta: Array, along: Directions, dtype: DTypeLike, steps: tuple[complex, ...]
) -> Iterator[tuple[slice, Iterator[Array]]]:
    """Ranges of the directions, each with the points θ + step v for every step.

    All ranges have the same number of rows, the last one overlapping the one before: a value function that
    keeps its memory then allocates it once.
    """
    S, P = len(along), len(theta)
    count = max(1, min(S, MOST_ROWS, ROOM // max(1, P)))
    v, points = np.empty((count, P)), np.empty((count, P), dtype)
    for start in range(0, S, count):
        rows = slice(min(start, S - count), min(start, S - count) + count)
        v[...] = 0
        along.write(rows, v)
        yield rows, _stepped(theta, v, points, steps)


def _stepped(theta: Array, v: Array, points: Array, steps: tuple[complex, ...]) -> Iterator[Array]:
    for step in steps:
        if isinstance(step, complex):
            # A third of the time of complex arithmetic on all numbers.
            np.real(points)[...] = theta
            np.multiply(v, step.imag, out=np.imag(points))
        else:
            np.multiply(v, step, out=points)
            points += theta
        yield points
