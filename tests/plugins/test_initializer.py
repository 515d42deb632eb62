"""Initializers: their distributions, with fixed seeds, and their conformance checks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from backproof.conformance import initializer as conformance
from backproof.conformance.harness import Check
from backproof.contracts import Array, Initializer
from backproof.contracts.errors import ConformanceError
from backproof.discovery.registry import registry
from scipy import stats

#: (out, in), far from square, so that swapping inputs and outputs would show.
H, D = 150, 40


def build(name: str, **params: Any) -> Initializer:
    return registry().build("initializer", name, params)


def fill(initializer: Initializer, shape: tuple[int, int] = (H, D), seed: int = 0) -> Array:
    W = np.full(shape, np.nan)
    initializer.fill(W, np.random.default_rng(seed))
    return W


INSTANCES = [
    pytest.param(entry.cls(**params), check, id=f"{entry.name}-{params or 'defaults'}-{check.__name__}")
    for entry in registry().entries("initializer")
    for params in entry.cls.examples()
    for check in conformance.CHECKS
]


@pytest.mark.parametrize(("initializer", "check"), INSTANCES)
def test_conforms(initializer: Initializer, check: Check) -> None:
    check(initializer)


# ------------------------------------------------------------------------------------------- distributions

VARIANCES = {"he": 2 / D, "glorot": 2 / (D + H), "lecun": 1 / D}


@pytest.mark.parametrize("family", VARIANCES)
def test_normal_ones(family: str) -> None:
    W = fill(build(f"{family}_normal")).ravel()
    assert stats.kstest(W, stats.norm(0, VARIANCES[family] ** 0.5).cdf).pvalue > 0.01
    # Σ W² / σ² is chi-squared with one degree of freedom for each weight.
    low, high = stats.chi2(W.size).ppf([0.005, 0.995])
    assert low < (W**2).sum() / VARIANCES[family] < high


@pytest.mark.parametrize("family", VARIANCES)
def test_uniform_ones(family: str) -> None:
    W, limit = fill(build(f"{family}_uniform")).ravel(), (3 * VARIANCES[family]) ** 0.5
    assert np.abs(W).max() <= limit
    assert stats.kstest(W, stats.uniform(-limit, 2 * limit).cdf).pvalue > 0.01


def test_normal_has_its_scale() -> None:
    W = fill(build("normal", scale=0.3)).ravel()
    assert stats.kstest(W, stats.norm(0, 0.3).cdf).pvalue > 0.01


def test_zeros() -> None:
    assert not fill(build("zeros")).any()


def test_he_preserves_the_scale_of_signals_through_relu() -> None:
    """He et al. 2015, eq. 10: the second moment of pre-activations is the same in every layer."""
    rng, he, width = np.random.default_rng(0), build("he_normal"), 400
    a = rng.standard_normal((width, 200))
    before = (a**2).mean()
    for _ in range(10):
        W = np.empty((width, width))
        he.fill(W, rng)
        a = W @ np.maximum(a, 0)
    assert (a**2).mean() / before == pytest.approx(1, abs=0.25)


# ---------------------------------------------------------------------------------------------- orthogonal


@pytest.mark.parametrize("gain", [1.0, 2**0.5])
@pytest.mark.parametrize("shape", [(5, 5), (3, 8), (8, 3), (1, 4), (4, 1), (1, 1)])
def test_orthogonal_rows_or_columns(shape: tuple[int, int], gain: float) -> None:
    W = fill(build("orthogonal", gain=gain), shape)
    product = W @ W.T if shape[0] <= shape[1] else W.T @ W
    np.testing.assert_allclose(product, gain**2 * np.eye(min(shape)), atol=1e-14)


@pytest.mark.parametrize("shape", [(3, 3), (2, 3), (3, 2)])
def test_orthogonal_is_uniform(shape: tuple[int, int]) -> None:
    """In three dimensions each entry of a uniform direction is uniform in [−1, 1] (Archimedes).

    QR without correction of the signs has diagonal entries of one sign.
    """
    orthogonal, rng = build("orthogonal"), np.random.default_rng(1)
    W = np.empty((2000, *shape))
    for matrix in W:
        orthogonal.fill(matrix, rng)
    for i, j in np.ndindex(shape):
        assert stats.kstest(W[:, i, j], stats.uniform(-1, 2).cdf).pvalue > 0.001, (i, j)
    if shape == (3, 3):
        turns = np.count_nonzero(np.linalg.det(W) > 0)
        assert stats.binomtest(turns, len(W)).pvalue > 0.01


@pytest.mark.parametrize(("name", "params"), [("normal", {"scale": 0.0}), ("orthogonal", {"gain": -1.0})])
def test_hyperparameters_out_of_bounds(name: str, params: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(params))):
        build(name, **params)


# --------------------------------------------------------------------------------------------------- planted errors


@dataclass(frozen=True)
class Right(Initializer):
    """A correct initializer. Those below are this one with one mistake each."""

    def fill(self, W: Array, rng: np.random.Generator) -> None:
        W[...] = rng.standard_normal(W.shape)


@dataclass(frozen=True)
class RightConstant(Initializer):
    def fill(self, W: Array, rng: np.random.Generator) -> None:
        W[...] = 0.5


class FillsACopy(Right):
    def fill(self, W, rng):
        W.reshape(-1)[...] = rng.standard_normal(W.size)


class WritesOutside(Right):
    def fill(self, W, rng):
        super().fill(W, rng)
        if W.base is not None:
            W.base[...] = 0


class DividesByZero(Right):
    def fill(self, W, rng):
        super().fill(W, rng)
        if 1 in W.shape:
            W[...] = np.inf


class OwnGenerator(Right):
    def fill(self, W, rng):
        super().fill(W, np.random.default_rng())


class GlobalState(Right):
    def fill(self, W, rng):
        np.random.standard_normal(3)
        super().fill(W, rng)


class DrawsInItsDtype(Right):
    def fill(self, W, rng):
        W[...] = rng.standard_normal(W.shape, dtype=W.dtype.type)


class ByMemory(Right):
    def fill(self, W, rng):
        draws = rng.standard_normal(W.shape)
        W[...] = draws if not W.flags.f_contiguous else draws[::-1, ::-1]


class FixedSeed(Right):
    def fill(self, W, rng):
        super().fill(W, np.random.default_rng(1))


class ForksTheGenerator(Right):
    """Draw the same weights for every layer of a member."""

    def fill(self, W, rng):
        super().fill(W, np.random.default_rng(rng.bit_generator.seed_seq.entropy))


WRONG: list[tuple[type[Initializer], str]] = [
    (FillsACopy, "check_fills"),
    (WritesOutside, "check_fills"),
    (DividesByZero, "check_fills"),
    (OwnGenerator, "check_repeatable"),
    (GlobalState, "check_repeatable"),
    (DrawsInItsDtype, "check_float64_draws"),
    (ByMemory, "check_layout"),
    (FixedSeed, "check_differs"),
    (ForksTheGenerator, "check_differs"),
]


@pytest.mark.parametrize("right", [Right(), RightConstant()], ids=lambda right: type(right).__name__)
@pytest.mark.parametrize("check", conformance.CHECKS, ids=lambda check: check.__name__)
def test_a_correct_initializer_passes(right: Initializer, check: Check) -> None:
    check(right)


@pytest.mark.parametrize(("wrong", "name"), WRONG, ids=lambda value: getattr(value, "__name__", value))
def test_a_wrong_initializer_fails(wrong: type[Initializer], name: str) -> None:
    with pytest.raises(ConformanceError):
        getattr(conformance, name)(wrong())


def test_every_check_has_an_initializer_that_fails_it() -> None:
    assert {name for _, name in WRONG} == {check.__name__ for check in conformance.CHECKS}


@pytest.mark.parametrize("check", conformance.CHECKS, ids=lambda check: check.__name__)
def test_another_kind_is_rejected(check: Check) -> None:
    with pytest.raises(ConformanceError, match="expected an Initializer, got ReLU"):
        check(registry().build("activation", "relu"))
