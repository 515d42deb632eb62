"""The contract of a loss: Err(y, z) and ∂Err/∂z."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import DTypeLike

from backproof.contracts.base import Array, Plugin
from backproof.contracts.dataset import REGRESSION


@dataclass(frozen=True)
class Loss(Plugin):
    """Err(y, z), the mean over B samples, together with its link function of the logits z."""

    kind: ClassVar[str] = "loss"
    #: The tasks that the loss can be used for.
    tasks: ClassVar[tuple[str, ...]]
    #: The tasks whose default loss it is.
    default_for: ClassVar[tuple[str, ...]] = ()
    #: What `link` returns: "probability", "score" (a higher one means more likely) or "value".
    prediction: ClassVar[str] = "value"
    complex_step: ClassVar[bool] = True

    def outputs(self, task: str, targets: int) -> int:
        """Return K, the network's outputs for `targets` classes (classification), labels or real targets.

        Raise ValueError, which says what is expected, if the loss does not take that number.
        """
        return targets

    @abstractmethod
    def encode(self, y: Array, K: int, dtype: DTypeLike) -> Array:
        """Return the dataset's targets as the numbers (N, K) that `value` and `gradient` take; called once, before
        training. Raise ValueError for targets that do not fit."""

    @abstractmethod
    def value(self, z: Array, y: Array) -> Array:
        """Return the loss of each member, (R,), from logits z (R, B, K) and encoded targets y (R or 1, B, K).

        Its gradient with respect to z must be `gradient`. z may be complex128, y is real.
        """

    @abstractmethod
    def gradient(self, z: Array, y: Array, grad: Array) -> None:
        """Write ∂Err/∂z, including the 1/B of the mean, into `grad` (R, B, K). Do not change z."""

    @abstractmethod
    def link(self, z: Array, out: Array) -> None:
        """Write the probabilities, scores or values given by the logits z (R, B, K) into `out` (R, B, K)."""


@dataclass(frozen=True)
class RegressionLoss(Loss):
    """A loss on real targets, whose link function is the identity."""

    tasks: ClassVar[tuple[str, ...]] = (REGRESSION,)

    def encode(self, y: Array, K: int, dtype: DTypeLike) -> Array:
        if y.shape[1:] != (K,):
            raise ValueError(f"targets must be (N, {K}), got {y.shape}")
        return y.astype(dtype)

    def link(self, z: Array, out: Array) -> None:
        np.copyto(out, z)
