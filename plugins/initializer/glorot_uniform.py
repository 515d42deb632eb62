"""Glorot, uniform: for tanh and sigmoid."""

from dataclasses import dataclass

import numpy as np
from backproof.contracts import Array, Initializer


@dataclass(frozen=True)
class GlorotUniform(Initializer):
    """W ~ U(−u, u), u = √(6 / (D + H)), D inputs and H units of the layer (Glorot & Bengio 2010, eq. 16)."""

    def fill(self, W: Array, rng: np.random.Generator) -> None:
        limit = np.sqrt(6 / sum(W.shape))
        W[...] = rng.uniform(-limit, limit, W.shape)
