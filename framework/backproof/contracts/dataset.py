"""The contract of a dataset loader, and the dataset that it returns."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from backproof.contracts.base import Array, Plugin

CLASSIFICATION, MULTILABEL, REGRESSION = "classification", "multilabel", "regression"
TASKS = (CLASSIFICATION, MULTILABEL, REGRESSION)


@dataclass(frozen=True)
class Dataset:
    """What a loader returns, neither split nor scaled.

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
    """Load a dataset from scikit-learn, a file or a generator."""

    kind: ClassVar[str] = "dataset"
    #: Whether `load` needs the network.
    downloads: ClassVar[bool] = False

    @property
    def label(self) -> str:
        """The name that runs on this dataset show: the plugin's; a loader of files returns the file's name."""
        return self.name

    @abstractmethod
    def load(self) -> Dataset:
        """Return the dataset. Raise ValueError or OSError, which says what is wrong and what to do."""
