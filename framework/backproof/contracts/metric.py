"""The contract of a metric: a number on predictions."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from backproof.contracts.base import Array, Plugin


@dataclass(frozen=True)
class Metric(Plugin):
    """A number on predictions, for people; training never depends on its gradient."""

    kind: ClassVar[str] = "metric"
    tasks: ClassVar[tuple[str, ...]]
    #: The tasks for which it is reported where the user names no metrics.
    default_for: ClassVar[tuple[str, ...]] = ()
    #: What it can read of a loss's `prediction`: probability, score, value.
    reads: ClassVar[tuple[str, ...]] = ("probability", "score", "value")
    greater_is_better: ClassVar[bool] = True

    @abstractmethod
    def __call__(self, prediction: Array, y: Array) -> Array:
        """(R,) from predictions (R, N, K) and targets y as in `Dataset.y`.

        In classification K is the number of classes, also where a binary loss has one output.
        """
