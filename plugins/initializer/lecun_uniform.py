"""LeCun, uniform: for selu and tanh."""

from dataclasses import dataclass

import numpy as np
from backproof.contracts import Array, Initializer


@dataclass(frozen=True)
class LeCunUniform(Initializer):
    """W ~ U(−u, u), u = √(3 / D), D inputs of the layer: the variance 1 / D of LeCun et al. 1998, eq. 16."""

    def fill(self, W: Array, rng: np.random.Generator) -> None:
        limit = np.sqrt(3 / W.shape[1])
        W[...] = rng.uniform(-limit, limit, W.shape)
