"""The samples used by a gradient check."""

from __future__ import annotations

import numpy as np

from backproof.contracts import Array
from backproof.gradcheck import CheckOptions


def draw_rows(N: int, options: CheckOptions, seed: int) -> Array:
    """Return `options.samples` of N rows in random order, or all of them if it is None or exceeds N."""
    count = N if options.samples is None else min(options.samples, N)
    return np.random.default_rng(seed).permutation(N)[:count]
