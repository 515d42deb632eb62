"""The checks of dataset loaders. Loaders that download, or give no examples, are not loaded."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import cast

import numpy as np

from backproof.conformance.harness import Check, Checks
from backproof.contracts import Dataset, DatasetLoader
from backproof.contracts.errors import ConformanceError, require
from backproof.data import validation

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


def _declare(rule: Callable[[Dataset], None]) -> Check:
    """Declare a rule that is also applied before every run."""

    @functools.wraps(rule)
    def check(dataset: Dataset) -> None:
        try:
            rule(dataset)
        except ValueError as error:
            raise ConformanceError(str(error)) from None

    return CHECKS.add_for(_loaded, named=False)(check)


check_shapes = _declare(validation.check_shapes)
check_dtypes = _declare(validation.check_dtypes)
check_finite = _declare(validation.check_finite)
check_targets = _declare(validation.check_targets)


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
        repeated = {name for name in names if names.count(name) > 1}
        require(not repeated, f"{field} must be different, these are repeated: {', '.join(sorted(repeated))}")


@CHECKS.add
def check_repeatable(loader: DatasetLoader) -> None:
    """Loading twice gives the same numbers."""
    for first, second in zip(_loaded(loader), _load(loader), strict=True):
        for letter in ("X", "y"):
            same = np.array_equal(getattr(first, letter), getattr(second, letter))
            require(same, f"{letter} must be the same in every load(), but it differs")
