"""Schedules: their first, largest and last factors, for any number of steps."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from backproof.conformance import schedule as conformance
from backproof.conformance.harness import Check
from backproof.contracts import Schedule
from backproof.contracts.errors import ConformanceError
from backproof.discovery.registry import registry
from hypothesis import given
from hypothesis import strategies as st

REG = registry()


def factors(name: str, total: int, **params: Any) -> list[float]:
    schedule = REG.build("schedule", name, params)
    return [schedule.factor(t, total) for t in range(total)]


INSTANCES = [
    pytest.param(entry.cls(**params), check, id=f"{entry.name}-{params or 'defaults'}-{check.__name__}")
    for entry in REG.entries("schedule")
    for params in entry.cls.examples()
    for check in conformance.CHECKS
]


@pytest.mark.parametrize(("schedule", "check"), INSTANCES)
def test_conforms(schedule: Schedule, check: Check) -> None:
    check(schedule)


@pytest.mark.parametrize("total", [2, 7, 100, 1001])
@pytest.mark.parametrize("name", ["cosine", "exponential", "step", "warmup_cosine", "one_cycle"])
def test_factors_fall_after_the_largest(name: str, total: int) -> None:
    values = factors(name, total)
    top = int(np.argmax(values))
    assert (np.diff(values[: top + 1]) >= 0).all()
    assert (np.diff(values[top:]) <= 0).all()
    assert top == 0 or name in ("warmup_cosine", "one_cycle")


@pytest.mark.parametrize("final", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("name", ["cosine", "exponential", "warmup_cosine"])
def test_the_final_factor_is_approached_from_above(name: str, final: float) -> None:
    last = factors(name, 1000, final=final)[-1]
    assert final <= last < final + 0.003


def test_a_final_factor_of_zero_is_not_reached() -> None:
    """The last step still changes the parameters."""
    assert 0 < factors("cosine", 100)[-1] < 1e-3
    assert 0 < factors("warmup_cosine", 100)[-1] < 1e-3


def test_exponential_has_a_constant_ratio() -> None:
    values = np.array(factors("exponential", 50, final=1e-3))
    np.testing.assert_allclose(values[1:] / values[:-1], 1e-3 ** (1 / 50), rtol=1e-12)


@given(st.integers(1, 99))
def test_the_factor_falls_at_the_exact_step(percent: int) -> None:
    """0.28 * 100 exceeds 28: the factor must not fall one step late."""
    values = factors("step", 100, at=(percent / 100,), gamma=0.5)
    assert values == [1.0] * percent + [0.5] * (100 - percent)


def test_points_in_any_order_or_none() -> None:
    assert factors("step", 8, at=(0.75, 0.25), gamma=0.5) == [1.0] * 2 + [0.5] * 4 + [0.25] * 2
    assert factors("step", 8, at=()) == [1.0] * 8


@given(st.integers(1, 300), st.floats(0, 0.999))
def test_warm_up_is_linear_to_one(total: int, warmup: float) -> None:
    n = round(warmup * total)
    values = factors("warmup_cosine", total, warmup=warmup)
    np.testing.assert_allclose(values[:n], np.arange(1, n + 1) / max(n, 1), rtol=1e-15)
    assert values[n : n + 1] in ([], [1.0])


def test_without_warm_up_it_is_cosine() -> None:
    assert factors("warmup_cosine", 60, warmup=0.0, final=0.1) == factors("cosine", 60, final=0.1)


def test_one_cycle_at_its_start_peak_and_end() -> None:
    values = factors("one_cycle", 1000, rise=0.25, start=10, final=100)
    assert values[0] == pytest.approx(0.1)
    assert values[250] == 1
    assert values[125] == pytest.approx((0.1 + 1) / 2)
    assert values[625] == pytest.approx((1 + 0.001) / 2)
    assert 0.001 < values[-1] < 0.0011


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("step", {"at": (0.5, 1.0)}),
        ("step", {"at": (0.0,)}),
        ("step", {"gamma": 0.0}),
        ("exponential", {"final": 0.0}),
        ("cosine", {"final": 1.5}),
        ("warmup_cosine", {"warmup": 1.0}),
        ("one_cycle", {"rise": 0.0}),
        ("one_cycle", {"start": 0.5}),
        ("cosine", {"final": math.nan}),
    ],
)
def test_hyperparameters_out_of_bounds(name: str, params: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(params))):
        REG.build("schedule", name, params)


def test_a_numpy_number_is_rejected() -> None:
    """It would turn float32 arithmetic into float64."""
    broken: Any = type("Broken", (Schedule,), {"factor": lambda self, t, total: np.float64(1.0)})
    with pytest.raises(ConformanceError, match="must be a float, got float64"):
        conformance.check_factors(broken())


@pytest.mark.parametrize("check", conformance.CHECKS, ids=lambda check: check.__name__)
def test_another_kind_is_rejected(check: Check) -> None:
    with pytest.raises(ConformanceError, match="expected a Schedule, got ReLU"):
        check(REG.build("activation", "relu"))
