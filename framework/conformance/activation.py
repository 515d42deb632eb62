"""What every activation must keep: φ and φ' fit together, at kinks too, in any dtype and in a stack."""

from __future__ import annotations

import numpy as np

from framework.conformance.base import Check, ConformanceError, require
from framework.kinds import Activation, Array, Plugin

#: Usual pre-activations, odd in number and none of them a likely kink; and large ones.
USUAL = np.linspace(-6.01, 6.02, 211)
#: A change of φ' between neighbours that may be a kink.
JUMP = 0.005
LARGE = np.array([-1e4, -700.3, -90.1, -31.7, 31.9, 90.3, 700.9, 1e4])


def _activation(plugin: Plugin) -> Activation:
    if not isinstance(plugin, Activation):
        raise ConformanceError(f"expected an Activation, got {type(plugin).__name__}")
    return plugin


def value(activation: Activation, a: Array) -> Array:
    """φ(a) in an array of its own."""
    out = np.empty_like(a)
    activation.forward(a, out)
    return out


def slope(activation: Activation, a: Array) -> Array:
    """φ'(a) as `backward` has it."""
    grad = np.ones_like(a)
    activation.backward(a, value(activation, a), grad, (np.full_like(a, np.nan), np.full_like(a, np.nan)))
    return grad


def derivative(activation: Activation, a: Array) -> Array:
    """φ'(a) from φ alone, by the complex step, or by central differences where φ has no complex form."""
    if activation.complex_step:
        return np.imag(value(activation, a + 1e-30j)) / 1e-30
    h = 1e-3
    wide, narrow = (
        (value(activation, a + step) - value(activation, a - step)) / (2 * step) for step in (h, h / 2)
    )
    return (4 * narrow - wide) / 3


def _tolerance(activation: Activation) -> float:
    return 1e-13 if activation.complex_step else 1e-8


def _off_kinks(activation: Activation, a: Array) -> Array:
    """Those of a that are further from every kink than the step of the differences."""
    near = np.zeros(a.shape, dtype=bool)
    for kink in activation.kinks:
        near |= np.abs(a - kink) < 2e-3
    return a[~near]


def check_derivative(plugin: Plugin) -> None:
    """Backward multiplies by the derivative of forward, at usual and at large numbers."""
    activation = _activation(plugin)
    for a in (_off_kinks(activation, USUAL), LARGE):
        got, expected = slope(activation, a), derivative(activation, a)
        off = np.abs(got - expected)
        worst = int(np.argmax(np.where(np.isfinite(off), off, np.inf)))
        require(
            off[worst] <= _tolerance(activation) * max(1.0, float(np.abs(expected).max())),
            f"φ'({a[worst]:g}): backward gives {got[worst]:.15g}, φ has the slope {expected[worst]:.15g}",
        )


def check_multiplies(plugin: Plugin) -> None:
    """Backward multiplies what is in `grad`, and nothing else is in it afterwards."""
    activation = _activation(plugin)
    a = _off_kinks(activation, USUAL)
    weights = np.random.default_rng(0).standard_normal(a.shape)
    grad = weights.copy()
    activation.backward(a, value(activation, a), grad, (np.empty_like(a), np.empty_like(a)))
    expected = weights * slope(activation, a)
    require(
        np.allclose(grad, expected, rtol=1e-12, atol=1e-15), "backward must multiply `grad` by φ'(a) in place"
    )


def check_inputs(plugin: Plugin) -> None:
    """`a` and `h` are left as they are."""
    activation = _activation(plugin)
    a = USUAL.copy()
    h = value(activation, a)
    require(np.array_equal(a, USUAL), "forward must leave `a` as it is")
    kept = h.copy()
    activation.backward(a, h, np.ones_like(a), (np.empty_like(a), np.empty_like(a)))
    require(np.array_equal(a, USUAL) and np.array_equal(h, kept), "backward must leave `a` and `h` as they are")


def check_kinks(plugin: Plugin) -> None:
    """At a declared kink the slope jumps, and backward gives a subgradient; nowhere else does it jump."""
    activation = _activation(plugin)
    for kink in activation.kinks:
        at = np.array([kink])
        left, right = (float(slope(activation, at + side)[0]) for side in (-1e-9, 1e-9))
        require(
            abs(left - right) > 1e-3,
            f"{kink:g} is declared a kink, but φ' is {left:g} before and {right:g} after",
        )
        own = float(slope(activation, at)[0])
        require(
            min(left, right) - 1e-8 <= own <= max(left, right) + 1e-8,
            f"φ'({kink:g}) = {own:g} is no subgradient: it must lie between {left:g} and {right:g}",
        )
        if activation.complex_step:
            branch = float(derivative(activation, at)[0])
            require(
                own == branch,
                f"at the kink {kink:g} backward takes {own:g} but forward's branch for complex numbers {branch:g}",
            )
    grid = np.linspace(-8, 8, 160_001)
    for at in np.flatnonzero(np.abs(np.diff(slope(activation, grid))) > JUMP):
        place = _jump(activation, grid[at], grid[at + 1])
        require(
            place is None or any(abs(place - kink) < 1e-6 for kink in activation.kinks),
            f"φ' jumps near {place}, which is not among the declared kinks {activation.kinks}",
        )


def _jump(activation: Activation, low: float, high: float) -> float | None:
    """Where φ' jumps between two points, by halving; None where it is only steep."""
    while high - low > 1e-9:
        ends = np.array([low, (low + high) / 2, high])
        first, middle, last = slope(activation, ends)
        low, high = (ends[0], ends[1]) if abs(middle - first) > abs(last - middle) else (ends[1], ends[2])
        if max(abs(middle - first), abs(last - middle)) < JUMP:
            return None
    return float(low)


def check_dtypes(plugin: Plugin) -> None:
    """Float32 and float64 (and complex128) go in and come out, with the same numbers to rounding."""
    activation = _activation(plugin)
    a = _off_kinks(activation, USUAL)
    high, slopes = value(activation, a), slope(activation, a)
    # What a rounding of `a` to float32 may change in φ and φ', and some roundings of these.
    eps, size = float(np.finfo(np.float32).eps), float(np.abs(a).max())
    bend = float(np.abs(np.diff(slopes) / np.diff(a)).max())
    off = np.abs(value(activation, a.astype(np.float32)) - high).max()
    require(
        off < 8 * eps * (np.abs(high).max() + size * np.abs(slopes).max()),
        "φ in float32 must be near float64's",
    )
    off = np.abs(slope(activation, a.astype(np.float32)) - slopes).max()
    require(off < 8 * eps * (np.abs(slopes).max() + size * bend), "φ' in float32 must be near float64's")
    if activation.complex_step:
        whole = value(activation, a + 0j)
        require(
            np.abs(whole - high).max() < 1e-13 * np.abs(high).max(),
            "φ of a complex number with no imaginary part must be φ of the real one",
        )


def check_large(plugin: Plugin) -> None:
    """Large numbers overflow nowhere: φ and φ' are finite, without a warning."""
    activation = _activation(plugin)
    for dtype in (np.float32, np.float64):
        a = LARGE.astype(dtype)
        require(np.isfinite(value(activation, a)).all(), f"φ must be finite up to ±1e4 in {dtype.__name__}")
        require(np.isfinite(slope(activation, a)).all(), f"φ' must be finite up to ±1e4 in {dtype.__name__}")


def check_nan(plugin: Plugin) -> None:
    """NaN stays NaN, so that a run that has diverged is seen."""
    activation = _activation(plugin)
    with np.errstate(invalid="ignore"):
        out = value(activation, np.array([np.nan, 1.0]))
    require(np.isnan(out[0]) and not np.isnan(out[1]), f"φ(NaN) must be NaN and φ(1) not, got {out}")


def check_layout(plugin: Plugin) -> None:
    """The same bits in a stack and alone, in arrays that have gaps, and in parts."""
    activation = _activation(plugin)
    a = np.random.default_rng(0).normal(0, 3, (3, 5, 8))
    whole, slopes = value(activation, a), slope(activation, a)
    with_row = np.zeros((3, 6, 8))
    h = with_row[:, :-1]
    activation.forward(a, h)
    require(np.array_equal(h, whole), "φ differs when `out` is a part of a larger array")
    grad = np.ones_like(a)
    activation.backward(a, h, grad, (np.empty_like(a), np.empty_like(a)))
    require(np.array_equal(grad, slopes), "φ' differs when `h` is a part of a larger array")
    for r in range(len(a)):
        own = a[r : r + 1].copy()
        same = np.array_equal(value(activation, own)[0], whole[r]) and np.array_equal(
            slope(activation, own)[0], slopes[r]
        )
        require(same, f"member {r} of a stack differs from the same numbers alone")


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
