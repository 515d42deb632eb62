"""Kinds around the data: dataset loaders and metrics."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from framework.kinds.base import Array, Plugin

CLASSIFICATION, MULTILABEL, REGRESSION = "classification", "multilabel", "regression"
TASKS = (CLASSIFICATION, MULTILABEL, REGRESSION)


@dataclass(frozen=True)
class Dataset:
    """What a loader returns. Not yet split, not yet scaled.

    X  (N, D) float64
    y  classification: (N,) class indices 0..C-1 (int64); multilabel: (N, L) of 0 and 1 (int64);
       regression: (N, T) float64
    """

    X: Array
    y: Array
    task: str
    feature_names: tuple[str, ...]
    #: Names of the classes (classification), labels (multilabel) or targets (regression).
    target_names: tuple[str, ...]

    @property
    def targets(self) -> int:
        """Number of classes, labels or real targets."""
        return len(self.target_names)


@dataclass(frozen=True)
class DatasetLoader(Plugin):
    """Brings a dataset from scikit-learn, a file or a generator."""

    kind: ClassVar[str] = "dataset"
    #: Whether `load` reaches for the network.
    downloads: ClassVar[bool] = False

    @abstractmethod
    def load(self) -> Dataset:
        """The dataset. Raises ValueError (or OSError) that says what is wrong and what to do."""


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
