"""How far a gradient is from another one."""

from __future__ import annotations

import numpy as np

from backproof.contracts import Array
from backproof.gradcheck.report import Entry

#: Roundings that the longest chain of sums and products of a gradient may add up to.
ROUNDINGS = 100.0


def worst_entry(index: Array, entries: Array, got: Array, expected: Array) -> Entry:
    """The one of the tensor's `entries` that is furthest off; one that is not finite before all."""
    off = np.abs(got - expected)
    at = int(np.argmax(np.where(np.isfinite(off), off, np.inf)))
    place = tuple(int(each) for each in np.unravel_index(int(entries[at]), index.shape))
    return Entry(place, float(got[at]), float(expected[at]))


def relative(difference: Array, got: Array, expected: Array) -> float:
    """‖difference‖ / max(‖got‖, ‖expected‖)."""
    return ratio(
        float(np.linalg.norm(difference)), max(float(np.linalg.norm(got)), float(np.linalg.norm(expected)))
    )


def ratio(part: float, whole: float) -> float:
    """0 for 0 / 0; infinite for what is not finite."""
    if part == 0:
        return 0.0
    found = part / whole if whole else np.inf
    return float(found) if np.isfinite(found) else float("inf")


def rms(values: Array) -> float:
    """The root mean square; 0 of nothing."""
    return float(np.sqrt(np.mean(np.square(values)))) if values.size else 0.0
