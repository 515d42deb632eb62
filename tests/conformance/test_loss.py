"""The conformance checks of losses: a correct loss passes all of them, and each check has losses that fail it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
from backproof.conformance import loss as conformance
from backproof.conformance.harness import Check
from backproof.contracts import CLASSIFICATION, MULTILABEL, REGRESSION, Array, Loss
from backproof.contracts.errors import ConformanceError
from backproof.discovery.registry import registry


@dataclass(frozen=True)
class Right(Loss):
    """Half the squared error, for two tasks. The losses below are this one with one mistake each."""

    tasks: ClassVar[tuple[str, ...]] = (CLASSIFICATION, REGRESSION)
    name: ClassVar[str] = "right"

    def encode(self, y: Array, K: int, dtype: Any) -> Array:
        if y.ndim == 1:
            rows = y[:, None] == np.arange(K)
            if not rows.any(axis=1).all():
                raise ValueError("no such class")
            return rows.astype(dtype)
        if y.shape[1] != K:
            raise ValueError("wrong number of columns")
        return y.astype(dtype)

    def value(self, z: Array, y: Array) -> Array:
        gap = z - y
        return 0.5 * (gap * gap).sum(axis=-1).mean(axis=-1)

    def gradient(self, z: Array, y: Array, grad: Array) -> None:
        np.subtract(z, y, grad)
        np.divide(grad, z.shape[1], grad)

    def link(self, z: Array, out: Array) -> None:
        np.copyto(out, z)


@dataclass(frozen=True)
class RightByDifferences(Right):
    complex_step: ClassVar[bool] = False

    def value(self, z: Array, y: Array) -> Array:
        assert z.dtype.kind == "f"
        return Right.value(self, z, y)


class UnknownTask(Right):
    default_for = (MULTILABEL,)


class UnknownPrediction(Right):
    prediction = "odds"


class EncodesInFloat64(Right):
    def encode(self, y, K, dtype):
        return super().encode(y, K, np.float64)


class CentresTargets(Right):
    def encode(self, y, K, dtype):
        rows = super().encode(y, K, np.float64)
        return (rows - rows.mean()).astype(dtype)


class AcceptsAnything(Right):
    def encode(self, y, K, dtype):
        return (y[:, None] == np.arange(K) if y.ndim == 1 else y[:, :K]).astype(dtype)


class OneNumber(Right):
    def value(self, z, y):
        return super().value(z, y).mean()


class OverwritesLogits(Right):
    def value(self, z, y):
        np.subtract(z, y, out=z)
        return 0.5 * (z * z).sum(axis=-1).mean(axis=-1)


class OverwritesTargets(Right):
    def gradient(self, z, y, grad):
        super().gradient(z, y, grad)
        if y.flags.writeable:
            y[...] = grad


class Inexact(Right):
    """The gradient has a relative error of 1e-9."""

    def gradient(self, z, y, grad):
        super().gradient(z, y, grad)
        grad *= 1 + 1e-9


class WithoutHalf(Right):
    def value(self, z, y):
        return 2 * super().value(z, y)


class WritesInPart(Right):
    def gradient(self, z, y, grad):
        right = np.empty_like(z)
        super().gradient(z, y, right)
        grad[:, :-1] = right[:, :-1]


class InexactByDifferences(RightByDifferences):
    def gradient(self, z, y, grad):
        super().gradient(z, y, grad)
        grad *= 1 + 1e-5


class DifferentIfComplex(Right):
    def value(self, z, y):
        return super().value(z, y) * (1 if z.dtype.kind == "c" else 3)


class OutsideTheKink(Right):
    """|z − y|, with the slope 2 at z = y, where those on the two sides are −1 and 1."""

    def value(self, z, y):
        gap = z - y
        return (gap * np.sign(np.real(gap))).sum(axis=-1).mean(axis=-1)

    def gradient(self, z, y, grad):
        np.subtract(z, y, grad)
        grad[...] = np.where(grad == 0, 2, np.sign(grad)) / z.shape[1]


class SumNotMean(Right):
    def value(self, z, y):
        return super().value(z, y) * z.shape[1]

    def gradient(self, z, y, grad):
        np.subtract(z, y, grad)


class GradientOfTheSum(Right):
    def gradient(self, z, y, grad):
        np.subtract(z, y, grad)


class MeanOverTheStack(Right):
    def gradient(self, z, y, grad):
        super().gradient(z, y, grad)
        grad /= len(z)


class ScaledByTheStack(Right):
    def value(self, z, y):
        return super().value(z, y) * (1 + 1e-12 * len(z))


class Unnormalized(Right):
    tasks = (CLASSIFICATION,)
    prediction = "probability"

    def link(self, z, out):
        np.divide(1, 1 + np.exp(-np.clip(z, -50, 50)), out)


class NotProbabilities(Right):
    prediction = "probability"


class LinkInPart(Right):
    def link(self, z, out):
        out[:, ::2] = z[:, ::2]


class Overflows(Right):
    """log Σ exp without subtracting the maximum."""

    tasks = (CLASSIFICATION,)

    def value(self, z, y):
        return (np.log(np.exp(z).sum(axis=-1)) - (y * z).sum(axis=-1)).mean(axis=-1)

    def gradient(self, z, y, grad):
        grad[...] = (np.exp(z) / np.exp(z).sum(axis=-1, keepdims=True) - y) / z.shape[1]


class HidesNaN(Right):
    def value(self, z, y):
        return np.nan_to_num(super().value(z, y))


class HidesInfinity(Right):
    def value(self, z, y):
        return super().value(np.clip(z, -1e5, 1e5) if z.dtype.kind == "f" else z, y)


class ValueInFloat64(Right):
    def value(self, z, y):
        return super().value(z, y).astype(np.result_type(z, np.float64))


class HalfPrecision(Right):
    def gradient(self, z, y, grad):
        super().gradient(z, y, grad)
        if z.dtype == np.float32:
            grad[...] = grad.astype(np.float16)


class Allocates(Right):
    def gradient(self, z, y, grad):
        grad[...] = (z - y) / z.shape[1]


class NoTargets(Right):
    def outputs(self, task, targets):
        raise ValueError("no outputs")


WRONG: list[tuple[type[Loss], str]] = [
    (UnknownTask, "check_declared"),
    (UnknownPrediction, "check_declared"),
    (EncodesInFloat64, "check_encode"),
    (CentresTargets, "check_encode"),
    (NoTargets, "check_encode"),
    (AcceptsAnything, "check_refuses"),
    (OneNumber, "check_value"),
    (OverwritesLogits, "check_untouched"),
    (OverwritesTargets, "check_untouched"),
    (Inexact, "check_gradient"),
    (InexactByDifferences, "check_gradient"),
    (WithoutHalf, "check_gradient"),
    (WritesInPart, "check_gradient"),
    (GradientOfTheSum, "check_gradient"),
    (DifferentIfComplex, "check_complex"),
    (OutsideTheKink, "check_kinks"),
    (SumNotMean, "check_mean"),
    (MeanOverTheStack, "check_stack"),
    (ScaledByTheStack, "check_stack"),
    (Unnormalized, "check_link"),
    (NotProbabilities, "check_link"),
    (LinkInPart, "check_link"),
    (Overflows, "check_large"),
    (HidesNaN, "check_not_finite"),
    (HidesInfinity, "check_not_finite"),
    (ValueInFloat64, "check_float32"),
    (HalfPrecision, "check_float32"),
    (Allocates, "check_memory"),
]


@pytest.mark.parametrize("right", [Right(), RightByDifferences()], ids=lambda right: type(right).__name__)
@pytest.mark.parametrize("check", conformance.CHECKS, ids=lambda check: check.__name__)
def test_a_correct_loss_passes(right: Loss, check: Check) -> None:
    check(right)


@pytest.mark.parametrize(("wrong", "name"), WRONG, ids=lambda value: getattr(value, "__name__", value))
def test_a_wrong_loss_fails(wrong: type[Loss], name: str) -> None:
    with pytest.raises(ConformanceError):
        getattr(conformance, name)(wrong())


def test_every_check_has_a_loss_that_fails_it() -> None:
    assert {name for _, name in WRONG} == {check.__name__ for check in conformance.CHECKS}


@pytest.mark.parametrize("check", conformance.CHECKS, ids=lambda check: check.__name__)
def test_another_kind_is_rejected(check: Check) -> None:
    with pytest.raises(ConformanceError, match="expected a Loss, got ReLU"):
        check(registry().build("activation", "relu"))


def test_the_worst_entry_of_a_wrong_gradient_is_named() -> None:
    with pytest.raises(ConformanceError, match=r"classification: .* at sample \d, output \d .*ratio 0\.5\)"):
        conformance.check_gradient(WithoutHalf())
