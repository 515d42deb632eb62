"""One point at which a gradient is compared, and when two gradients count as equal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from backproof.contracts import Array, Trace

#: Two gradients are equal if they differ by no more than this fraction of their norm, ...
SAME = 1e-9
#: ... and a mistake explains a wrong gradient if it leaves no more than this fraction of the error.
UNEXPLAINED = 1e-4
#: The rounding that cancelling terms leave, as a fraction of the right gradient's norm.
CANCELLATION = 1e-14


@dataclass(frozen=True)
class Case:
    """Gradients by tensor name (W1, b1, ...) at one point, in float64.

    given     what the derivation returned
    expected  the right gradient: from the complex step, or from a backward pass that agrees with it numerically
    penalty   the gradient of the penalty, if there is one; `given` and `expected` do not include it
    """

    trace: Trace
    given: Mapping[str, Array]
    expected: Mapping[str, Array]
    penalty: Mapping[str, Array] = field(default_factory=dict[str, Array])

    @property
    def depth(self) -> int:
        """Return L, the number of layers with weights."""
        return len(self.trace.W)

    def right(self, tensor: str) -> bool:
        """Return whether the tensor's gradient is as expected."""
        return same(self.given[tensor], self.expected[tensor])

    def left(self, tensor: str, explanation: Array) -> float:
        """Return ‖given − explanation‖ of the tensor's gradient, relative to the largest norm of all three."""
        given, expected = self.given[tensor], self.expected[tensor]
        size = max(float(np.linalg.norm(gradient)) for gradient in (given, expected, explanation))
        return float(np.linalg.norm(given - explanation)) / size if size else 0.0

    def explained(self, tensor: str, explanation: Array) -> bool:
        """Return whether `explanation` equals the tensor's gradient and leaves nothing of its error."""
        given = self.given[tensor]
        if explanation.shape != given.shape:
            return False
        # Cancelling terms leave rounding instead of zero.
        if float(np.linalg.norm(given - explanation)) <= CANCELLATION * float(
            np.linalg.norm(self.expected[tensor])
        ):
            return True
        if not same(given, explanation):
            return False
        error = float(np.linalg.norm(given - self.expected[tensor]))
        size = max(float(np.linalg.norm(given)), float(np.linalg.norm(explanation)))
        # A right gradient has no error to explain except rounding.
        return error <= SAME * size or float(np.linalg.norm(given - explanation)) <= UNEXPLAINED * error


def same(one: Array, other: Array) -> bool:
    """Return whether two arrays are equal up to rounding, by norm."""
    size = max(float(np.linalg.norm(one)), float(np.linalg.norm(other)))
    gap = float(np.linalg.norm(one - other))
    # With NaN this is False.
    return gap <= SAME * size


def residual(one: Array, other: Array) -> float:
    """Return ‖one − other‖ / max(‖one‖, ‖other‖), and 0 for 0 / 0."""
    size = max(float(np.linalg.norm(one)), float(np.linalg.norm(other)))
    return float(np.linalg.norm(one - other)) / size if size else 0.0
