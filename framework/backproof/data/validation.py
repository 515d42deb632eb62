"""Validation of a Dataset: shapes, dtypes, finite values, enough samples of each class."""

from __future__ import annotations

import numpy as np

from backproof.contracts import CLASSIFICATION, MULTILABEL, REGRESSION, TASKS, Array, Dataset


def validate(dataset: Dataset) -> None:
    """Raise ValueError, naming what is wrong and where, unless the dataset fulfils its contract.

    X (N, D) float64 and finite, N >= 2, D >= 1; y as its task requires (see `Dataset`); as many names as columns;
    in classification two or more classes, numbered 0..C-1, each with two or more samples.
    """
    for rule in (check_shapes, check_dtypes, check_finite, check_targets):
        rule(dataset)


def check_shapes(dataset: Dataset) -> None:
    """Require X (N, D); y (N,) in classification, else (N, targets); a known task; as many names as columns."""
    X, y = dataset.X, dataset.y
    if dataset.task not in TASKS:
        raise ValueError(f"a dataset's task must be one of {', '.join(TASKS)}, got {dataset.task!r}")
    if X.ndim != 2 or X.shape[1] < 1:
        raise ValueError(f"X must be (N, D) with at least one feature, got shape {X.shape}")
    N, D = X.shape
    if N < 2:
        raise ValueError(f"a dataset needs at least 2 samples, got {N}")
    if len(dataset.feature_names) != D:
        raise ValueError(f"X has {D} columns but feature_names has {len(dataset.feature_names)}")
    T = dataset.targets
    if dataset.task == CLASSIFICATION:
        if y.shape != (N,):
            raise ValueError(f"y must be ({N},) class indices, one for each row of X, got shape {y.shape}")
    elif y.shape != (N, T) or T < 1:
        raise ValueError(
            f"y must be ({N}, {T}), with a row for each row of X and a column for each name; got shape {y.shape}"
        )


def check_dtypes(dataset: Dataset) -> None:
    """Require float64 for X; for y int64, or float64 in regression."""
    _check_dtype("X", dataset.X, np.float64)
    _check_dtype("y", dataset.y, np.float64 if dataset.task == REGRESSION else np.int64)


def check_finite(dataset: Dataset) -> None:
    """Require that no value is NaN or infinite."""
    _check_finite("X", dataset.X, dataset.feature_names)
    if dataset.task == REGRESSION:
        _check_finite("y", dataset.y, dataset.target_names)


def check_targets(dataset: Dataset) -> None:
    """Require classes 0..C-1, each present at least twice, with C >= 2; labels 0 and 1."""
    y, names = dataset.y, dataset.target_names
    if dataset.task == MULTILABEL and not np.isin(y, (0, 1)).all():
        raise ValueError(f"multilabel y must hold 0 and 1 only, got values from {y.min()} to {y.max()}")
    if dataset.task != CLASSIFICATION:
        return
    C = len(names)
    if C < 2:
        raise ValueError(f"classification needs two or more classes, got {', '.join(names) or 'none'}")
    if y.min() < 0 or y.max() >= C:
        raise ValueError(f"y must hold class indices 0 to {C - 1} ({C} names), got {y.min()} to {y.max()}")
    counts = np.bincount(y, minlength=C)
    rare = int(np.argmin(counts))
    if counts[rare] < 2:
        raise ValueError(
            f"class {names[rare]!r} has {counts[rare]} samples but needs at least two, one for training and one "
            "for the test: add samples, merge it with another class, or remove it"
        )


def _check_dtype(letter: str, array: Array, dtype: type[np.generic]) -> None:
    if array.dtype != dtype:
        name = np.dtype(dtype).name
        raise ValueError(f"{letter} must be {name}, got {array.dtype}: use {letter}.astype(np.{name})")


def _check_finite(letter: str, array: Array, names: tuple[str, ...]) -> None:
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{letter} must hold numbers, got {array.dtype}")
    bad = ~np.isfinite(array)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise ValueError(
            f"{letter} holds {np.count_nonzero(bad)} values that are NaN or infinite, the first in row {row}, "
            f"column {names[column]!r}: fill them in or remove those rows"
        )
