"""The network's own backward pass."""

from dataclasses import dataclass
from typing import ClassVar

from backproof.contracts import Array, Derivation, Trace


@dataclass(frozen=True)
class Backprop(Derivation):
    """The chain rule from the loss down, layer by layer (Rumelhart, Hinton & Williams 1986), as derived
    in the comments of `framework/backproof/nn/mlp.py`.
    """

    native: ClassVar[bool] = True

    def gradients(self, trace: Trace) -> dict[str, Array]:
        return trace.backprop()
