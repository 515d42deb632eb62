"""Activations on new arrays, and the memory layout of targets and logits. For checks, not for training."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike

from backproof.contracts import Activation, Array


def features_first(array: Array) -> Array:
    """Return a copy of array (..., N, K) whose memory holds the features before the samples, as logits do."""
    return array.swapaxes(-1, -2).copy().swapaxes(-1, -2)


def stacked_targets(y: Array, dtype: DTypeLike) -> Array:
    """Return targets y (N, K) as (1, N, K) for a stack of networks, laid out as logits are."""
    return features_first(np.asarray(y, dtype=dtype))[None]


def phi(activation: Activation, a: Array) -> Array:
    """Return h = φ(a) as a new array."""
    h = np.empty_like(a)
    activation.forward(a, h)
    return h


def dphi(activation: Activation, a: Array) -> Array:
    """Return φ'(a) as a new array."""
    slope = np.ones_like(a)
    activation.backward(a, phi(activation, a), slope, (np.empty_like(a), np.empty_like(a)))
    return slope
