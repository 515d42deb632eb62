"""What every activation must keep: φ and φ' fit together, at kinks too, in any dtype and in a stack."""

from __future__ import annotations

import numpy as np

from backproof.conformance import numeric
from backproof.conformance.base import Check, ConformanceError, require
from backproof.contracts import Activation, Array, Plugin

#: Usual pre-activations, odd in number and none of them a likely kink.
USUAL = np.linspace(-6.01, 6.02, 211)
#: Dense enough to land on every likely kink, and between them.
GRID = np.linspace(-10, 10, 20_001)
LARGE = np.array([-1e4, -700.3, -90.1, -31.7, 31.9, 90.3, 700.9, 1e4])
#: A jump, in parts of the greatest slope.
JUMP = 1e-4


def _activation(plugin: Plugin) -> Activation:
    if not isinstance(plugin, Activation):
        raise ConformanceError(f"expected an Activation, got {type(plugin).__name__}")
    return plugin


def value(activation: Activation, a: Array) -> Array:
    """φ(a) in an array of its own, NaN where `forward` writes nothing."""
    out = np.full_like(a, np.nan)
    activation.forward(a.copy(), out)
    return out


def slope(activation: Activation, a: Array) -> Array:
    """φ'(a) as `backward` has it."""
    return _backward(activation, a, value(activation, a), np.ones_like(a))


def derivative(activation: Activation, a: Array) -> Array:
    """φ'(a) from φ alone, by the complex step, or by central differences where φ has no complex form."""
    by = numeric.complex_step if activation.complex_step else numeric.central
    return by(lambda a: value(activation, a), a)


def _backward(activation: Activation, a: Array, h: Array, grad: Array) -> Array:
    # The work arrays hold NaN, so that reading them before writing shows.
    activation.backward(a.copy(), h, grad, (np.full_like(a, np.nan), np.full_like(a, np.nan)))
    return grad


def _off_kinks(activation: Activation, a: Array) -> Array:
    """Those of a that are no kink; further from one than the differences reach, where these are used."""
    reach = 1e-10 if activation.complex_step else 2e-3
    near = np.zeros(a.shape, dtype=bool)
    for kink in activation.kinks:
        near |= np.abs(a - kink) < reach
    return a[~near]


def _large(activation: Activation) -> Array:
    """Those of LARGE where φ has to be finite: on a side where it does not grow exponentially."""
    with np.errstate(all="ignore"):
        below, above = np.abs(value(activation, np.array([-40.0, 40.0]))) > 1e12
    return LARGE[~np.where(LARGE < 0, below, above)]


def _steepest(activation: Activation) -> float:
    """The greatest slope of φ at usual numbers: what an error of φ' is small or large beside."""
    return float(np.abs(derivative(activation, USUAL)).max())


def check_derivative(plugin: Plugin) -> None:
    """Backward multiplies by the derivative of forward, at usual and at large numbers and beside kinks."""
    activation = _activation(plugin)
    tolerance = 1e-12 if activation.complex_step else 1e-8
    large = _large(activation)
    beside = [kink + side for kink in activation.kinks for side in (-1e-6, -1e-9, 1e-9, 1e-6)]
    usual = np.concatenate([USUAL, GRID, beside])
    # Where a large number gives no number, check_large says so.
    for a in (_off_kinks(activation, usual), large[np.isfinite(value(activation, large))]):
        got, expected = slope(activation, a), derivative(activation, a)
        allowed = tolerance * (_steepest(activation) + np.abs(expected))
        wrong = np.flatnonzero(~(np.abs(got - expected) <= allowed))
        if len(wrong):
            at = wrong[np.argmax(np.nan_to_num(np.abs(got - expected)[wrong], nan=np.inf))]
            raise ConformanceError(
                f"φ'({a[at]:g}): backward gives {got[at]:.15g}, φ has the slope {expected[at]:.15g}"
            )


def check_multiplies(plugin: Plugin) -> None:
    """Backward multiplies what is in `grad`, a NaN or a zero too, and nothing else is in it afterwards."""
    activation = _activation(plugin)
    weights = np.random.default_rng(0).standard_normal(USUAL.shape)
    weights[::7] = 0
    grad = _backward(activation, USUAL, value(activation, USUAL), weights.copy())
    expected = weights * slope(activation, USUAL)
    near = np.allclose(grad, expected, rtol=1e-12, atol=1e-15 * _steepest(activation))
    require(near, "backward must multiply `grad` by φ'(a) in place")
    grad = _backward(activation, USUAL, value(activation, USUAL), np.full_like(USUAL, np.nan))
    require(np.isnan(grad).all(), "backward must leave NaN in `grad` as NaN, also where φ' is 0")


def check_inputs(plugin: Plugin) -> None:
    """`a` and `h` are left as they are."""
    activation = _activation(plugin)
    for dtype in (np.float32, np.float64, *([np.complex128] if activation.complex_step else [])):
        a = USUAL.astype(dtype)
        h, work = np.empty_like(a), (np.empty_like(a), np.empty_like(a))
        activation.forward(a, h)
        require(np.array_equal(a, USUAL.astype(dtype)), f"forward must leave `a` as it is in {a.dtype}")
        if a.dtype.kind == "c":
            continue  # backward is never given complex numbers
        kept = h.copy()
        activation.backward(a, h, np.ones_like(a), work)
        same = np.array_equal(a, USUAL.astype(dtype)) and np.array_equal(h, kept)
        require(same, f"backward must leave `a` and `h` as they are in {a.dtype}")


def check_kinks(plugin: Plugin) -> None:
    """At a declared kink the slope jumps, and backward gives a subgradient; nowhere else does it jump."""
    activation = _activation(plugin)
    size = JUMP * _steepest(activation)
    for kink in activation.kinks:
        _check_kink(activation, kink, size)
    torn = numeric.jumps(lambda a: value(activation, a), GRID, size)
    require(not len(torn), f"φ must be continuous, but it jumps or is NaN near {torn[:1]}")
    for place in numeric.jumps(lambda a: slope(activation, a), GRID, size):
        require(
            any(abs(place - kink) < 1e-6 for kink in activation.kinks),
            f"φ' jumps or is NaN near {place:.9g}, which is not among the declared kinks {activation.kinks}",
        )


def _check_kink(activation: Activation, kink: float, size: float) -> None:
    at = np.array([kink])
    left, right = (float(numeric.one_sided(lambda a: value(activation, a), at, h)[0]) for h in (-1e-4, 1e-4))
    require(
        abs(left - right) > size,
        f"{kink:g} is declared a kink, but the slope of φ is {left:g} before it and {right:g} after",
    )
    own = float(slope(activation, at)[0])
    # The differences know the slopes to about 1e-8.
    require(
        min(left, right) - size / 100 <= own <= max(left, right) + size / 100,
        f"φ'({kink:g}) = {own:g} is no subgradient: it must lie between {left:g} and {right:g}",
    )
    if activation.complex_step:
        branch = float(derivative(activation, at)[0])
        require(
            abs(own - branch) <= 1e-12 * max(abs(left), abs(right)),
            f"at the kink {kink:g} backward takes {own:g} but forward's branch for complex numbers {branch:g}",
        )


def check_dtypes(plugin: Plugin) -> None:
    """Float32 and float64 (and complex128) fill `out`, with the same numbers to rounding."""
    activation = _activation(plugin)
    a = _off_kinks(activation, USUAL)
    high, slopes = value(activation, a), slope(activation, a)
    # What a rounding of `a` to float32 may change in φ and φ', and some roundings of these.
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
            "φ of a complex number with no imaginary part must be φ of the real one, all over `out`",
        )


def check_large(plugin: Plugin) -> None:
    """Large numbers overflow nowhere: φ and φ' are finite, without a warning."""
    activation = _activation(plugin)
    for dtype in (np.float32, np.float64):
        a = _large(activation).astype(dtype)
        require(np.isfinite(value(activation, a)).all(), f"φ must be finite up to ±1e4 in {dtype.__name__}")
        require(np.isfinite(slope(activation, a)).all(), f"φ' must be finite up to ±1e4 in {dtype.__name__}")
    if activation.complex_step:
        whole = value(activation, _large(activation) + 1e-30j)
        require(np.isfinite(whole).all(), "φ must be finite up to ±1e4 in complex128")


def check_nan(plugin: Plugin) -> None:
    """NaN stays NaN, so that a run that has diverged is seen."""
    activation = _activation(plugin)
    for dtype in (np.float32, np.float64, *([np.complex128] if activation.complex_step else [])):
        with np.errstate(invalid="ignore"):
            out = value(activation, np.array([np.nan, 1.0], dtype=dtype))
        require(np.isnan(out[0]) and not np.isnan(out[1]), f"φ(NaN) must be NaN and φ(1) not, got {out}")


def check_layout(plugin: Plugin) -> None:
    """The same bits in a stack and alone, in arrays that have gaps, and in parts."""
    activation = _activation(plugin)
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
        got = _backward(activation, a, h, np.ones_like(a))
        require(np.array_equal(got, slopes), "φ' differs when `h` is a part of a larger array")
        require((with_row[:, -1] == 1).all(), "what lies beside `out` or `h` in memory must be left as it is")
        for r in range(R):
            own = a[r : r + 1]
            same = np.array_equal(value(activation, own)[0], whole[r])
            same = same and np.array_equal(slope(activation, own)[0], slopes[r])
            require(same, f"member {r} of a stack of shape {a.shape} differs from the same numbers alone")


CHECKS: tuple[Check, ...] = (
    check_derivative,
    check_multiplies,
    check_inputs,
    check_kinks,
    check_dtypes,
    check_large,
    check_nan,
    check_layout,
)
