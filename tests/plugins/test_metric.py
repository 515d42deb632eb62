"""Metrics, compared with counts and other functions of scikit-learn; and their conformance checks."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
from backproof.conformance import metric as conformance
from backproof.conformance.harness import Check
from backproof.contracts import CLASSIFICATION, MULTILABEL, REGRESSION, Array, Metric
from backproof.contracts.errors import ConformanceError
from backproof.discovery.registry import registry
from backproof.experiment.experiment import default_metrics
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

REG = registry()
R, N = 3, 60


def value(name: str, prediction: Array, y: Array, **params: Any) -> Array:
    return REG.build("metric", name, params)(prediction, y)


def classes(K: int, seed: int = 0) -> tuple[Array, Array]:
    """Return probabilities (R, N, K) and targets (N,)."""
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.ones(K), (R, N)), rng.integers(0, K, N)


def labels(K: int, seed: int = 0) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    return rng.uniform(size=(R, N, K)), rng.integers(0, 2, (N, K))


def margins(K: int, seed: int = 0) -> tuple[Array, Array]:
    """Return scores, for two classes [-s, s] as from a binary loss."""
    rng = np.random.default_rng(seed)
    scores = rng.standard_normal((R, N, K))
    if K == 2:
        scores[..., 0] = -scores[..., 1]
    return scores, rng.integers(0, K, N)


INSTANCES = [
    pytest.param(entry.cls(**params), check, id=f"{entry.name}-{params or 'defaults'}-{check.__name__}")
    for entry in REG.entries("metric")
    for params in entry.cls.examples()
    for check in conformance.CHECKS
]


@pytest.mark.parametrize(("metric", "check"), INSTANCES)
def test_conforms(metric: Metric, check: Check) -> None:
    check(metric)


# ------------------------------------------------------------------------------------------------- oracles


@pytest.mark.parametrize("K", [2, 3, 7])
@pytest.mark.parametrize("make", [classes, margins])
class TestClassification:
    def test_accuracy(self, make: Any, K: int) -> None:
        prediction, y = make(K)
        expected = [sk.accuracy_score(y, member.argmax(-1)) for member in prediction]
        np.testing.assert_array_equal(value("accuracy", prediction, y), expected)

    def test_f1_macro_from_counts(self, make: Any, K: int) -> None:
        prediction, y = make(K)
        for member, f1 in zip(prediction.argmax(-1), value("f1_macro", prediction, y), strict=True):
            counts = sk.confusion_matrix(y, member, labels=np.arange(K))
            expected = np.mean(2 * counts.diagonal() / (counts.sum(0) + counts.sum(1)))
            assert f1 == pytest.approx(expected, rel=1e-12)

    def test_top_k_by_rank(self, make: Any, K: int) -> None:
        prediction, y = make(K)
        rank = (prediction > np.take_along_axis(prediction, y[None, :, None], -1)).sum(-1)
        for k in range(1, K):
            np.testing.assert_allclose(value("top_k", prediction, y, k=k), (rank < k).mean(-1), rtol=1e-12)

    def test_roc_auc_counts_pairs(self, make: Any, K: int) -> None:
        prediction, y = make(K)
        for member, area in zip(prediction, value("roc_auc", prediction, y), strict=True):
            areas_by_class = [
                (member[y == k, k][:, None] > member[y != k, k]).mean() for k in ([1] if K == 2 else range(K))
            ]
            assert area == pytest.approx(np.mean(areas_by_class), rel=1e-12)


@pytest.mark.parametrize("K", [3, 7])
def test_roc_auc_of_probabilities_is_one_against_the_rest(K: int) -> None:
    prediction, y = classes(K)
    expected = [sk.roc_auc_score(y, member, multi_class="ovr") for member in prediction]
    np.testing.assert_allclose(value("roc_auc", prediction, y), expected, rtol=1e-12)


@pytest.mark.parametrize("K", [2, 7])
def test_log_loss(K: int) -> None:
    prediction, y = classes(K)
    expected = -np.log(np.take_along_axis(prediction, y[None, :, None], -1)).mean((1, 2))
    np.testing.assert_allclose(value("log_loss", prediction, y), expected, rtol=1e-12)


def test_log_loss_of_certain_mistakes_has_a_limit() -> None:
    limit = -np.log(np.finfo(np.float64).eps)
    assert value("log_loss", np.array([[[1.0, 0.0]]]), np.array([1]))[0] == pytest.approx(limit)


@pytest.mark.parametrize("K", [1, 2, 5])
class TestLabels:
    def test_accuracy_is_of_all_labels(self, K: int) -> None:
        prediction, y = labels(K)
        expected = [
            np.mean([list(p) == list(t) for p, t in zip(member > 0.5, y, strict=True)]) for member in prediction
        ]
        np.testing.assert_array_equal(value("accuracy", prediction, y), expected)

    def test_f1_macro_is_the_mean_over_labels(self, K: int) -> None:
        prediction, y = labels(K)
        expected = [
            np.mean([sk.f1_score(y[:, k], member[:, k] > 0.5) for k in range(K)]) for member in prediction
        ]
        np.testing.assert_allclose(value("f1_macro", prediction, y), expected, rtol=1e-12)

    def test_roc_auc_is_the_mean_over_labels(self, K: int) -> None:
        prediction, y = labels(K)
        expected = [
            np.mean([sk.roc_auc_score(y[:, k], member[:, k]) for k in range(K)]) for member in prediction
        ]
        np.testing.assert_allclose(value("roc_auc", prediction, y), expected, rtol=1e-12)


@pytest.mark.parametrize("K", [1, 3])
def test_regression_by_formula(K: int) -> None:
    rng = np.random.default_rng(0)
    y = 5 + 3 * rng.standard_normal((N, K))
    prediction = y + rng.standard_normal((R, N, K))
    error = prediction - y
    np.testing.assert_allclose(value("mae", prediction, y), np.abs(error).mean((1, 2)), rtol=1e-12)
    np.testing.assert_allclose(value("rmse", prediction, y), np.sqrt((error**2).mean(1)).mean(1), rtol=1e-12)
    r2 = (1 - (error**2).sum(1) / ((y - y.mean(0)) ** 2).sum(0)).mean(1)
    np.testing.assert_allclose(value("r2", prediction, y), r2, rtol=1e-11)


@pytest.mark.slow
@given(st.floats(-1e3, 1e3), st.floats(0.1, 10))
def test_units_of_the_targets(shift: float, scale: float) -> None:
    """R² has no units; the errors have those of the targets."""
    rng = np.random.default_rng(0)
    y, prediction = rng.standard_normal((20, 2)), rng.standard_normal((1, 20, 2))
    for name, factor in (("r2", 1.0), ("mae", scale), ("rmse", scale)):
        other = value(name, scale * prediction + shift, scale * y + shift)
        np.testing.assert_allclose(other, factor * value(name, prediction, y), rtol=1e-8)


@pytest.mark.parametrize("low", [0.1, -0.9])
def test_top_1_of_two_classes_is_accuracy_for_any_range_of_scores(low: float) -> None:
    """scikit-learn uses the threshold one half for scores in [0, 1]."""
    scores = low + 0.8 * np.random.default_rng(0).uniform(size=(R, N, 1))
    prediction, y = np.concatenate([-scores, scores], -1), np.arange(N) % 2
    np.testing.assert_array_equal(value("top_k", prediction, y, k=1), value("accuracy", prediction, y))


@pytest.mark.parametrize(("K", "k"), [(2, 2), (3, 3), (3, 5)])
def test_top_k_needs_more_classes(K: int, k: int) -> None:
    with pytest.raises(ValueError, match=f"below the number of classes, {K}, got {k}"):
        value("top_k", *classes(K), k=k)


def test_roc_auc_is_nan_if_a_class_or_label_is_missing() -> None:
    prediction, y = classes(3)
    assert np.isnan(value("roc_auc", prediction, y % 2)).all()
    prediction, y = labels(3)
    for missing in (0, 1):
        y[:, 1] = missing
        assert np.isnan(value("roc_auc", prediction, y)).all()


def test_errors_too_large_to_square_are_infinite() -> None:
    y, prediction = np.zeros((4, 1)) + np.arange(4)[:, None], np.full((1, 4, 1), 1e200)
    assert value("rmse", prediction, y)[0] == np.inf
    assert value("r2", prediction, y)[0] == -np.inf
    assert value("mae", prediction, y)[0] == pytest.approx(1e200)


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        (CLASSIFICATION, {"accuracy"}),
        (MULTILABEL, {"accuracy", "f1_macro"}),
        (REGRESSION, {"r2", "rmse"}),
    ],
)
def test_defaults_of_each_task(task: str, expected: set[str]) -> None:
    losses = (REG.build("loss", name) for name in REG.names("loss"))
    loss = next(loss for loss in losses if task in loss.default_for)
    assert {metric.name for metric in default_metrics(REG, task, loss)} == expected


# --------------------------------------------------------------------------------------------------- planted errors


@dataclass(frozen=True)
class Right(Metric):
    """The fraction of right classes or labels, or minus the mean absolute error.

    The metrics below are this one with one mistake each.
    """

    tasks: ClassVar[tuple[str, ...]] = (CLASSIFICATION, MULTILABEL, REGRESSION)

    def __call__(self, prediction: Array, y: Array) -> Array:
        if y.dtype.kind == "f":
            return -np.array([np.minimum(np.abs(member - y), 1e100).mean() for member in prediction])
        if y.ndim == 1:
            return np.mean(prediction.argmax(-1) == y, axis=-1)
        return np.array([np.mean((member > 0.5) == y) for member in prediction])


class NoTask(Right):
    tasks = ()


class UnknownTask(Right):
    tasks = (CLASSIFICATION, "ranking")


class DefaultElsewhere(Right):
    tasks = (CLASSIFICATION,)
    default_for = (REGRESSION,)


class ReadsNothing(Right):
    reads = ("logits",)


class CannotReadItsTask(Right):
    reads = ("value",)


class OneNumber(Right):
    def __call__(self, prediction, y):
        return super().__call__(prediction, y).mean()


class MeanOfTheStack(Right):
    def __call__(self, prediction, y):
        values = super().__call__(prediction, y)
        return values + 1e-9 * values.mean()


class Counts(Right):
    def __call__(self, prediction, y):
        return np.arange(len(prediction))


class SpoilsPrediction(Right):
    def __call__(self, prediction, y):
        values = super().__call__(prediction, y)
        prediction += 1
        return values


class SpoilsTargets(Right):
    def __call__(self, prediction, y):
        values = super().__call__(prediction, y)
        y[0] = y[1]
        return values


class SmallerIsBetter(Right):
    greater_is_better = False


class Constant(Right):
    def __call__(self, prediction, y):
        return np.ones(len(prediction))


class LikesNoise(Right):
    """Wrong unless all labels are right or all are wrong."""

    def __call__(self, prediction, y):
        values = super().__call__(prediction, y)
        return np.where((values < 1) & (values > 0) | (values < 0) & (values > -1), 2, values)


class LooksAtTheFirst(Right):
    def __call__(self, prediction, y):
        return super().__call__(prediction, y) + 1e-6 * prediction[:, 0, 0]


class ReadsMemory(Right):
    def __call__(self, prediction, y):
        return super().__call__(prediction, y) * (2 if prediction.flags.c_contiguous else 1)


class InfiniteOfOneSample(Right):
    def __call__(self, prediction, y):
        return super().__call__(prediction, y) + (np.inf if len(y) == 1 else 0)


class WarnsOfOneClass(Right):
    def __call__(self, prediction, y):
        if len(np.unique(y)) == 1:
            warnings.warn("only one class", UserWarning, stacklevel=1)
        return super().__call__(prediction, y)


class Overflows(Right):
    def __call__(self, prediction, y):
        return super().__call__(prediction, y) - 1e-300 * np.mean(prediction**2, axis=(1, 2))


class NotANumber(Right):
    def __call__(self, prediction, y):
        return np.where(np.abs(prediction).max((1, 2)) > 1e99, np.nan, super().__call__(prediction, y))


WRONG: list[tuple[type[Metric], str]] = [
    (NoTask, "check_tasks"),
    (UnknownTask, "check_tasks"),
    (DefaultElsewhere, "check_tasks"),
    (ReadsNothing, "check_tasks"),
    (CannotReadItsTask, "check_tasks"),
    (OneNumber, "check_members"),
    (MeanOfTheStack, "check_members"),
    (Counts, "check_members"),
    (SpoilsPrediction, "check_members"),
    (SpoilsTargets, "check_members"),
    (SmallerIsBetter, "check_direction"),
    (Constant, "check_direction"),
    (LikesNoise, "check_direction"),
    (LooksAtTheFirst, "check_order"),
    (ReadsMemory, "check_order"),
    (InfiniteOfOneSample, "check_small"),
    (WarnsOfOneClass, "check_small"),
    (Overflows, "check_large"),
    (NotANumber, "check_large"),
]


@pytest.mark.parametrize("check", conformance.CHECKS, ids=lambda check: check.__name__)
def test_the_right_one_passes(check: Check) -> None:
    check(Right())


@pytest.mark.parametrize(("wrong", "name"), WRONG, ids=lambda value: getattr(value, "__name__", value))
def test_a_wrong_one_fails(wrong: type[Metric], name: str) -> None:
    with pytest.raises(ConformanceError):
        getattr(conformance, name)(wrong())


def test_every_check_has_a_metric_that_fails_it() -> None:
    assert {name for _, name in WRONG} == {check.__name__ for check in conformance.CHECKS}


def test_few_classes_may_be_rejected() -> None:
    @dataclass(frozen=True)
    class ForThree(Right):
        def __call__(self, prediction: Array, y: Array) -> Array:
            if prediction.shape[-1] < 3:
                raise ValueError("needs three")
            return super().__call__(prediction, y)

    for check in conformance.CHECKS:
        check(ForThree())


@pytest.mark.parametrize("check", conformance.CHECKS, ids=lambda check: check.__name__)
def test_another_kind_is_rejected(check: Check) -> None:
    with pytest.raises(ConformanceError, match="expected a Metric, got ReLU"):
        check(REG.build("activation", "relu"))
