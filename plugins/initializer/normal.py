"""Normal weights with a fixed standard deviation."""

from dataclasses import dataclass

import numpy as np
from backproof.contracts import Array, Initializer, hyper


@dataclass(frozen=True)
class Normal(Initializer):
    """W ~ N(0, scale²), for every layer."""

    scale: float = hyper(0.01, "standard deviation", gt=0)

    def fill(self, W: Array, rng: np.random.Generator) -> None:
        W[...] = rng.normal(0, self.scale, W.shape)
