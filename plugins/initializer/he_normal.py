"""He, normal: for ReLU."""

from dataclasses import dataclass

import numpy as np
from backproof.contracts import Array, Initializer


@dataclass(frozen=True)
class HeNormal(Initializer):
    """W ~ N(0, 2 / D), D inputs of the layer (He et al. 2015, eq. 10)."""

    def fill(self, W: Array, rng: np.random.Generator) -> None:
        W[...] = rng.normal(0, np.sqrt(2 / W.shape[1]), W.shape)
