"""Losses, compared with scikit-learn, SciPy and closed forms."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from backproof.conformance import loss as conformance
from backproof.conformance.harness import Check
from backproof.contracts import CLASSIFICATION, MULTILABEL, REGRESSION, Array, Loss
from backproof.discovery.registry import registry
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import huber, log_expit, log_softmax, softmax
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import hinge_loss, log_loss, mean_absolute_error, mean_squared_error

from tests.helpers.fuzz import examples

N, K = 40, 4
RNG = np.random.default_rng(5)
Z = 3 * RNG.standard_normal((2, N, K))
CLASSES = RNG.permutation(np.arange(N) % K)
LABELS = RNG.integers(0, 2, (N, K))
REAL = RNG.standard_normal((N, K))


def build(name: str, **params: Any) -> Loss:
    return registry().build("loss", name, params)


def value(loss: Loss, z: Array, y: Array) -> Array:
    """Return the losses (R,) from logits (R, N, K) and targets as in the dataset."""
    return loss.value(z, loss.encode(y, z.shape[-1], np.float64)[None])


def gradient(loss: Loss, z: Array, y: Array) -> Array:
    encoded = loss.encode(y, z.shape[-1], np.float64)
    grad = np.full_like(z, np.nan)
    loss.gradient(z, np.broadcast_to(encoded, z.shape), grad)
    return grad


def link(loss: Loss, z: Array) -> Array:
    out = np.full_like(z, np.nan)
    loss.link(z, out)
    return out


# --------------------------------------------------------------------------------------------- conformance

INSTANCES = [
    pytest.param(entry.cls(**params), check, id=f"{entry.name}-{params or 'defaults'}-{check.__name__}")
    for entry in registry().entries("loss")
    for params in entry.cls.examples()
    for check in conformance.CHECKS
]


@pytest.mark.parametrize(("loss", "check"), INSTANCES)
def test_conforms(loss: Loss, check: Check) -> None:
    check(loss)


def test_examples_are_valid_and_differ() -> None:
    for entry in registry().entries("loss"):
        built = [entry.cls(**params) for params in entry.cls.examples()]
        assert len({dataclasses.astuple(loss) for loss in built}) == len(built)


def test_one_default_for_each_task() -> None:
    classes = [entry.cls for entry in registry().entries("loss")]
    for task in (CLASSIFICATION, MULTILABEL, REGRESSION):
        assert sum(task in cls.default_for for cls in classes) == 1, task  # type: ignore[attr-defined]


# ----------------------------------------------------------------------------------- softmax cross-entropy


def test_softmax_equals_log_loss_of_scikit_learn() -> None:
    loss = build("softmax_cross_entropy")
    probabilities = link(loss, Z)
    np.testing.assert_allclose(probabilities, softmax(Z, axis=-1), rtol=1e-14)
    np.testing.assert_allclose(
        value(loss, Z, CLASSES), [log_loss(CLASSES, p) for p in probabilities], rtol=1e-13
    )


def test_softmax_is_the_error_and_gradient_of_the_homework() -> None:
    """Err(y, z) = −Σ_k y_k z_k + log Σ_k exp(z_k), ∂Err/∂z_k = p_k − y_k, for one sample."""
    loss, z, y = build("softmax_cross_entropy"), np.array([[[0.3, -1.2, 2.0]]]), np.array([2])
    np.testing.assert_allclose(value(loss, z, y), -2.0 + np.log(np.exp(z).sum()), rtol=1e-15)
    expected = np.exp(z) / np.exp(z).sum() - [0, 0, 1]
    np.testing.assert_allclose(gradient(loss, z, y), expected, rtol=1e-14)


def test_softmax_accepts_probabilities_as_targets() -> None:
    loss, rows = build("softmax_cross_entropy"), softmax(REAL, axis=1)
    expected = -(rows * log_softmax(Z, axis=-1)).sum(-1).mean(-1)
    np.testing.assert_allclose(value(loss, Z, rows), expected, rtol=1e-13)
    np.testing.assert_array_equal(value(loss, Z, np.eye(K)[CLASSES]), value(loss, Z, CLASSES))


def test_label_smoothing_mixes_in_the_uniform_distribution() -> None:
    loss = build("softmax_cross_entropy", label_smoothing=0.2)
    smooth = 0.8 * np.eye(K)[CLASSES] + 0.2 / K
    np.testing.assert_allclose(
        value(loss, Z, CLASSES), -(smooth * log_softmax(Z, axis=-1)).sum(-1).mean(-1), rtol=1e-13
    )
    np.testing.assert_allclose(gradient(loss, Z, CLASSES), (softmax(Z, axis=-1) - smooth) / N, atol=1e-16)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_class_weights_are_sample_weights_and_the_mean_is_over_samples(smoothing: float) -> None:
    weights = (0.5, 2.0, 1.0, 3.0)
    loss = build("softmax_cross_entropy", class_weights=list(weights), label_smoothing=smoothing)
    of_sample = np.array(weights)[CLASSES]
    plain = build("softmax_cross_entropy", label_smoothing=smoothing)
    losses = [value(plain, Z[:, n : n + 1], CLASSES[n : n + 1]) for n in range(N)]
    np.testing.assert_allclose(value(loss, Z, CLASSES), of_sample @ np.array(losses) / N, rtol=1e-13)
    if not smoothing:
        # scikit-learn and PyTorch divide by the sum of the weights, backproof by N.
        theirs = [log_loss(CLASSES, p, sample_weight=of_sample) for p in softmax(Z, axis=-1)]
        np.testing.assert_allclose(value(loss, Z, CLASSES), np.array(theirs) * of_sample.sum() / N, rtol=1e-13)
    expected = of_sample[:, None] * gradient(plain, Z, CLASSES)
    np.testing.assert_allclose(gradient(loss, Z, CLASSES), expected, rtol=1e-12, atol=1e-16)


def test_gradient_vanishes_where_logistic_regression_has_its_minimum() -> None:
    """scikit-learn minimizes C Σ_n Err_n + ½ Σ W², which corresponds to λ = 1 / (C N)."""
    X, y = load_iris(return_X_y=True)
    X, C = X - X.mean(axis=0), 0.7
    model = LogisticRegression(C=C, tol=1e-10, max_iter=10_000).fit(X, y)
    z = (X @ model.coef_.T + model.intercept_)[None]
    grad = gradient(build("softmax_cross_entropy"), z, y)[0]
    np.testing.assert_allclose(grad.T @ X + model.coef_ / (C * len(X)), 0, atol=1e-7)
    np.testing.assert_allclose(grad.sum(axis=0), 0, atol=1e-7)


def test_softmax_is_exact_at_large_logits() -> None:
    loss, z = build("softmax_cross_entropy"), np.array([[[1e4, -1e4, 0.0]]])
    for y, expected in ((0, 0.0), (1, 2e4), (2, 1e4)):
        assert value(loss, z, np.array([y])) == expected
    np.testing.assert_array_equal(gradient(loss, z, np.array([1])), [[[1.0, -1.0, 0.0]]])


LOGITS = arrays(np.float64, (1, 3, 4), elements=st.floats(-1e4, 1e4))


@examples(60)
@given(z=LOGITS, shift=st.floats(-100, 100))
def test_softmax_properties(z: Array, shift: float) -> None:
    """It is never negative and does not change if all logits are shifted, so its gradient sums to zero."""
    loss, y = build("softmax_cross_entropy"), np.array([0, 1, 3])
    err = value(loss, z, y)
    assert err >= 0
    np.testing.assert_allclose(value(loss, z + shift, y), err, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(gradient(loss, z, y).sum(axis=-1), 0, atol=1e-15)


@pytest.mark.parametrize(
    ("name", "params", "y", "outputs", "message"),
    [
        ("softmax_cross_entropy", {}, [0, 1, 3], 3, "class indices must be 0 to 2, got 3"),
        ("softmax_cross_entropy", {}, [0, -1, 2], 3, "class indices must be 0 to 2, got -1"),
        ("softmax_cross_entropy", {}, [0.0, 0.5], 3, "got 0.5"),
        ("softmax_cross_entropy", {}, [0.0, np.nan], 3, "got nan"),
        ("softmax_cross_entropy", {}, [[0.5, 0.6]], 2, "that sum to 1"),
        ("softmax_cross_entropy", {}, [[1.5, -0.5]], 2, "that sum to 1"),
        ("softmax_cross_entropy", {}, [[1.0, 0.0]], 3, r"probabilities \(N, 3\)"),
        (
            "softmax_cross_entropy",
            {"class_weights": (1.0, 2.0)},
            [0, 1, 2],
            3,
            "class_weights must be 3 numbers",
        ),
        ("sigmoid_cross_entropy", {}, [0, 2], 1, "between 0 and 1, got 0 to 2"),
        ("sigmoid_cross_entropy", {}, [0.0, np.nan], 1, "between 0 and 1"),
        ("sigmoid_cross_entropy", {}, [[0, 1]], 3, r"must be \(N, 3\)"),
        ("hinge", {}, [0, 1, 3], 3, "class indices must be 0 to 2, got 3"),
        ("hinge", {}, [[0, 1]], 2, "class indices"),
        ("squared_error", {}, [[0.0, 1.0]], 3, r"must be \(N, 3\)"),
        ("absolute_error", {}, [0.0, 1.0], 1, r"must be \(N, 1\)"),
        ("huber", {}, [[0.0, 1.0]], 1, r"must be \(N, 1\)"),
    ],
)
def test_invalid_targets(name: str, params: dict[str, Any], y: Any, outputs: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(name, **params).encode(np.array(y), outputs, np.float64)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("softmax_cross_entropy", {"label_smoothing": 1.0}),
        ("softmax_cross_entropy", {"label_smoothing": -0.1}),
        ("softmax_cross_entropy", {"class_weights": (1.0, -1.0)}),
        ("sigmoid_cross_entropy", {"label_smoothing": np.nan}),
        ("huber", {"delta": 0.0}),
    ],
)
def test_hyperparameters_out_of_bounds(name: str, params: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(params))):
        build(name, **params)


# ----------------------------------------------------------------------------------- sigmoid cross-entropy


def test_sigmoid_of_two_classes_equals_log_loss_and_softmax_of_the_difference() -> None:
    loss, z, y = build("sigmoid_cross_entropy"), Z[..., :1], CLASSES % 2
    p = link(loss, z)
    np.testing.assert_allclose(value(loss, z, y), [log_loss(y, member[:, 0]) for member in p], rtol=1e-13)
    two = np.concatenate([np.zeros_like(z), z], axis=-1)
    np.testing.assert_allclose(value(loss, z, y), value(build("softmax_cross_entropy"), two, y), rtol=1e-13)
    np.testing.assert_allclose(
        gradient(loss, z, y)[..., 0], gradient(build("softmax_cross_entropy"), two, y)[..., 1], atol=1e-16
    )


def test_sigmoid_of_labels_is_a_sum_over_labels_and_a_mean_over_samples() -> None:
    loss = build("sigmoid_cross_entropy")
    expected = -(LABELS * log_expit(Z) + (1 - LABELS) * log_expit(-Z)).sum(axis=-1).mean(axis=-1)
    np.testing.assert_allclose(value(loss, Z, LABELS), expected, rtol=1e-13)


def test_sigmoid_label_smoothing() -> None:
    loss, smooth = build("sigmoid_cross_entropy", label_smoothing=0.2), 0.8 * LABELS + 0.1
    np.testing.assert_allclose(
        value(loss, Z, LABELS), value(build("sigmoid_cross_entropy"), Z, smooth), rtol=1e-13
    )


def test_sigmoid_outputs() -> None:
    loss = build("sigmoid_cross_entropy")
    assert loss.outputs(CLASSIFICATION, 2) == 1
    assert loss.outputs(MULTILABEL, 5) == 5
    with pytest.raises(ValueError, match="needs two classes, but the dataset has 3: use loss=softmax"):
        loss.outputs(CLASSIFICATION, 3)


# ---------------------------------------------------------------------------------------------- regression


def test_squared_and_absolute_error_equal_those_of_scikit_learn() -> None:
    squared = [0.5 * K * mean_squared_error(REAL, z) for z in Z]
    np.testing.assert_allclose(value(build("squared_error"), Z, REAL), squared, rtol=1e-13)
    absolute = [K * mean_absolute_error(REAL, z) for z in Z]
    np.testing.assert_allclose(value(build("absolute_error"), Z, REAL), absolute, rtol=1e-13)
    np.testing.assert_allclose(gradient(build("squared_error"), Z, REAL), (Z - REAL) / N, rtol=1e-13)
    np.testing.assert_array_equal(gradient(build("absolute_error"), Z, REAL), np.sign(Z - REAL) * (1 / N))


@pytest.mark.parametrize("delta", [0.1, 1.0, 2.5])
def test_huber_equals_that_of_scipy(delta: float) -> None:
    loss = build("huber", delta=delta)
    expected = huber(delta, Z - REAL).sum(axis=-1).mean(axis=-1)
    np.testing.assert_allclose(value(loss, Z, REAL), expected, rtol=1e-13)
    np.testing.assert_allclose(gradient(loss, Z, REAL), np.clip(Z - REAL, -delta, delta) / N, rtol=1e-13)


def test_huber_does_not_overflow_where_its_square_would() -> None:
    assert value(build("huber"), np.full((1, 1, 1), 1e200), np.zeros((1, 1))) == 1e200


def test_absolute_error_has_subgradient_zero_at_its_kink() -> None:
    assert (gradient(build("absolute_error"), REAL[None].copy(), REAL) == 0).all()


@pytest.mark.parametrize(
    "name", [n for n in registry().names("loss") if REGRESSION in registry().get("loss", n).tasks]
)  # type: ignore[attr-defined]
def test_values_are_used_unchanged(name: str) -> None:
    np.testing.assert_array_equal(link(build(name), Z), Z)


# --------------------------------------------------------------------------------------------------- hinge


def test_hinge_equals_that_of_scikit_learn() -> None:
    expected = [hinge_loss(CLASSES, z, labels=np.arange(K)) for z in Z]
    np.testing.assert_allclose(value(build("hinge"), Z, CLASSES), expected, rtol=1e-13)


def test_hinge_gradient_uses_the_first_class_of_a_tie() -> None:
    loss = build("hinge")
    np.testing.assert_array_equal(gradient(loss, np.zeros((1, 1, 4)), np.array([0])), [[[-1, 1, 0, 0]]])
    np.testing.assert_array_equal(gradient(loss, np.zeros((1, 1, 4)), np.array([2])), [[[1, 0, -1, 0]]])
    # A margin of exactly 1 ties with the true class itself.
    np.testing.assert_array_equal(gradient(loss, np.array([[[1.0, 0, 0]]]), np.array([0])), [[[0, 0, 0]]])


@examples(60)
@given(z=arrays(np.float64, (2, 5, 4), elements=st.integers(-2, 2).map(float)))
def test_hinge_gradient_with_many_ties_is_that_of_the_first_maximizer(z: Array) -> None:
    y = np.array([0, 1, 2, 3, 0])
    best = np.argmax(z + 1 - np.eye(4)[y], axis=-1)
    np.testing.assert_allclose(gradient(build("hinge"), z, y), (np.eye(4)[best] - np.eye(4)[y]) / 5, atol=1e-17)
