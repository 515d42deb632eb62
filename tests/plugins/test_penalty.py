"""Penalties, compared with closed forms and scikit-learn's minima; and their conformance checks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
from backproof.conformance import penalty as conformance
from backproof.conformance.harness import Check
from backproof.contracts import Array, Penalty, hyper
from backproof.contracts.errors import ConformanceError
from backproof.discovery.registry import registry
from sklearn.linear_model import ElasticNet, Lasso, Ridge

RNG = np.random.default_rng(2)
THETA = RNG.standard_normal((3, 10))
MASK = (np.arange(10) % 4 != 0).astype(float)


def build(name: str, **params: Any) -> Penalty:
    return registry().build("penalty", name, params)


def gradient(penalty: Penalty, theta: Array, mask: Array) -> Array:
    grad = np.zeros_like(theta)
    penalty.gradient(theta, mask, grad, np.full_like(theta, np.nan))
    return grad


INSTANCES = [
    pytest.param(entry.cls(**params), check, id=f"{entry.name}-{params or 'defaults'}-{check.__name__}")
    for entry in registry().entries("penalty")
    for params in entry.cls.examples()
    for check in conformance.CHECKS
]


@pytest.mark.parametrize(("penalty", "check"), INSTANCES)
def test_conforms(penalty: Penalty, check: Check) -> None:
    check(penalty)


# ------------------------------------------------------------------------------------------------- oracles


def test_closed_forms() -> None:
    penalized = THETA[:, MASK == 1]
    np.testing.assert_allclose(
        build("l2", strength=0.3).value(THETA, MASK), 0.15 * (penalized**2).sum(1), rtol=1e-14
    )
    np.testing.assert_allclose(
        build("l1", strength=0.3).value(THETA, MASK), 0.3 * np.abs(penalized).sum(1), rtol=1e-14
    )
    expected = 0.3 * (0.2 * np.abs(penalized) + 0.8 / 2 * penalized**2).sum(1)
    net = build("elastic_net", strength=0.3, l1_ratio=0.2)
    np.testing.assert_allclose(net.value(THETA, MASK), expected, rtol=1e-14)
    np.testing.assert_allclose(gradient(build("l2", strength=0.3), THETA, MASK), 0.3 * THETA * MASK, rtol=1e-15)
    np.testing.assert_allclose(gradient(build("l1", strength=0.3), THETA, MASK), 0.3 * np.sign(THETA) * MASK)
    expected = 0.3 * (0.2 * np.sign(THETA) + 0.8 * THETA) * MASK
    np.testing.assert_allclose(gradient(net, THETA, MASK), expected, rtol=1e-14)


@pytest.mark.parametrize(("ratio", "name"), [(0.0, "l2"), (1.0, "l1")])
def test_elastic_net_has_l1_and_l2_as_limits(ratio: float, name: str) -> None:
    net, other = build("elastic_net", strength=0.3, l1_ratio=ratio), build(name, strength=0.3)
    np.testing.assert_allclose(net.value(THETA, MASK), other.value(THETA, MASK), rtol=1e-15)
    np.testing.assert_array_equal(gradient(net, THETA, MASK), gradient(other, THETA, MASK))


N = 60
X = RNG.standard_normal((N, 10))
Y = X @ (RNG.standard_normal(10) * (np.arange(10) < 4)) + 0.1 * RNG.standard_normal(N)


@pytest.mark.parametrize(
    ("penalty", "model"),
    [
        (build("l2", strength=0.4), Ridge(alpha=0.4 * N, fit_intercept=False)),
        (build("l1", strength=0.1), Lasso(alpha=0.1, fit_intercept=False, tol=1e-12)),
        (
            build("elastic_net", strength=0.2, l1_ratio=0.6),
            ElasticNet(alpha=0.2, l1_ratio=0.6, fit_intercept=False, tol=1e-12),
        ),
    ],
    ids=["ridge", "lasso", "elastic_net"],
)
def test_the_minimum_is_that_of_scikit_learn(penalty: Penalty, model: Any) -> None:
    """The gradient of ½ mean of squares + Ω is zero at scikit-learn's solution.

    At θ_j = 0 it is no larger than the jump of Ω's.
    """
    theta = model.fit(X, Y).coef_[None]
    data = (theta @ X.T - Y) @ X / N
    total = data + gradient(penalty, theta, np.ones(10))
    at_zero = theta == 0
    np.testing.assert_allclose(total[~at_zero], 0, atol=1e-6)
    jump = gradient(penalty, np.full((1, 10), 1e-30), np.ones(10))
    assert (np.abs(data[at_zero]) <= jump[at_zero]).all()
    assert at_zero.any() == (type(model) is not Ridge)


def test_none_is_zero_and_changes_nothing() -> None:
    nothing: Any = None
    build("none").gradient(nothing, nothing, nothing, nothing)
    np.testing.assert_array_equal(build("none").value(THETA, MASK), np.zeros(3))


@pytest.mark.parametrize("name", ["l1", "elastic_net"])
def test_subgradient_at_zero_is_zero(name: str) -> None:
    assert not gradient(build(name, strength=1.0), np.zeros((2, 10)), MASK).any()


def test_strength_per_member() -> None:
    strength = np.array([[0.0], [0.1], [2.0]])
    expected = strength[:, 0] / 2 * (THETA**2 * MASK).sum(1)
    np.testing.assert_allclose(build("l2", strength=strength).value(THETA, MASK), expected, rtol=1e-14)
    np.testing.assert_allclose(gradient(build("l2", strength=strength), THETA, MASK), strength * THETA * MASK)


@pytest.mark.parametrize("name", registry().names("penalty"))
def test_biases_are_not_penalized_by_default(name: str) -> None:
    assert not build(name).biases
    assert build(name, biases=True).biases


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("l1", {"strength": -1e-4}),
        ("l2", {"strength": np.nan}),
        ("l2", {"strength": np.array([[0.1], [-0.1]])}),
        ("elastic_net", {"l1_ratio": 1.1}),
    ],
)
def test_hyperparameters_out_of_bounds(name: str, params: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(params))):
        build(name, **params)


# --------------------------------------------------------------------------------------------------- planted errors


@dataclass(frozen=True)
class Right(Penalty):
    """λ/4 Σ θ⁴. The penalties below are this one with one mistake each."""

    strength: float = hyper(0.5, "λ", ge=0)

    def value(self, theta: Array, mask: Array) -> Array:
        strength = self.strength
        if isinstance(strength, np.ndarray):
            strength = strength[:, 0].astype(theta.dtype)
        return 0.25 * strength * (theta**4 * mask).sum(axis=-1)

    def gradient(self, theta: Array, mask: Array, grad: Array, work: Array) -> None:
        strength = self.strength
        if isinstance(strength, np.ndarray):
            strength = strength.astype(theta.dtype)
        np.multiply(theta, theta, work)
        np.multiply(work, theta, work)
        np.multiply(work, mask, work)
        np.multiply(work, strength, work)
        np.add(grad, work, grad)


@dataclass(frozen=True)
class RightByDifferences(Right):
    complex_step: ClassVar[bool] = False

    def value(self, theta: Array, mask: Array) -> Array:
        assert theta.dtype.kind == "f"
        return Right.value(self, theta, mask)


class OneNumber(Right):
    def value(self, theta, mask):
        return super().value(theta, mask).sum()


class ClaimsToBeNull(Right):
    null = True


class OverwritesTheta(Right):
    def value(self, theta, mask):
        theta *= mask
        return super().value(theta, mask)


class OverwritesMask(Right):
    def gradient(self, theta, mask, grad, work):
        super().gradient(theta, mask, grad, work)
        mask[...] = 1


class OverwritesGrad(Right):
    def gradient(self, theta, mask, grad, work):
        grad[...] = 0
        super().gradient(theta, mask, grad, work)


class Inexact(Right):
    def gradient(self, theta, mask, grad, work):
        super().gradient(theta, mask, grad, work)
        grad += 1e-10 * work


class InexactByDifferences(RightByDifferences):
    def gradient(self, theta, mask, grad, work):
        super().gradient(theta, mask, grad, work)
        grad += 1e-5 * work


class ReadsWork(Right):
    def gradient(self, theta, mask, grad, work):
        grad += work
        super().gradient(theta, mask, grad, work)


class DifferentIfComplex(Right):
    def value(self, theta, mask):
        return super().value(theta, mask) * (1 if theta.dtype.kind == "c" else 2)


class OutsideTheKink(Right):
    def value(self, theta, mask):
        return self.strength * (theta * np.sign(np.real(theta)) * mask).sum(axis=-1)

    def gradient(self, theta, mask, grad, work):
        grad += self.strength * np.where(theta == 0, 2, np.sign(theta)) * mask


class ForgetsMask(Right):
    def gradient(self, theta, mask, grad, work):
        super().gradient(theta, np.ones_like(mask), grad, work)


class ForgetsMaskInValue(Right):
    def value(self, theta, mask):
        return super().value(theta, np.ones_like(mask))


class MeanOfTheBlock(Right):
    def gradient(self, theta, mask, grad, work):
        super().gradient(theta, mask, grad, work)
        grad += 1e-9 * theta.mean(axis=-1, keepdims=True)


class MeanOfTheStack(Right):
    def value(self, theta, mask):
        return super().value(theta, mask) / len(theta)


class RequiresANumber(Right):
    def value(self, theta, mask):
        return float(self.strength) * Right(strength=1.0).value(theta, mask)


class BroadcastsWrongly(Right):
    def value(self, theta, mask):
        return np.ravel(self.strength)[0] * Right(strength=1.0).value(theta, mask)


class RoundsDifferently(Right):
    """Compute in float64 if the hyperparameters are arrays, as happens if they are not cast."""

    def gradient(self, theta, mask, grad, work):
        grad += self.strength * (theta * theta * theta * mask)


class HalfPrecision(Right):
    def value(self, theta, mask):
        value = super().value(theta, mask)
        return value.astype(np.float16).astype(value.dtype) if value.dtype == np.float32 else value


class Allocates(Right):
    def gradient(self, theta, mask, grad, work):
        grad += 0.5 * theta**3 * mask


WRONG: list[tuple[type[Penalty], str]] = [
    (OneNumber, "check_value"),
    (ClaimsToBeNull, "check_value"),
    (OverwritesTheta, "check_untouched"),
    (OverwritesMask, "check_untouched"),
    (OverwritesGrad, "check_adds"),
    (ReadsWork, "check_adds"),
    (Inexact, "check_gradient"),
    (InexactByDifferences, "check_gradient"),
    (ForgetsMask, "check_gradient"),
    (DifferentIfComplex, "check_complex"),
    (OutsideTheKink, "check_kinks"),
    (ForgetsMask, "check_mask"),
    (ForgetsMaskInValue, "check_mask"),
    (MeanOfTheBlock, "check_blocks"),
    (MeanOfTheStack, "check_stack"),
    (RequiresANumber, "check_per_member"),
    (BroadcastsWrongly, "check_per_member"),
    (RoundsDifferently, "check_per_member"),
    (HalfPrecision, "check_float32"),
    (Allocates, "check_memory"),
]


@pytest.mark.parametrize("right", [Right(), RightByDifferences()], ids=lambda right: type(right).__name__)
@pytest.mark.parametrize("check", conformance.CHECKS, ids=lambda check: check.__name__)
def test_a_correct_penalty_passes(right: Penalty, check: Check) -> None:
    check(right)


@pytest.mark.parametrize(("wrong", "name"), WRONG, ids=lambda value: getattr(value, "__name__", value))
def test_a_wrong_penalty_fails(wrong: type[Penalty], name: str) -> None:
    with pytest.raises(ConformanceError):
        getattr(conformance, name)(wrong())


def test_every_check_has_a_penalty_that_fails_it() -> None:
    assert {name for _, name in WRONG} == {check.__name__ for check in conformance.CHECKS}


@pytest.mark.parametrize("check", conformance.CHECKS, ids=lambda check: check.__name__)
def test_another_kind_is_rejected(check: Check) -> None:
    with pytest.raises(ConformanceError, match="expected a Penalty, got ReLU"):
        check(registry().build("activation", "relu"))
