"""One point at which a gradient is compared, and when two gradients are the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from backproof.contracts import Array, Trace

#: Two gradients are the same where they differ by no more than this share of their norm, ...
SAME = 1e-9
#: ... and a mistake explains a wrong gradient where it leaves no more than this share of the error.
LEFT = 1e-4
#: So much of the right gradient's norm is what terms that cancel leave by rounding.
CANCELLED = 1e-14


@dataclass(frozen=True)
class Case:
    """Gradients by tensor name (W1, b1, ...) at one point, in float64.

    given     what the derivation returned
    expected  what is proven right: by the complex step, or by a backward pass that was compared with it
    penalty   the gradient of the penalty, where there is one; `given` and `expected` are without it
    """

    trace: Trace
    given: Mapping[str, Array]
    expected: Mapping[str, Array]
    penalty: Mapping[str, Array] = field(default_factory=dict[str, Array])

    @property
    def depth(self) -> int:
        """L, the number of layers with weights."""
        return len(self.trace.W)

    def right(self, tensor: str) -> bool:
        """Whether the tensor's gradient is as expected."""
        return same(self.given[tensor], self.expected[tensor])

    def left(self, tensor: str, by: Array) -> float:
        """How much of the tensor's gradient `by` leaves, by norm, relative to the largest of all three."""
        given, expected = self.given[tensor], self.expected[tensor]
        size = max(float(np.linalg.norm(each)) for each in (given, expected, by))
        return float(np.linalg.norm(given - by)) / size if size else 0.0

    def explained(self, tensor: str, by: Array) -> bool:
        """Whether the tensor's gradient is `by`, and nothing of its error is left."""
        given = self.given[tensor]
        if by.shape != given.shape:
            return False
        # Terms that cancel leave their rounding where there should be zero.
        if float(np.linalg.norm(given - by)) <= CANCELLED * float(np.linalg.norm(self.expected[tensor])):
            return True
        if not same(given, by):
            return False
        error = float(np.linalg.norm(given - self.expected[tensor]))
        size = max(float(np.linalg.norm(given)), float(np.linalg.norm(by)))
        # A right gradient has no error to explain, but its rounding.
        return error <= SAME * size or float(np.linalg.norm(given - by)) <= LEFT * error


def same(one: Array, other: Array) -> bool:
    """Whether two arrays are equal to rounding, by norm."""
    size = max(float(np.linalg.norm(one)), float(np.linalg.norm(other)))
    gap = float(np.linalg.norm(one - other))
    # Written so that NaN is not the same.
    return gap <= SAME * size


def residual(one: Array, other: Array) -> float:
    """‖one − other‖ / max(‖one‖, ‖other‖), 0 for 0 / 0."""
    size = max(float(np.linalg.norm(one)), float(np.linalg.norm(other)))
    return float(np.linalg.norm(one - other)) / size if size else 0.0
