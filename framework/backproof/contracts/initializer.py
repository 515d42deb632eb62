"""The contract of an initializer: the weights before training."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from backproof.contracts.base import Array, Plugin


@dataclass(frozen=True)
class Initializer(Plugin):
    """Fills a weight matrix before training. Biases start at zero."""

    kind: ClassVar[str] = "initializer"

    @abstractmethod
    def fill(self, W: Array, rng: np.random.Generator) -> None:
        """Fill W (out, in) of one member in place, drawing only from `rng`, the member's own. Draw in float64
        whatever W's dtype, so that float32 and float64 runs start from the same numbers."""
