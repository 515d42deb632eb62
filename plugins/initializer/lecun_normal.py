"""LeCun, normal: for selu and tanh."""

from dataclasses import dataclass

import numpy as np
from backproof.contracts import Array, Initializer


@dataclass(frozen=True)
class LeCunNormal(Initializer):
    """W ~ N(0, 1 / D), D inputs of the layer (LeCun et al. 1998, eq. 16)."""

    def fill(self, W: Array, rng: np.random.Generator) -> None:
        W[...] = rng.normal(0, np.sqrt(1 / W.shape[1]), W.shape)
