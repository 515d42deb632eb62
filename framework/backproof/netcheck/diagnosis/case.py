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
#: The rounding error left where terms cancel, as a fraction of the right gradient's norm.
CANCELLATION = 1e-14


@dataclass(frozen=True)
class Case:
    """Gradients by tensor name (W1, b1, ...) at one point, in float64.

    gradients  what the derivation returned
    expected   the right gradient: from the complex step, or from a backward pass that agrees with it numerically
    penalty    the gradient of the penalty, if there is one; `gradients` and `expected` do not include it
    """

    trace: Trace
    gradients: Mapping[str, Array]
    expected: Mapping[str, Array]
    penalty: Mapping[str, Array] = field(default_factory=dict[str, Array])

    @property
    def depth(self) -> int:
        """Return L, the number of layers with weights."""
        return len(self.trace.W)

    def right(self, tensor: str) -> bool:
        """Return whether the tensor's gradient is as expected."""
        return same(self.gradients[tensor], self.expected[tensor])

    def unexplained(self, tensor: str, explanation: Array) -> float:
        """Return ‖gradient − explanation‖ for a tensor, relative to the largest norm of the three."""
        gradient, expected = self.gradients[tensor], self.expected[tensor]
        size = max(float(np.linalg.norm(array)) for array in (gradient, expected, explanation))
        return float(np.linalg.norm(gradient - explanation)) / size if size else 0.0

    def explained(self, tensor: str, explanation: Array) -> bool:
        """Return whether `explanation` equals the tensor's gradient and accounts for all of its error."""
        gradient, expected = self.gradients[tensor], self.expected[tensor]
        if explanation.shape != gradient.shape:
            return False
        remainder = float(np.linalg.norm(gradient - explanation))
        # Terms that cancel leave rounding errors instead of zero.
        if remainder <= CANCELLATION * float(np.linalg.norm(expected)):
            return True
        if not same(gradient, explanation):
            return False
        error = float(np.linalg.norm(gradient - expected))
        size = max(float(np.linalg.norm(gradient)), float(np.linalg.norm(explanation)))
        # A right gradient has no error to explain except rounding.
        return error <= SAME * size or remainder <= UNEXPLAINED * error


def same(array: Array, other: Array) -> bool:
    """Return whether two arrays are equal up to rounding, by norm."""
    size = max(float(np.linalg.norm(array)), float(np.linalg.norm(other)))
    gap = float(np.linalg.norm(array - other))
    # With NaN this is False.
    return gap <= SAME * size


def residual(array: Array, other: Array) -> float:
    """Return ‖array − other‖ / max(‖array‖, ‖other‖), and 0 for 0 / 0."""
    size = max(float(np.linalg.norm(array)), float(np.linalg.norm(other)))
    return float(np.linalg.norm(array - other)) / size if size else 0.0
