"""The contract of an initializer: the weights before training."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from backproof.contracts.base import Array, Plugin


@dataclass(frozen=True)
class Initializer(Plugin):
    """Fill a weight matrix before training. Biases start at zero."""

    kind: ClassVar[str] = "initializer"

    @abstractmethod
    def fill(self, W: Array, rng: np.random.Generator) -> None:
        """Fill W (out, in) of one member in place, drawing only from `rng`, which is the member's own.

        Draw in float64 for any dtype of W, so that float32 and float64 runs start from the same numbers.
        """


@dataclass(frozen=True)
class VarianceScaling(Initializer):
    """Draw W with mean 0 and variance gain / fan: normal, or uniform on ±√(3 gain / fan)."""

    gain: ClassVar[int]
    uniform: ClassVar[bool]

    def fan(self, H: int, D: int) -> int:
        """Return what the variance is divided by, of a layer of H units and D inputs: by default the inputs."""
        return D

    def fill(self, W: Array, rng: np.random.Generator) -> None:
        fan = self.fan(*W.shape)
        if self.uniform:
            limit = np.sqrt(3 * self.gain / fan)
            W[...] = rng.uniform(-limit, limit, W.shape)
        else:
            W[...] = rng.normal(0, np.sqrt(self.gain / fan), W.shape)
