"""Training, validation and test parts of a dataset."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from typing import cast

import numpy as np

from backproof.contracts import CLASSIFICATION, REGRESSION, Array, Dataset, hyper
from backproof.contracts.errors import InvalidValue
from backproof.contracts.fields import check_fields
from backproof.data.scaling import MINMAX, NONE, STANDARD, Scaler
from backproof.data.validation import validate


@dataclass(frozen=True)
class DataOptions:
    """How a dataset is split and scaled."""

    test_size: float = hyper(0.2, "fraction of the samples held out for the final test; 0 for none", ge=0, lt=1)
    val_size: float = hyper(0.2, "fraction of all samples held out for validation; 0 for none", ge=0, lt=1)
    split_seed: int = hyper(0, "seed of the split, independent of the run's `seed`", ge=0, lt=2**32)
    stratify: bool = hyper(True, "in classification, give every part the same class proportions")
    scaling: str = hyper(
        STANDARD,
        "of features, fitted on the training part: mean 0 and variance 1, or minimum 0 and maximum 1",
        choices=(STANDARD, MINMAX, NONE),
    )
    target_scaling: str = hyper(
        STANDARD, "of the targets of a regression; results are in original units", choices=(STANDARD, NONE)
    )

    def __post_init__(self) -> None:
        check_fields(self)
        if self.test_size + self.val_size >= 1:
            expected = f"< {1 - self.test_size:g}, so that samples remain for training"
            raise InvalidValue("val_size", self.val_size, expected)


@dataclass(frozen=True)
class Part:
    """A part of a dataset: X (n, D) scaled, y as in `Dataset.y` (original units), and their row numbers."""

    X: Array
    y: Array
    indices: Array

    def __len__(self) -> int:
        return len(self.indices)


@dataclass(frozen=True)
class SplitData:
    """The parts of a dataset, their scaler, and the dataset's task and names."""

    train: Part
    val: Part | None
    test: Part | None
    scaler: Scaler
    task: str
    feature_names: tuple[str, ...]
    target_names: tuple[str, ...]

    @property
    def features(self) -> int:
        """The number of features, D."""
        return len(self.feature_names)

    @property
    def targets(self) -> int:
        """The number of classes, labels or real targets."""
        return len(self.target_names)

    @property
    def parts(self) -> dict[str, Part]:
        """The parts that exist, by name."""
        named = {"train": self.train, "val": self.val, "test": self.test}
        return {name: part for name, part in named.items() if part is not None}

    @property
    def sizes(self) -> dict[str, int]:
        """The number of samples of each part; 0 if it does not exist."""
        return {"train": len(self.train), "val": len(self.val or ()), "test": len(self.test or ())}

    @functools.cached_property
    def digest(self) -> str:
        """A hash of the data and of the split: sixteen hexadecimal digits."""
        digest = hashlib.sha256()
        for part in self.parts.values():
            for array in (part.indices, part.X, part.y):
                digest.update(array.tobytes())
        return digest.hexdigest()[:16]


def split(dataset: Dataset, options: DataOptions) -> SplitData:
    """Validate, split and scale a dataset. The split depends on `split_seed`, not on the run's seed.

    In classification with `stratify` every part has the class proportions of the whole. The scaler is fitted on
    the training part only. Raise ValueError, naming the class, if there are too few samples.
    """
    validate(dataset)
    N = len(dataset.X)
    n_test, n_val = (max(1, round(size * N)) if size else 0 for size in (options.test_size, options.val_size))
    if n_test + n_val >= N:
        raise ValueError(
            f"{N} samples cannot be split into {n_val} for validation, {n_test} for the test and some for "
            "training: lower test_size or val_size, or set one of them to 0"
        )
    strata = dataset.y if dataset.task == CLASSIFICATION and options.stratify else None
    names = dataset.target_names
    rest = np.arange(N)
    rest, test = _take_out(rest, n_test, "test", strata, names, options.split_seed)
    train, val = _take_out(rest, n_val, "val", strata, names, options.split_seed)
    real = dataset.y[train] if dataset.task == REGRESSION else None
    scaler = Scaler.fit(dataset.X[train], real, options.scaling, options.target_scaling)

    def part(rows: Array) -> Part:
        return Part(scaler.transform(dataset.X[rows]), dataset.y[rows], rows)

    return SplitData(
        train=part(train),
        val=part(val) if n_val else None,
        test=part(test) if n_test else None,
        scaler=scaler,
        task=dataset.task,
        feature_names=dataset.feature_names,
        target_names=names,
    )


def _take_out(
    rows: Array, count: int, part: str, strata: Array | None, names: tuple[str, ...], seed: int
) -> tuple[Array, Array]:
    """Return `count` rows drawn at random for a part, after the rows that remain."""
    if not count:
        return rows, rows[:0]
    from sklearn.model_selection import train_test_split  # pyright: ignore  (no types)

    classes = None if strata is None else strata[rows]
    if classes is not None:
        _require_stratifiable(classes, count, part, names)
    remaining, drawn = cast(
        "list[Array]", train_test_split(rows, test_size=count, random_state=seed, stratify=classes)
    )
    if strata is not None:
        missing = np.flatnonzero(np.bincount(strata[remaining], minlength=len(names)) == 0)
        if len(missing):
            raise ValueError(
                f"class {names[missing[0]]!r} has {np.count_nonzero(strata == missing[0])} samples, too few for "
                f"training in addition to the {part} part: lower {part}_size, add samples or set stratify=false"
            )
    return remaining, drawn


def _require_stratifiable(classes: Array, count: int, part: str, names: tuple[str, ...]) -> None:
    """Raise ValueError unless `count` of these samples can be taken with every class in both parts."""
    counts = np.bincount(classes, minlength=len(names))
    rare = int(np.argmin(counts))
    if counts[rare] < 2:
        raise ValueError(
            f"class {names[rare]!r} has {counts[rare]} samples left for training and the {part} part, but a "
            "stratified split needs one in each: add samples, lower test_size or val_size, or set "
            "stratify=false"
        )
    if count < len(names) or len(classes) - count < len(names):
        raise ValueError(
            f"{count} of {len(classes)} samples for the {part} part: a stratified split of {len(names)} classes "
            f"needs at least {len(names)} samples on either side: change {part}_size, or set stratify=false"
        )
