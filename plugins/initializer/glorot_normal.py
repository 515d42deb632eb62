"""Glorot, normal: for tanh and sigmoid."""

from dataclasses import dataclass

import numpy as np
from backproof.contracts import Array, Initializer


@dataclass(frozen=True)
class GlorotNormal(Initializer):
    """W ~ N(0, 2 / (D + H)), D inputs and H units of the layer (Glorot & Bengio 2010, eq. 12)."""

    def fill(self, W: Array, rng: np.random.Generator) -> None:
        W[...] = rng.normal(0, np.sqrt(2 / sum(W.shape)), W.shape)
