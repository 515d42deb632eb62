"""The contract of a loss: Err(y, z) and ∂Err/∂z."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from numpy.typing import DTypeLike

from backproof.contracts.base import Array, Plugin


@dataclass(frozen=True)
class Loss(Plugin):
    """Err(y, z) as the mean over B samples, fused with its link function on the logits z."""

    kind: ClassVar[str] = "loss"
    #: The tasks it can be trained on.
    tasks: ClassVar[tuple[str, ...]]
    #: The tasks for which it is taken where the user names no loss.
    default_for: ClassVar[tuple[str, ...]] = ()
    #: What `link` gives: "probability", "score" (a higher one means more likely) or "value".
    prediction: ClassVar[str] = "value"
    complex_step: ClassVar[bool] = True

    def outputs(self, task: str, targets: int) -> int:
        """K, the network's outputs for `targets` classes (classification), labels or real targets.

        Raises ValueError, saying what is expected, where the loss cannot serve that number.
        """
        return targets

    @abstractmethod
    def encode(self, y: Array, K: int, dtype: DTypeLike) -> Array:
        """Targets as the dataset has them -> (N, K) numbers as `value` and `gradient` want them, once, before
        training. Raises ValueError for targets it cannot take."""

    @abstractmethod
    def value(self, z: Array, y: Array) -> Array:
        """The loss of each member, (R,), from logits z (R, B, K) and encoded targets y (R or 1, B, K).

        Its gradient with respect to z must be `gradient`. z may be complex128, y is real.
        """

    @abstractmethod
    def gradient(self, z: Array, y: Array, grad: Array) -> None:
        """Write ∂Err/∂z, the 1/B of the mean included, into `grad` (R, B, K); z is left as it is."""

    @abstractmethod
    def link(self, z: Array, out: Array) -> None:
        """Logits -> what a person reads (probabilities, scores or values), both (R, B, K)."""
