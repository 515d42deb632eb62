"""The conformance checks of optimizers, each with optimizers that fail it; and properties of the built-in ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
from backproof.conformance import optimizer as conformance
from backproof.conformance.harness import Check
from backproof.contracts import Array, Optimizer, as_dtype_of, hyper
from backproof.contracts.errors import ConformanceError
from backproof.discovery.registry import registry

REG = registry()

INSTANCES = [
    pytest.param(entry.cls(**params), check, id=f"{entry.name}-{params or 'defaults'}-{check.__name__}")
    for entry in REG.entries("optimizer")
    for params in entry.cls.examples()
    for check in conformance.CHECKS
]


@pytest.mark.parametrize(("optimizer", "check"), INSTANCES)
def test_conforms(optimizer: Optimizer, check: Check) -> None:
    check(optimizer)


# ------------------------------------------------------------------------------------- the built-in optimizers


def step(optimizer: Optimizer, theta: Array, grad: Array, state: tuple[Array, ...], t: int) -> None:
    optimizer.step(theta, grad.copy(), state, t, optimizer.lr, np.full_like(theta, np.nan))


def fresh(optimizer: Optimizer, theta: Array) -> tuple[Array, ...]:
    return tuple(np.full_like(theta, optimizer.initial(slot)) for slot in optimizer.slots)


@pytest.mark.parametrize("name", ["adam", "amsgrad", "nadam", "rmsprop"])
def test_the_scale_of_the_gradient_cancels(name: str) -> None:
    """θ moves in the same way for gradients a thousand times as large, if ε is scaled too."""
    rng = np.random.default_rng(0)
    grads = rng.standard_normal((20, 1, 5))
    ends = []
    for scale in (1.0, 1000.0):
        optimizer = REG.build("optimizer", name, {"eps": 1e-8 * scale})
        theta = np.zeros((1, 5))
        state = fresh(optimizer, theta)
        for t, grad in enumerate(grads, start=1):
            step(optimizer, theta, scale * grad, state, t)
        ends.append(theta)
    np.testing.assert_allclose(*ends, rtol=1e-12)


def test_the_first_step_of_adam_is_the_learning_rate() -> None:
    """m̂ / √v̂ is the sign of g after one step (Kingma & Ba 2015, section 2.1)."""
    theta, grad = np.zeros((1, 4)), np.array([[1e3, 1.0, -1.0, -1e3]])
    optimizer = REG.build("optimizer", "adam", {"lr": 0.1})
    step(optimizer, theta, grad, fresh(optimizer, theta), 1)
    np.testing.assert_allclose(theta, -0.1 * np.sign(grad), rtol=1e-7)


def test_sgd_on_a_quadratic_in_closed_form() -> None:
    """θ_t = (1 − lr c)^t θ_0 on c θ²/2."""
    c, start = np.linspace(0.1, 3, 6)[None], np.ones((1, 6))
    optimizer, theta = REG.build("optimizer", "sgd", {"lr": 0.2}), start.copy()
    for t in range(1, 31):
        step(optimizer, theta, c * theta, (), t)
    np.testing.assert_allclose(theta, (1 - 0.2 * c) ** 30, rtol=1e-12)


def test_momentum_amplifies_by_one_over_one_minus_mu() -> None:
    """With a constant gradient the steps grow to lr g / (1 − μ)."""
    optimizer, theta = REG.build("optimizer", "sgd", {"lr": 0.1, "momentum": 0.9}), np.zeros((1, 1))
    state, before = fresh(optimizer, theta), np.zeros((1, 1))
    for t in range(1, 400):
        before = theta.copy()
        step(optimizer, theta, np.ones((1, 1)), state, t)
    np.testing.assert_allclose(before - theta, 1.0, rtol=1e-10)


def test_sgd_without_momentum_has_no_state() -> None:
    assert REG.build("optimizer", "sgd").slots == ()
    assert REG.build("optimizer", "sgd", {"momentum": 0.9}).slots == ("velocity",)
    assert REG.build("optimizer", "sgd", {"momentum": np.array([[0.0], [0.9]])}).slots == ("velocity",)
    assert REG.build("optimizer", "rmsprop").slots == ("v",)
    assert REG.build("optimizer", "rmsprop", {"momentum": 0.9}).slots == ("v", "velocity")


@pytest.mark.parametrize("name", ["sgd", "rmsprop"])
def test_members_with_and_without_momentum_in_one_stack(name: str) -> None:
    momentum = np.array([[0.0], [0.9]])
    stacked, alone = REG.build("optimizer", name, {"momentum": momentum}), REG.build("optimizer", name)
    theta = np.random.default_rng(0).standard_normal((2, 8))
    theta_alone = theta[:1].copy()
    state, state_alone = fresh(stacked, theta), fresh(alone, theta_alone)
    for t in range(1, 20):
        step(stacked, theta, np.cos(theta), state, t)
        step(alone, theta_alone, np.cos(theta_alone), state_alone, t)
    np.testing.assert_array_equal(theta[:1], theta_alone)


@pytest.mark.parametrize("name", ["adamw", "lion"])
def test_decay_without_a_gradient(name: str) -> None:
    optimizer = REG.build("optimizer", name, {"lr": 0.1, "weight_decay": 0.5})
    theta = np.ones((1, 3))
    step(optimizer, theta, np.zeros((1, 3)), fresh(optimizer, theta), 1)
    np.testing.assert_allclose(theta, 1 - 0.1 * 0.5, rtol=1e-14)


@pytest.mark.parametrize("decay", [0.0, np.array([[0.0], [0.0]])])
def test_without_decay_adamw_is_adam(decay: Any) -> None:
    theta = np.random.default_rng(0).standard_normal((2, 8))
    other = theta.copy()
    adamw, adam = REG.build("optimizer", "adamw", {"weight_decay": decay}), REG.build("optimizer", "adam")
    state, other_state = fresh(adamw, theta), fresh(adam, theta)
    for t in range(1, 10):
        step(adamw, theta, theta**3, state, t)
        step(adam, other, other**3, other_state, t)
    np.testing.assert_array_equal(theta, other)


def test_amsgrad_keeps_the_largest_second_moment() -> None:
    """After one large gradient Adam's steps grow again; AMSGrad's do not."""
    last_steps = {}
    for name in ("adam", "amsgrad"):
        optimizer, theta = REG.build("optimizer", name, {"beta2": 0.5}), np.zeros((1, 1))
        state, before = fresh(optimizer, theta), 0.0
        for t in range(1, 200):
            before = theta[0, 0]
            step(optimizer, theta, np.full((1, 1), 1e3 if t == 1 else 1.0), state, t)
        last_steps[name] = before - theta[0, 0]
    assert last_steps["adam"] == pytest.approx(1e-3, rel=1e-6)
    assert last_steps["amsgrad"] < 1e-5


def test_lion_does_not_move_a_parameter_without_gradient() -> None:
    optimizer, theta = REG.build("optimizer", "lion"), np.ones((1, 3))
    step(optimizer, theta, np.array([[2.0, 0.0, -3.0]]), fresh(optimizer, theta), 1)
    np.testing.assert_allclose(theta, [[1 - 1e-4, 1, 1 + 1e-4]], rtol=1e-15)


@pytest.mark.parametrize("name", REG.names("optimizer"))
@pytest.mark.parametrize("lr", [0.0, -1.0, np.nan, np.array([[0.1], [0.0]])])
def test_the_learning_rate_must_be_positive(name: str, lr: Any) -> None:
    with pytest.raises(ValueError, match=r"optimizer\.lr must be (a finite number )?> 0"):
        REG.build("optimizer", name, {"lr": lr})


# --------------------------------------------------------------------------------------------------- planted errors


@dataclass(frozen=True)
class Right(Optimizer):
    """SGD with momentum. The optimizers below are this one with one mistake each."""

    slots: ClassVar[tuple[str, ...]] = ("v",)
    mu: float = hyper(0.5, "μ", ge=0, lt=1)

    def step(
        self, theta: Array, grad: Array, state: tuple[Array, ...], t: int, lr: float | Array, work: Array
    ) -> None:
        (v,) = state
        np.multiply(v, as_dtype_of(self.mu, v), v)
        np.add(v, grad, v)
        np.multiply(v, as_dtype_of(lr, v), work)
        np.subtract(theta, work, theta)


class SameNameTwice(Right):
    slots = ("v", "v")


class SlotsAreAList(Right):
    slots: ClassVar[Any] = ["v"]


class StartsWithNaN(Right):
    def initial(self, slot):
        return np.nan


class Ascends(Right):
    def step(self, theta, grad, state, t, lr, work):
        super().step(theta, -grad, state, t, lr, work)


class DoesNothing(Right):
    def step(self, theta, grad, state, t, lr, work):
        theta = theta - lr * grad


class CouplesMembers(Right):
    def step(self, theta, grad, state, t, lr, work):
        grad *= 1 + 1e-9 * np.abs(grad).max()
        super().step(theta, grad, state, t, lr, work)


class CouplesParameters(Right):
    def step(self, theta, grad, state, t, lr, work):
        grad *= 1 + 1e-9 * np.abs(grad).max(axis=-1, keepdims=True)
        super().step(theta, grad, state, t, lr, work)


class RequiresANumber(Right):
    def step(self, theta, grad, state, t, lr, work):
        super().step(theta, grad, state, t, float(lr), work)


class FirstRateForAll(Right):
    def step(self, theta, grad, state, t, lr, work):
        Right(mu=np.ravel(self.mu)[0].item()).step(theta, grad, state, t, lr, work)


class RoundsDifferently(Right):
    """Compute in float64 if the rates are arrays."""

    def step(self, theta, grad, state, t, lr, work):
        theta -= lr * grad


class IgnoresTheRate(Right):
    def step(self, theta, grad, state, t, lr, work):
        super().step(theta, grad, state, t, self.lr, work)


class IgnoresTheRateInPart(Right):
    def step(self, theta, grad, state, t, lr, work):
        super().step(theta, grad + 1e-9 * self.lr, state, t, lr, work)


class HalfPrecision(Right):
    def step(self, theta, grad, state, t, lr, work):
        super().step(theta, grad, state, t, lr, work)
        if theta.dtype == np.float32:
            theta[...] = theta.astype(np.float16)


class DividesByTheGradient(Right):
    def step(self, theta, grad, state, t, lr, work):
        with np.errstate(all="ignore"):
            super().step(theta, grad / np.abs(grad), state, t, lr, work)


class CountsFromZero(Right):
    """A bias correction that counts steps from 0."""

    def step(self, theta, grad, state, t, lr, work):
        super().step(theta, grad / (1 - self.mu ** (t - 1)), state, t, lr, work)


class Overflows(Right):
    def step(self, theta, grad, state, t, lr, work):
        grad /= np.sqrt(1 + np.abs(grad) ** 3)
        super().step(theta, grad, state, t, lr, work)


class Underflows(Right):
    def step(self, theta, grad, state, t, lr, work):
        scale = np.sqrt(grad * grad)
        grad /= np.where(grad == 0, 1, scale)
        super().step(theta, grad, state, t, lr, work)


HIDDEN: list[Array] = []


class HiddenState(Right):
    def step(self, theta, grad, state, t, lr, work):
        HIDDEN.append(1)
        super().step(theta, grad * (1 + 1e-9 * len(HIDDEN)), state, t, lr, work)


class ReadsWork(Right):
    def step(self, theta, grad, state, t, lr, work):
        super().step(theta, grad + 0 * work, state, t, lr, work)


class Allocates(Right):
    def step(self, theta, grad, state, t, lr, work):
        theta -= lr * grad


WRONG: list[tuple[type[Optimizer], str]] = [
    (SameNameTwice, "check_slots"),
    (SlotsAreAList, "check_slots"),
    (StartsWithNaN, "check_slots"),
    (Ascends, "check_descends"),
    (DoesNothing, "check_descends"),
    (CouplesMembers, "check_members"),
    (CouplesParameters, "check_blocks"),
    (RequiresANumber, "check_rates_of_a_stack"),
    (FirstRateForAll, "check_rates_of_a_stack"),
    (RoundsDifferently, "check_rates_of_a_stack"),
    (IgnoresTheRate, "check_rate"),
    (IgnoresTheRateInPart, "check_rate"),
    (HalfPrecision, "check_dtype"),
    (DividesByTheGradient, "check_zero_gradient"),
    (ReadsWork, "check_zero_gradient"),
    (CountsFromZero, "check_extremes"),
    (Overflows, "check_extremes"),
    (Underflows, "check_extremes"),
    (HiddenState, "check_state"),
    (Allocates, "check_memory"),
]


@pytest.mark.parametrize("check", conformance.CHECKS, ids=lambda check: check.__name__)
def test_a_correct_optimizer_passes(check: Check) -> None:
    check(Right())


@pytest.mark.parametrize(("wrong", "name"), WRONG, ids=lambda value: getattr(value, "__name__", value))
def test_a_wrong_optimizer_fails(wrong: type[Optimizer], name: str) -> None:
    with pytest.raises(ConformanceError):
        getattr(conformance, name)(wrong())


def test_every_check_has_an_optimizer_that_fails_it() -> None:
    assert {name for _, name in WRONG} == {check.__name__ for check in conformance.CHECKS}


@pytest.mark.parametrize("check", conformance.CHECKS, ids=lambda check: check.__name__)
def test_another_kind_is_rejected(check: Check) -> None:
    with pytest.raises(ConformanceError, match="expected an Optimizer, got ReLU"):
        check(REG.build("activation", "relu"))
