"""Whether a Dataset is one: shapes, dtypes, finite numbers, classes that can be learnt."""

from __future__ import annotations

import numpy as np

from backproof.contracts import CLASSIFICATION, MULTILABEL, REGRESSION, TASKS, Array, Dataset


def validate(dataset: Dataset) -> None:
    """Raise ValueError, naming what is wrong and where, unless the dataset keeps its contract.

    X (N, D) float64 and finite, N >= 2, D >= 1; y as its task says (see `Dataset`); as many names as columns;
    in classification two or more classes, each with two or more samples, counted 0..C-1.
    """
    X, y = dataset.X, dataset.y
    if dataset.task not in TASKS:
        raise ValueError(f"a dataset's task must be one of {', '.join(TASKS)}, got {dataset.task!r}")
    if X.ndim != 2 or X.shape[1] < 1:
        raise ValueError(f"X must be (N, D) with at least one feature, got shape {X.shape}")
    N, D = X.shape
    if N < 2:
        raise ValueError(f"a dataset needs at least 2 samples, got {N}")
    _is_dtype("X", X, np.float64)
    if len(dataset.feature_names) != D:
        raise ValueError(f"X has {D} columns but feature_names has {len(dataset.feature_names)}")
    _is_finite("X", X, dataset.feature_names)
    if dataset.task == CLASSIFICATION:
        if y.shape != (N,):
            raise ValueError(f"y must be ({N},) class indices, one for each row of X, got shape {y.shape}")
        _is_dtype("y", y, np.int64)
        _has_classes(y, dataset.target_names)
        return
    T = len(dataset.target_names)
    if y.shape != (N, T) or T < 1:
        raise ValueError(f"y must be ({N}, {T}): a row for each row of X, a column a name; got shape {y.shape}")
    if dataset.task == REGRESSION:
        _is_dtype("y", y, np.float64)
        _is_finite("y", y, dataset.target_names)
    if dataset.task == MULTILABEL:
        _is_dtype("y", y, np.int64)
        if not np.isin(y, (0, 1)).all():
            raise ValueError(f"multilabel y must hold 0 and 1 only, got values from {y.min()} to {y.max()}")


def _is_dtype(letter: str, array: Array, dtype: type[np.generic]) -> None:
    if array.dtype != dtype:
        name = np.dtype(dtype).name
        raise ValueError(f"{letter} must be {name}, got {array.dtype}: use {letter}.astype(np.{name})")


def _is_finite(letter: str, array: Array, names: tuple[str, ...]) -> None:
    bad = ~np.isfinite(array)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise ValueError(
            f"{letter} holds {np.count_nonzero(bad)} values that are NaN or infinite, the first in row {row}, "
            f"column {names[column]!r}: fill them in or take out those rows"
        )


def _has_classes(y: Array, names: tuple[str, ...]) -> None:
    C = len(names)
    if C < 2:
        raise ValueError(f"classification needs two or more classes, got {', '.join(names) or 'none'}")
    if y.min() < 0 or y.max() >= C:
        raise ValueError(f"y must hold class indices 0 to {C - 1} ({C} names), got {y.min()} to {y.max()}")
    counts = np.bincount(y, minlength=C)
    rare = int(np.argmin(counts))
    if counts[rare] < 2:
        raise ValueError(
            f"class {names[rare]!r} has {counts[rare]} samples, and needs two or more: one to train on, one to "
            "test on. Add samples, merge it with another class or take it out"
        )
