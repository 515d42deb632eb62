"""He, uniform: for ReLU."""

from dataclasses import dataclass

import numpy as np
from backproof.contracts import Array, Initializer


@dataclass(frozen=True)
class HeUniform(Initializer):
    """W ~ U(−u, u), u = √(6 / D), D inputs of the layer: the variance 2 / D of He et al. 2015, eq. 10."""

    def fill(self, W: Array, rng: np.random.Generator) -> None:
        limit = np.sqrt(6 / W.shape[1])
        W[...] = rng.uniform(-limit, limit, W.shape)
