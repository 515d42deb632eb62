"""The checks of dataset loaders. Loaders that download, or give no examples, are not loaded."""

from __future__ import annotations

import functools
from typing import cast

import numpy as np

from backproof.conformance.harness import Checks
from backproof.contracts import CLASSIFICATION, MULTILABEL, REGRESSION, TASKS, Dataset, DatasetLoader
from backproof.contracts.errors import ConformanceError, require

CHECKS = Checks(DatasetLoader)


def _load(loader: DatasetLoader) -> list[Dataset]:
    """Return the dataset in a list, which is empty if it would have to be downloaded."""
    if loader.downloads:
        return []
    dataset = cast(object, loader.load())
    if not isinstance(dataset, Dataset):
        raise ConformanceError(f"load() must return a Dataset, got {type(dataset).__name__}")
    return [dataset]


#: Loaded once for all checks of one instance.
_loaded = functools.lru_cache(maxsize=1)(_load)


@CHECKS.add_for(_loaded, named=False)
def check_shapes(dataset: Dataset) -> None:
    """X (N, D); y (N,) in classification, else (N, targets); a known task."""
    X, y = dataset.X, dataset.y
    require(dataset.task in TASKS, f"task must be one of {', '.join(TASKS)}, got {dataset.task!r}")
    require(X.ndim == 2 and min(X.shape) >= 1, f"X must be (N, D), N and D at least 1, got shape {X.shape}")
    expected = X.shape[:1] if dataset.task == CLASSIFICATION else (len(X), dataset.targets)
    require(y.shape == expected, f"y must have shape {expected} for {dataset.task}, got {y.shape}")


@CHECKS.add_for(_loaded, named=False)
def check_dtypes(dataset: Dataset) -> None:
    """X float64; y int64, in regression float64."""
    expected = np.float64 if dataset.task == REGRESSION else np.int64
    require(dataset.X.dtype == np.float64, f"X must be float64, got {dataset.X.dtype}")
    require(dataset.y.dtype == expected, f"y must be {np.dtype(expected)}, got {dataset.y.dtype}")


@CHECKS.add_for(_loaded, named=False)
def check_finite(dataset: Dataset) -> None:
    """No NaN and no infinity."""
    for letter, array in (("X", dataset.X), ("y", dataset.y)):
        require(array.dtype.kind in "biuf", f"{letter} must hold numbers, got {array.dtype}")
        bad = np.argwhere(~np.isfinite(array))
        require(
            not len(bad), f"{letter} must be finite, got {len(bad)} NaN or inf, the first at {bad[:1].tolist()}"
        )


@CHECKS.add_for(_loaded, named=False)
def check_targets(dataset: Dataset) -> None:
    """Classes are 0..C-1, each present at least twice, C >= 2; labels are 0 and 1."""
    values, counts = np.unique(dataset.y, return_counts=True)
    if dataset.task == CLASSIFICATION:
        classes = np.arange(dataset.targets)
        require(len(classes) >= 2, f"classification needs two or more classes, got {len(classes)}")
        require(
            np.array_equal(values, classes),
            f"the classes in y must be 0 to {len(classes) - 1}, each of them present, got {values.tolist()}",
        )
        require(counts.min() >= 2, f"every class needs two samples, got counts {counts.tolist()}")
    if dataset.task == MULTILABEL:
        require(np.isin(values, (0, 1)).all(), f"labels must be 0 and 1, got {values.tolist()}")


@CHECKS.add_for(_loaded, named=False)
def check_names(dataset: Dataset) -> None:
    """Each feature and each target has a name: str, no two the same."""
    D = dataset.X.shape[1]
    require(len(dataset.feature_names) == D, f"expected {D} feature_names, got {len(dataset.feature_names)}")
    for field, names in (("feature_names", dataset.feature_names), ("target_names", dataset.target_names)):
        container = type(cast(object, names))
        require(container is tuple, f"{field} must be a tuple, got {container.__name__}")
        others = {type(name).__name__ for name in names if type(name) is not str}
        require(not others, f"{field} must be str, got {', '.join(sorted(others))}")
        twice = {name for name in names if names.count(name) > 1}
        require(not twice, f"{field} must differ from each other, repeated: {', '.join(sorted(twice))}")


@CHECKS.add
def check_repeatable(loader: DatasetLoader) -> None:
    """Loading twice gives the same numbers."""
    for first, second in zip(_loaded(loader), _load(loader), strict=True):
        for letter in ("X", "y"):
            same = np.array_equal(getattr(first, letter), getattr(second, letter))
            require(same, f"{letter} must be the same in every load(), but it differs")
