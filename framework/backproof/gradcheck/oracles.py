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

#: The imaginary step. Its square is far below the smallest rounding, so that nothing is truncated.
STEP = 1e-30


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
    points = np.empty((0, len(theta)), np.complex128)
    for rows, v in ranges(theta, along):
        if len(points) != len(v):
            points = np.empty(v.shape, np.complex128)
        # A third of the time of complex arithmetic on all numbers.
        np.real(points)[...] = theta
        np.multiply(v, STEP, out=np.imag(points))
        slopes[rows] = np.imag(value(points)) / STEP
    return slopes, np.zeros_like(slopes)
