"""What every dataset loader must keep. Loaders that download, or give no examples, are not loaded."""

from __future__ import annotations

import functools
from typing import cast

import numpy as np

from backproof.conformance.base import Check, ConformanceError, require
from backproof.contracts import CLASSIFICATION, MULTILABEL, REGRESSION, TASKS, Dataset, DatasetLoader, Plugin


@functools.lru_cache(maxsize=1)
def _loaded(plugin: Plugin) -> Dataset | None:
    """The dataset, loaded once for all checks of one instance; None where it would need the network."""
    return _load(plugin)


def _load(plugin: Plugin) -> Dataset | None:
    if not isinstance(plugin, DatasetLoader):
        raise ConformanceError(f"expected a DatasetLoader, got {type(plugin).__name__}")
    if plugin.downloads:
        return None
    dataset = cast(object, plugin.load())
    if not isinstance(dataset, Dataset):
        raise ConformanceError(f"load() must return a Dataset, got {type(dataset).__name__}")
    return dataset


def check_shapes(plugin: Plugin) -> None:
    """X (N, D); y (N,) in classification, else (N, targets); a known task."""
    if (dataset := _loaded(plugin)) is None:
        return
    X, y = dataset.X, dataset.y
    require(dataset.task in TASKS, f"task must be one of {', '.join(TASKS)}, got {dataset.task!r}")
    require(X.ndim == 2 and min(X.shape) >= 1, f"X must be (N, D), N and D at least 1, got shape {X.shape}")
    expected = X.shape[:1] if dataset.task == CLASSIFICATION else (len(X), dataset.targets)
    require(y.shape == expected, f"y must have shape {expected} for {dataset.task}, got {y.shape}")


def check_dtypes(plugin: Plugin) -> None:
    """X float64; y int64, in regression float64."""
    if (dataset := _loaded(plugin)) is None:
        return
    expected = np.float64 if dataset.task == REGRESSION else np.int64
    require(dataset.X.dtype == np.float64, f"X must be float64, got {dataset.X.dtype}")
    require(dataset.y.dtype == expected, f"y must be {np.dtype(expected)}, got {dataset.y.dtype}")


def check_finite(plugin: Plugin) -> None:
    """No NaN and no infinity."""
    if (dataset := _loaded(plugin)) is None:
        return
    for letter, array in (("X", dataset.X), ("y", dataset.y)):
        require(array.dtype.kind in "biuf", f"{letter} must hold numbers, got {array.dtype}")
        bad = np.argwhere(~np.isfinite(array))
        require(
            not len(bad), f"{letter} must be finite, got {len(bad)} NaN or inf, the first at {bad[:1].tolist()}"
        )


def check_targets(plugin: Plugin) -> None:
    """Classes are 0..C-1, each there at least twice, C >= 2; labels are 0 and 1."""
    if (dataset := _loaded(plugin)) is None:
        return
    found, counts = np.unique(dataset.y, return_counts=True)
    if dataset.task == CLASSIFICATION:
        classes = np.arange(dataset.targets)
        require(len(classes) >= 2, f"classification needs two or more classes, got {len(classes)}")
        require(
            np.array_equal(found, classes),
            f"the classes in y must be 0 to {len(classes) - 1}, each of them there, got {found.tolist()}",
        )
        require(counts.min() >= 2, f"every class needs two samples, got counts {counts.tolist()}")
    if dataset.task == MULTILABEL:
        require(np.isin(found, (0, 1)).all(), f"labels must be 0 and 1, got {found.tolist()}")


def check_names(plugin: Plugin) -> None:
    """A name for each feature and each target: str, no two the same."""
    if (dataset := _loaded(plugin)) is None:
        return
    D = dataset.X.shape[1]
    require(len(dataset.feature_names) == D, f"expected {D} feature_names, got {len(dataset.feature_names)}")
    for field, names in (("feature_names", dataset.feature_names), ("target_names", dataset.target_names)):
        given = cast(object, names)
        require(isinstance(given, tuple), f"{field} must be a tuple, got {type(given).__name__}")
        others = {type(name).__name__ for name in names if type(name) is not str}
        require(not others, f"{field} must be str, got {', '.join(sorted(others))}")
        twice = {name for name in names if names.count(name) > 1}
        require(not twice, f"{field} must differ from each other, twice or more: {', '.join(sorted(twice))}")


def check_repeatable(plugin: Plugin) -> None:
    """Loading twice gives the same numbers."""
    first, second = _loaded(plugin), _load(plugin)
    if first is None or second is None:
        return
    for letter, one, other in (("X", first.X, second.X), ("y", first.y, second.y)):
        require(np.array_equal(one, other), f"{letter} must be the same in every load(), but it differs")


CHECKS: tuple[Check, ...] = (
    check_shapes,
    check_dtypes,
    check_finite,
    check_targets,
    check_names,
    check_repeatable,
)
