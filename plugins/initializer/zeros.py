"""Weights of zero."""

from dataclasses import dataclass

import numpy as np
from backproof.contracts import Array, Initializer


@dataclass(frozen=True)
class Zeros(Initializer):
    """W = 0. For linear models only: the hidden units of a network would all stay the same."""

    def fill(self, W: Array, rng: np.random.Generator) -> None:
        W[...] = 0
