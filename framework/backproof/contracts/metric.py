"""The contract of a metric: a number on predictions."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from backproof.contracts.base import Array, Plugin


@dataclass(frozen=True)
class Metric(Plugin):
    """A number on predictions, for people: training does not use it."""

    kind: ClassVar[str] = "metric"
    tasks: ClassVar[tuple[str, ...]]
    #: The tasks for which it is reported if the user names no metrics.
    default_for: ClassVar[tuple[str, ...]] = ()
    #: The forms of prediction that it can read; see `Loss.prediction`.
    reads: ClassVar[tuple[str, ...]] = ("probability", "score", "value")
    greater_is_better: ClassVar[bool] = True

    @abstractmethod
    def __call__(self, prediction: Array, y: Array) -> Array:
        """Return (R,) numbers from predictions (R, N, K) and targets y as in `Dataset.y`.

        In classification K is the number of classes, also if a binary loss has one output.
        """
