"""The checks of activations: φ and φ' agree, also at kinks, in every dtype and in a stack."""

from __future__ import annotations

import functools

import numpy as np

from backproof.conformance import numeric
from backproof.conformance.harness import Checks, require_finite, require_slopes, require_untouched
from backproof.contracts import Activation, Array
from backproof.contracts.errors import require
from backproof.experiment.stackable import DTYPES, require_members_alone

CHECKS = Checks(Activation)
#: Usual pre-activations, odd in number; none of them is a likely kink.
USUAL = np.linspace(-6.01, 6.02, 211)
#: Dense enough to contain every likely kink, and points between them.
GRID = np.linspace(-10, 10, 20_001)
LARGE = np.array([-1e4, -700.3, -90.1, -31.7, 31.9, 90.3, 700.9, 1e4])
#: The smallest jump of a slope that counts as a kink, as a fraction of the greatest slope.
JUMP = 1e-4


def value(activation: Activation, a: Array) -> Array:
    """Return φ(a) in a new array, NaN where `forward` writes nothing."""
    out = np.full_like(a, np.nan)
    activation.forward(a.copy(), out)
    return out


def slope(activation: Activation, a: Array) -> Array:
    """Return φ'(a) by `backward`."""
    return _backward(activation, a, value(activation, a), np.ones_like(a))


def _backward(activation: Activation, a: Array, h: Array, grad: Array) -> Array:
    # The work arrays hold NaN, so that reading them before writing shows.
    activation.backward(a.copy(), h, grad, (np.full_like(a, np.nan), np.full_like(a, np.nan)))
    return grad


def _results(activation: Activation, a: Array) -> dict[str, Array]:
    """Return φ(a), and φ'(a) unless a is complex, by their names."""
    results = {"φ": value(activation, a)}
    return results if a.dtype.kind == "c" else results | {"φ'": slope(activation, a)}


def _derivative(activation: Activation, a: Array) -> tuple[Array, Array]:
    """Return φ'(a) from φ alone, and its error; by central differences where φ has no complex form."""
    oracle = numeric.complex_step if activation.complex_step else numeric.central
    return oracle(lambda a: value(activation, a), a)


def _off_kinks(activation: Activation, a: Array) -> Array:
    """Return those of a that are no kinks; where differences are used, those that are far enough from one."""
    reach = 1e-10 if activation.complex_step else 2e-3
    near = np.zeros(a.shape, dtype=bool)
    for kink in activation.kinks:
        near |= np.abs(a - kink) < reach
    return a[~near]


def _large(activation: Activation) -> Array:
    """Return those of LARGE where φ must be finite: on a side where it does not grow exponentially."""
    with np.errstate(all="ignore"):
        below, above = np.abs(value(activation, np.array([-40.0, 40.0]))) > 1e12
    return LARGE[~np.where(LARGE < 0, below, above)]


def _steepest(activation: Activation) -> float:
    """Return the greatest slope of φ at usual numbers, the scale for errors of φ'."""
    return float(np.abs(_derivative(activation, USUAL)[0]).max())


def _dtypes(activation: Activation) -> tuple[type[np.inexact], ...]:
    return (*DTYPES, np.complex128) if activation.complex_step else DTYPES


@CHECKS.add
def check_derivative(activation: Activation) -> None:
    """Backward multiplies by the derivative of forward, at usual and at large numbers and next to kinks."""
    tolerance = 1e-12 if activation.complex_step else 1e-8
    large = _large(activation)
    beside = [kink + side for kink in activation.kinks for side in (-1e-6, -1e-9, 1e-9, 1e-6)]
    usual = _off_kinks(activation, np.concatenate([USUAL, GRID, beside]))
    # A large number at which φ is not finite is reported by check_large.
    for a in (usual, large[np.isfinite(value(activation, large))]):
        expected, errors = _derivative(activation, a)
        allowed = tolerance * (_steepest(activation) + np.abs(expected)) + errors
        require_slopes(slope(activation, a), expected, allowed, "φ", lambda j, a=a: f"φ'({a[j]:g})")


@CHECKS.add
def check_multiplies(activation: Activation) -> None:
    """Backward multiplies what is in `grad`, also a NaN or a zero, and writes nothing else into it."""
    weights = np.random.default_rng(0).standard_normal(USUAL.shape)
    weights[::7] = 0
    grad = _backward(activation, USUAL, value(activation, USUAL), weights.copy())
    expected = weights * slope(activation, USUAL)
    near = np.allclose(grad, expected, rtol=1e-12, atol=1e-15 * _steepest(activation))
    require(near, "backward must multiply `grad` by φ'(a) in place")
    grad = _backward(activation, USUAL, value(activation, USUAL), np.full_like(USUAL, np.nan))
    require(np.isnan(grad).all(), "backward must leave NaN in `grad` as NaN, also where φ' is 0")


@CHECKS.add
def check_inputs(activation: Activation) -> None:
    """`a` and `h` are left as they are."""
    for dtype in _dtypes(activation):
        a = USUAL.astype(dtype)
        h, grad, work = np.empty_like(a), np.ones_like(a), (np.empty_like(a), np.empty_like(a))
        require_untouched(f"forward in {a.dtype}", activation.forward, a, h, a=a)
        if a.dtype.kind != "c":  # backward is never given complex numbers
            require_untouched(f"backward in {a.dtype}", activation.backward, a, h, grad, work, a=a, h=h)


@CHECKS.add
def check_kinks(activation: Activation) -> None:
    """At a declared kink the slope jumps, and backward gives a subgradient; nowhere else does it jump."""
    size = JUMP * _steepest(activation)
    for kink in activation.kinks:
        _check_kink(activation, kink, size)
    torn = numeric.jumps(lambda a: value(activation, a), GRID, size)
    require(not len(torn), f"φ must be continuous, but it jumps or is NaN near {torn[:1]}")
    for point in numeric.jumps(lambda a: slope(activation, a), GRID, size):
        require(
            any(abs(point - kink) < 1e-6 for kink in activation.kinks),
            f"φ' jumps or is NaN near {point:.9g}, which is not among the declared kinks {activation.kinks}",
        )


def _check_kink(activation: Activation, kink: float, size: float) -> None:
    at = np.array([kink])
    left, right = (float(numeric.one_sided(lambda a: value(activation, a), at, h)[0]) for h in (-1e-4, 1e-4))
    require(
        abs(left - right) > size,
        f"{kink:g} is declared a kink, but the slope of φ is {left:g} before it and {right:g} after",
    )
    convention = float(slope(activation, at)[0])
    # The one-sided slopes are known to about 1e-8.
    require(
        min(left, right) - size / 100 <= convention <= max(left, right) + size / 100,
        f"φ'({kink:g}) = {convention:g} is not a subgradient: it must lie between {left:g} and {right:g}",
    )
    if activation.complex_step:
        branch = float(_derivative(activation, at)[0][0])
        require(
            abs(convention - branch) <= 1e-12 * max(abs(left), abs(right)),
            f"at the kink {kink:g} backward takes {convention:g}, but forward takes {branch:g} for complex numbers",
        )


@CHECKS.add
def check_dtypes(activation: Activation) -> None:
    """Every dtype fills `out`, with the numbers of float64 up to rounding."""
    a = _off_kinks(activation, USUAL)
    high, slopes = value(activation, a), slope(activation, a)
    # What rounding `a` to float32 may change in φ and φ', and a few roundings of these.
    eps, size = float(np.finfo(np.float32).eps), float(np.abs(a).max())
    bend = float(np.abs(np.diff(slopes) / np.diff(a)).max())
    off = np.abs(value(activation, a.astype(np.float32)) - high).max()
    require(
        off <= 8 * eps * (np.abs(high).max() + size * np.abs(slopes).max()),
        "φ in float32 must fill `out`, with numbers near float64's",
    )
    off = np.abs(slope(activation, a.astype(np.float32)) - slopes).max()
    require(off <= 8 * eps * (np.abs(slopes).max() + size * bend), "φ' in float32 must be near float64's")
    if activation.complex_step:
        off = np.abs(value(activation, a + 0j) - high).max()
        require(
            off <= 1e-13 * np.abs(high).max(),
            "φ of a complex number without an imaginary part must be φ of the real one, all over `out`",
        )


@CHECKS.add
def check_large(activation: Activation) -> None:
    """Large numbers overflow nowhere: φ and φ' are finite, without a warning."""
    results = functools.partial(_results, activation)
    for dtype in _dtypes(activation):
        a = _large(activation).astype(dtype)
        require_finite(f"up to ±1e4 in {a.dtype}", results, a + 1e-30j if a.dtype.kind == "c" else a)


@CHECKS.add
def check_nan(activation: Activation) -> None:
    """NaN stays NaN, so that a run that has diverged is noticed."""
    for dtype in _dtypes(activation):
        with np.errstate(invalid="ignore"):
            out = value(activation, np.array([np.nan, 1.0], dtype=dtype))
        require(np.isnan(out[0]) and not np.isnan(out[1]), f"φ(NaN) must be NaN and φ(1) not, got {out}")


@CHECKS.add
def check_layout(activation: Activation) -> None:
    """The bits are the same in a stack and alone, and in arrays that are parts of larger ones."""
    # Sizes that fill no vector register evenly, so that members begin and end inside one.
    for R, H, B, dtype in (
        (3, 5, 8, np.float64),
        (3, 5, 7, np.float32),
        (4, 1, 1, np.float64),
        (2, 33, 3, np.float32),
    ):
        a = np.random.default_rng(0).normal(0, 3, (R, H, B)).astype(dtype)
        whole, slopes = value(activation, a), slope(activation, a)
        # As in the network: h without the row of ones below it.
        with_row = np.ones((R, H + 1, B), dtype)
        h = with_row[:, :-1]
        activation.forward(a.copy(), h)
        require(np.array_equal(h, whole), "φ differs when `out` is a part of a larger array")
        grad = _backward(activation, a, h, np.ones_like(a))
        require(np.array_equal(grad, slopes), "φ' differs when `h` is a part of a larger array")
        require(
            (with_row[:, -1] == 1).all(), "forward and backward must write nothing outside of `out` and `h`"
        )
        require_members_alone(functools.partial(_results, activation), [a], where=f", of shape {a.shape}")
