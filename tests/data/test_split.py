"""Options, validation, splitting and scaling, compared with scikit-learn."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from backproof.contracts import CLASSIFICATION, MULTILABEL, REGRESSION, Array, Dataset
from backproof.contracts.errors import InvalidValue
from backproof.data import DataOptions, Part, Scaler, split, validate
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from tests.helpers.fuzz import examples


def make(counts: tuple[int, ...] = (50, 30, 20), D: int = 4, seed: int = 0) -> Dataset:
    """Return a classification dataset with these numbers of samples per class, in random order."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    X = 10 * rng.standard_normal((len(y), D)) + y[:, None]
    names = tuple(f"class {c}" for c in range(len(counts)))
    return Dataset(X, y, CLASSIFICATION, tuple(f"x{d}" for d in range(D)), names)


def make_regression(N: int = 60, T: int = 2) -> Dataset:
    rng = np.random.default_rng(1)
    X, y = rng.standard_normal((N, 3)), 100 + 7 * rng.standard_normal((N, T))
    return Dataset(X, y, REGRESSION, ("a", "b", "c"), tuple(f"y{t}" for t in range(T)))


LABELS = dataclasses.replace(make((6, 6)), y=np.tile([[0, 1], [1, 1]], (6, 1)), task=MULTILABEL)


# ------------------------------------------------------------------------------------------------- options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"test_size": 1.0}, "test_size must be >= 0 and < 1, got 1.0"),
        ({"val_size": -0.1}, "val_size must be >= 0 and < 1, got -0.1"),
        ({"test_size": np.nan}, "test_size must be"),
        ({"split_seed": -1}, "split_seed must be >= 0"),
        ({"scaling": "robust"}, "scaling must be one of standard, minmax, none, got 'robust'"),
        ({"target_scaling": "minmax"}, "target_scaling must be one of standard, none, got 'minmax'"),
        (
            {"test_size": 0.5, "val_size": 0.5},
            r"val_size must be < 0.5, so that samples remain for training",
        ),
    ],
)
def test_options_out_of_bounds(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        DataOptions(**options)


def test_options_have_docs() -> None:
    assert all(field.metadata["doc"] for field in dataclasses.fields(DataOptions))


# ------------------------------------------------------------------------------------------------ validation


def test_valid_datasets_are_valid() -> None:
    for dataset in (make(), make_regression(), LABELS):
        validate(dataset)


@pytest.mark.parametrize(
    ("base", "change", "message"),
    [
        (
            make(),
            {"task": "ranking"},
            "task must be one of classification, multilabel, regression, got 'ranking'",
        ),
        (make(), {"X": np.zeros(100)}, r"X must be \(N, D\) with at least one feature, got shape \(100,\)"),
        (make(), {"X": np.zeros((100, 0))}, "at least one feature"),
        (make(), {"X": np.zeros((1, 4))}, "at least 2 samples, got 1"),
        (make(), {"X": np.zeros((100, 4), np.float32)}, "X must be float64, got float32"),
        (make(), {"feature_names": ("a",)}, "X has 4 columns but feature_names has 1"),
        (
            make(),
            {"y": np.zeros((100, 1), np.int64)},
            r"y must be \(100,\) class indices, .* got shape \(100, 1\)",
        ),
        (make(), {"y": make().y.astype(float)}, r"y must be int64, got float64: use y\.astype\(np\.int64\)"),
        (make(), {"y": make().y + 1}, r"y must hold class indices 0 to 2 \(3 names\), got 1 to 3"),
        (make(), {"target_names": ("a", "b", "c", "d")}, "class 'd' has 0 samples but needs at least two"),
        (make((4, 1)), {}, "class 'class 1' has 1 samples"),
        (make((4,)), {}, "classification needs two or more classes, got class 0"),
        (make_regression(), {"target_names": ("y0",)}, r"y must be \(60, 1\).*got shape \(60, 2\)"),
        (make_regression(), {"y": np.zeros((60, 2), int)}, "y must be float64"),
        (LABELS, {"y": 2 * LABELS.y}, "multilabel y must hold 0 and 1 only, got values from 0 to 2"),
    ],
)
def test_validation_names_what_is_wrong(base: Dataset, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        validate(dataclasses.replace(base, **change))


def test_validation_names_the_first_value_that_is_not_finite() -> None:
    bad = make()
    bad.X[7, 2] = np.nan
    bad.X[9, 1] = np.inf
    with pytest.raises(
        ValueError, match="X holds 2 values that are NaN or infinite, the first in row 7, column 'x2'"
    ):
        validate(bad)
    real = make_regression()
    real.y[3, 1] = -np.inf
    with pytest.raises(ValueError, match=r"y holds 1 values .* row 3, column 'y1'"):
        validate(real)


# ------------------------------------------------------------------------------------------------- splitting


def rows(part: Part | None) -> list[int]:
    return [] if part is None else part.indices.tolist()


@given(
    N=st.integers(2, 60),
    test_size=st.sampled_from([0.0, 0.05, 0.2, 0.5]),
    val_size=st.sampled_from([0.0, 0.1, 0.3]),
    seed=st.integers(0, 2**32 - 1),
)
@example(N=2, test_size=0.2, val_size=0.1, seed=0)  # One sample each for test and val: none remains.
@example(N=3, test_size=0.5, val_size=0.3, seed=0)  # round(1.5) = 2 for test, 1 for val: none remains.
@examples(60)
def test_parts_are_disjoint_and_complete(N: int, test_size: float, val_size: float, seed: int) -> None:
    options = DataOptions(test_size=test_size, val_size=val_size, split_seed=seed)
    held_out = sum(max(1, round(size * N)) for size in (test_size, val_size) if size)
    if held_out >= N:
        with pytest.raises(ValueError, match=f"{N} samples cannot be split"):
            split(make_regression(N), options)
        return
    data = split(make_regression(N), options)
    assert sorted(rows(data.train) + rows(data.val) + rows(data.test)) == list(range(N))
    assert len(data.train) >= 1
    for part, size in ((data.val, val_size), (data.test, test_size)):
        assert (part is None) == (size == 0)
        assert abs(len(rows(part)) - size * N) <= 1
    assert data.sizes == {"train": len(data.train), "val": len(rows(data.val)), "test": len(rows(data.test))}
    assert [*data.parts] == ["train"] + ["val"] * (val_size > 0) + ["test"] * (test_size > 0)


@pytest.mark.parametrize("seed", range(5))
def test_every_part_has_the_classes_in_proportion(seed: int) -> None:
    data = split(make((50, 30, 20)), DataOptions(split_seed=seed))
    for part, counts in ((data.train, [30, 18, 12]), (data.val, [10, 6, 4]), (data.test, [10, 6, 4])):
        assert part is not None
        assert np.bincount(part.y).tolist() == counts


def test_the_split_is_that_of_scikit_learn() -> None:
    dataset = make((50, 30, 20))
    data = split(dataset, DataOptions(split_seed=3))
    rest, test = train_test_split(np.arange(100), test_size=20, random_state=3, stratify=dataset.y)
    train, val = train_test_split(rest, test_size=20, random_state=3, stratify=dataset.y[rest])
    assert [rows(data.train), rows(data.val), rows(data.test)] == [train.tolist(), val.tolist(), test.tolist()]


def test_the_split_depends_only_on_its_own_seed() -> None:
    np.random.seed(1)
    first = split(make(), DataOptions(split_seed=5))
    np.random.seed(2)
    again, other = split(make(), DataOptions(split_seed=5)), split(make(), DataOptions(split_seed=6))
    assert rows(first.train) == rows(again.train)
    np.testing.assert_array_equal(first.train.X, again.train.X)
    assert rows(first.train) != rows(other.train)


def test_names_and_targets_are_those_of_the_dataset() -> None:
    for dataset in (make(), make_regression(), LABELS):
        data = split(dataset, DataOptions())
        assert (data.task, data.feature_names, data.target_names) == (
            dataset.task,
            dataset.feature_names,
            dataset.target_names,
        )
        assert (data.features, data.targets) == (dataset.X.shape[1], dataset.targets)
        for part in data.parts.values():
            np.testing.assert_array_equal(part.y, dataset.y[part.indices])
            assert part.X.dtype == np.float64
            np.testing.assert_allclose(data.scaler.inverse(part.X), dataset.X[part.indices], rtol=1e-12)


@pytest.mark.parametrize(
    ("counts", "options", "message"),
    [
        ((10, 2), {"test_size": 0.5}, "class 'class 1' has 1 samples left for training and the val part"),
        ((20, 2), {"test_size": 0.9, "val_size": 0}, "class 'class 1' has 2 samples, too few for training"),
        (
            (4, 4, 4),
            {"test_size": 0.1},
            "1 of 12 samples for the test part: a stratified split of 3 classes needs at least 3",
        ),
        (
            (4, 4, 4),
            {"test_size": 0.25, "val_size": 0.7},
            "cannot be|for the val part: a stratified split of 3 classes needs at least 3",
        ),
        ((2, 2), {"test_size": 0.5, "val_size": 0.4}, "4 samples cannot be split into 2 for validation, 2 for"),
    ],
)
def test_too_few_samples_names_the_class(
    counts: tuple[int, ...], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        split(make(counts), DataOptions(**options))


def test_an_unstratified_split_needs_fewer_samples() -> None:
    data = split(make((20, 2)), DataOptions(stratify=False))
    assert sum(data.sizes.values()) == 22


# --------------------------------------------------------------------------------------------------- scaling


@pytest.mark.parametrize(("scaling", "oracle"), [("standard", StandardScaler()), ("minmax", MinMaxScaler())])
def test_features_are_scaled_as_in_scikit_learn(scaling: str, oracle: Any) -> None:
    dataset = make()
    dataset.X[:, 1] *= 1e-9
    data = split(dataset, DataOptions(scaling=scaling))
    oracle.fit(dataset.X[data.train.indices])
    for part in data.parts.values():
        np.testing.assert_allclose(part.X, oracle.transform(dataset.X[part.indices]), rtol=1e-11, atol=1e-13)


def test_targets_of_a_regression_are_scaled_only_by_the_scaler() -> None:
    dataset = make_regression()
    scaler = split(dataset, DataOptions()).scaler
    train = dataset.y[split(dataset, DataOptions()).train.indices]
    scaled = StandardScaler().fit(train).transform(dataset.y)
    np.testing.assert_allclose(scaler.transform_y(dataset.y), scaled, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(scaler.inverse_y(scaler.transform_y(dataset.y)), dataset.y, rtol=1e-13)
    stack = np.broadcast_to(scaled, (3, *scaled.shape))
    np.testing.assert_allclose(scaler.inverse_y(stack)[2], dataset.y, rtol=1e-11)


def test_scaling_none_changes_nothing() -> None:
    dataset = make_regression()
    data = split(dataset, DataOptions(scaling="none", target_scaling="none"))
    np.testing.assert_array_equal(data.train.X, dataset.X[data.train.indices])
    np.testing.assert_array_equal(data.scaler.transform_y(dataset.y), dataset.y)


def test_classes_and_labels_have_no_target_scale() -> None:
    for dataset in (make(), LABELS):
        scaler = split(dataset, DataOptions()).scaler
        assert scaler.y_offset is None
        assert scaler.transform_y(dataset.y) is dataset.y is scaler.inverse_y(dataset.y)


@pytest.mark.parametrize("scaling", ["standard", "minmax"])
@pytest.mark.parametrize("value", [0.0, 0.1, -1e300, 1e-310, 123456.789])
def test_a_constant_column_becomes_zero(scaling: str, value: float) -> None:
    X = np.full((7, 2), value)
    X[:, 1] = np.arange(7)
    scaled = Scaler.fit(X, None, scaling, "none").transform(X)
    np.testing.assert_array_equal(scaled[:, 0], 0)
    assert np.ptp(scaled[:, 1]) > 0.9


def test_a_nearly_constant_column_is_not_amplified() -> None:
    X = np.array([[1.0], [1.0], [1.0 + 2**-52]])
    assert np.abs(Scaler.fit(X, None, "standard", "none").transform(X)).max() < 1e-15


def test_numbers_too_large_to_scale_are_an_error() -> None:
    X = np.array([[0.0, 1e308], [1.0, -1e308], [2.0, 1.7e308]])
    for scaling in ("standard", "minmax"):
        with pytest.raises(ValueError, match=r"values of feature 1 .* too large"):
            Scaler.fit(X, None, scaling, "none")
        with pytest.raises(ValueError, match=r"values of target 1 .* too large"):
            Scaler.fit(np.ones((3, 1)), X, scaling, "standard")


@given(
    arrays(np.float64, (8, 3), elements=st.floats(-1e6, 1e6)), st.sampled_from(["standard", "minmax", "none"])
)
@examples(60)
def test_inverse_undoes_transform(X: Array, scaling: str) -> None:
    scaler = Scaler.fit(X, None, scaling, "none")
    scaled = scaler.transform(X)
    assert np.isfinite(scaled).all()
    np.testing.assert_allclose(scaler.inverse(scaled), X, atol=1e-8)


@pytest.mark.parametrize("dataset", [make(), make_regression()])
def test_the_training_part_does_not_depend_on_the_others(dataset: Dataset) -> None:
    before = split(dataset, DataOptions())
    assert before.test is not None
    assert before.val is not None
    X, y = dataset.X.copy(), dataset.y.copy()
    held_out = np.concatenate([before.test.indices, before.val.indices])
    X[held_out] = 1e6
    if dataset.task == REGRESSION:
        y[held_out] = -1e6
    after = split(dataclasses.replace(dataset, X=X, y=y), DataOptions())
    np.testing.assert_array_equal(before.train.X, after.train.X)
    np.testing.assert_array_equal(before.train.indices, after.train.indices)
    for field in dataclasses.fields(Scaler):
        np.testing.assert_array_equal(getattr(before.scaler, field.name), getattr(after.scaler, field.name))
