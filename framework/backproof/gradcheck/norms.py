"""Norms and relative errors of gradients."""

from __future__ import annotations

import numpy as np

from backproof.contracts import Array
from backproof.gradcheck.report import Entry

#: The most roundings, in units of ε, that the longest chain of sums and products in a gradient adds up to.
ROUNDINGS = 100.0
#: A tolerance above this would let mistakes pass; a tensor is then untested.
MOST_TOLERANCE = 1e-3


def worst_entry(index: Array, entries: Array, got: Array, expected: Array) -> Entry:
    """Return the one of the tensor's `entries` with the largest error; one that is not finite comes first."""
    off = np.abs(got - expected)
    at = int(np.argmax(np.where(np.isfinite(off), off, np.inf)))
    position = tuple(int(i) for i in np.unravel_index(int(entries[at]), index.shape))
    return Entry(position, float(got[at]), float(expected[at]))


def relative(difference: Array, got: Array, expected: Array) -> float:
    """Return ‖difference‖ / max(‖got‖, ‖expected‖)."""
    return ratio(
        float(np.linalg.norm(difference)), max(float(np.linalg.norm(got)), float(np.linalg.norm(expected)))
    )


def ratio(part: float, whole: float) -> float:
    """Return part / whole, with 0 / 0 = 0, and infinity if the quotient is not finite."""
    if part == 0:
        return 0.0
    quotient = part / whole if whole else np.inf
    return float(quotient) if np.isfinite(quotient) else float("inf")


def rms(values: Array) -> float:
    """Return the root mean square; 0 for no values."""
    return float(np.sqrt(np.mean(np.square(values)))) if values.size else 0.0
