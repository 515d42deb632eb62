"""Derivatives of a function from its values alone, for many points at once.

A value function takes (S, P), S parameter vectors, and returns (S,).
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from backproof.contracts import Array
from backproof.gradcheck.differences import central_differences
from backproof.gradcheck.directions import Axes, Dense, Directions, Values, ranges

__all__ = ["Axes", "Dense", "Directions", "Oracle", "Values", "central_differences", "complex_step"]

#: The imaginary step. Its square is far below any rounding, so there is no truncation error.
STEP = 1e-30


class Oracle(Protocol):
    """Return the derivatives (S,) of `value` at theta (P,) along S directions, and their estimated errors (S,)."""

    def __call__(self, value: Values, theta: Array, along: Directions) -> tuple[Array, Array]: ...


def complex_step(value: Values, theta: Array, along: Directions) -> tuple[Array, Array]:
    """Return Im f(θ + i h v) / h with h = 1e-30 (Squire & Trapp 1998; Martins et al. 2003), and zeros as errors.

    There is no difference, so nothing cancels, and no truncation: the result is exact to rounding at any scale, for
    any function that is written for complex numbers.
    """
    slopes = np.empty(len(along))
    points = np.empty((0, len(theta)), np.complex128)
    for rows, v in ranges(theta, along):
        if len(points) != len(v):
            points = np.empty(v.shape, np.complex128)
        # This takes a third of the time of theta + 1j * STEP * v.
        np.real(points)[...] = theta
        np.multiply(v, STEP, out=np.imag(points))
        slopes[rows] = np.imag(value(points)) / STEP
    return slopes, np.zeros_like(slopes)
