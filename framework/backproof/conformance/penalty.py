"""What every penalty must keep."""

from __future__ import annotations

import tracemalloc

import numpy as np

from backproof.conformance.base import Check, ConformanceError, require
from backproof.contracts import Penalty, Plugin
from backproof.experiment.stackable import (
    DTYPES,
    R,
    check_per_member,
    penalty_differences,
    penalty_gradient,
    penalty_mask,
    random_parameters,
    require_kind,
)

P = 20
STEP = 1e-30


def check_value(plugin: Plugin) -> None:
    """One finite number per member; 0 where the penalty says that it is null and training leaves it out."""
    penalty = require_kind(plugin, Penalty)
    value = penalty.value(random_parameters(), penalty_mask())
    require(value.shape == (R,), f"value must have shape ({R},), got {value.shape}")
    require(value.dtype == np.float64, f"value of float64 parameters must be float64, got {value.dtype}")
    require(np.isfinite(value).all(), f"value must be finite, got {value}")
    require(not (penalty.null and value.any()), f"value must be 0 of a penalty with null = True, got {value}")


def check_untouched(plugin: Plugin) -> None:
    """`value` and `gradient` leave theta and the mask as they are."""
    penalty = require_kind(plugin, Penalty)
    theta, mask = random_parameters(), penalty_mask()
    penalty.value(theta, mask)
    require(np.array_equal(theta, random_parameters()), "value must leave theta as it is")
    require(np.array_equal(mask, penalty_mask()), "value must leave the mask as it is")
    penalty_gradient(penalty, theta, mask)
    require(np.array_equal(theta, random_parameters()), "gradient must leave theta as it is")
    require(np.array_equal(mask, penalty_mask()), "gradient must leave the mask as it is")


def check_adds(plugin: Plugin) -> None:
    """`gradient` adds to what is in `grad`: the gradient of the data loss."""
    penalty, theta, mask = require_kind(plugin, Penalty), random_parameters(), penalty_mask()
    before = random_parameters(seed=1)
    added, own = penalty_gradient(penalty, theta, mask, before), penalty_gradient(penalty, theta, mask)
    require(
        np.allclose(added, before + own, rtol=1e-13, atol=1e-15),
        "gradient must add to what `grad` holds, and not depend on it",
    )


def check_gradient(plugin: Plugin) -> None:
    """`gradient` is the derivative of `value`, by the complex step (else by central differences)."""
    penalty, mask, axes = require_kind(plugin, Penalty), penalty_mask(), np.eye(P)
    for seed in range(3):
        theta = random_parameters(rows=1, seed=seed)
        if penalty.complex_step:
            slopes, tolerance = np.imag(penalty.value(theta + 1j * STEP * axes, mask)) / STEP, 1e-12
        else:
            h = 1e-4
            steps = [np.asarray(penalty.value(theta + step * axes, mask)) for step in (h, -h, h / 2, -h / 2)]
            slopes = (4 * (steps[2] - steps[3]) / h - (steps[0] - steps[1]) / (2 * h)) / 3
            tolerance = 1e-7 + 1e-12 * float(np.abs(steps[0]).max()) / h
        grad = penalty_gradient(penalty, theta, mask)[0]
        # Written so that NaN is wrong.
        wrong = ~(np.abs(grad - slopes) <= tolerance * np.abs(slopes).max())
        if wrong.any():
            j = int(np.flatnonzero(wrong)[0])
            raise ConformanceError(
                f"gradient is not the derivative of value: at θ = {theta[0, j]:.6g} (mask {mask[j]:g}) it is "
                f"{grad[j]:.15g}, the value says {slopes[j]:.15g}"
            )


def check_complex(plugin: Plugin) -> None:
    """The value of complex parameters is the value of real ones where their imaginary part is nothing."""
    penalty, mask = require_kind(plugin, Penalty), penalty_mask()
    if penalty.complex_step:
        value, given = (
            penalty.value(random_parameters(), mask),
            np.real(penalty.value(random_parameters() + 0j, mask)),
        )
        require(
            np.allclose(given, value, rtol=1e-13, atol=0),
            f"value is {value[0]:.15g} of real parameters, but {given[0]:.15g} of the same as complex numbers",
        )


def check_kinks(plugin: Plugin) -> None:
    """At θ = 0 the gradient lies between the slopes of the value to the left and to the right."""
    penalty, mask, theta, h = require_kind(plugin, Penalty), penalty_mask(), np.zeros((1, P)), 1e-6
    at, up, down = (np.asarray(penalty.value(theta + step * np.eye(P), mask)) for step in (0, h, -h))
    right, left = (up - at) / h, (at - down) / h
    grad = penalty_gradient(penalty, theta, mask)[0]
    margin = 1e-5 * (1 + np.abs(right) + np.abs(left))
    inside = (grad >= np.minimum(left, right) - margin) & (grad <= np.maximum(left, right) + margin)
    require(
        inside.all(),
        f"at θ = 0 the gradient must lie between the one-sided slopes of value, got {grad[~inside]}",
    )


def check_mask(plugin: Plugin) -> None:
    """What the mask leaves out has no part in the value, and its gradient is left as it is."""
    penalty, theta, mask = require_kind(plugin, Penalty), random_parameters(), penalty_mask()
    out = mask == 0
    other = theta.copy()
    other[:, out] += 1
    require(
        np.array_equal(penalty.value(theta, mask), penalty.value(other, mask)),
        "value must not depend on parameters whose mask is 0",
    )
    before = random_parameters(seed=1)
    grad = penalty_gradient(penalty, theta, mask, before)
    require(
        np.array_equal(grad[:, out], before[:, out]), "gradient must leave `grad` as it is where the mask is 0"
    )
    nothing = np.zeros(P)
    require(not penalty.value(theta, nothing).any(), "value must be 0 where nothing is penalised")


def check_blocks(plugin: Plugin) -> None:
    """Blocks of the parameters give, bit for bit, what all of them give at once."""
    penalty = require_kind(plugin, Penalty)
    for dtype in DTYPES:
        theta, mask, before = random_parameters(dtype), penalty_mask(dtype), random_parameters(dtype, seed=1)
        whole = penalty_gradient(penalty, theta, mask, before)
        for cut in (1, 7, P - 1):
            for columns in (slice(0, cut), slice(cut, P)):
                part = penalty_gradient(penalty, theta[:, columns], mask[columns], before[:, columns])
                require(
                    np.array_equal(part, whole[:, columns]),
                    f"gradient must work element by element: parameters {columns.start} to {columns.stop} alone "
                    f"get other numbers ({np.dtype(dtype)})",
                )


def check_stack(plugin: Plugin) -> None:
    """Member r of a stack is, bit for bit, what it is alone."""
    penalty = require_kind(plugin, Penalty)
    for dtype in DTYPES:
        for name, r in penalty_differences(dtype, penalty, [penalty] * R):
            raise ConformanceError(f"{name} of member {r} must not change with the stack ({np.dtype(dtype)})")


def check_float32(plugin: Plugin) -> None:
    """In float32 the numbers are near what float64 gives."""
    penalty, theta = require_kind(plugin, Penalty), random_parameters(np.float32)
    mask, mask64, theta64 = penalty_mask(np.float32), penalty_mask(), theta.astype(np.float64)
    for name, single, double in (
        ("value", penalty.value(theta, mask), penalty.value(theta64, mask64)),
        ("gradient", penalty_gradient(penalty, theta, mask), penalty_gradient(penalty, theta64, mask64)),
    ):
        require(np.allclose(single, double, rtol=1e-5, atol=1e-8), f"{name} in float32 must be near float64")


def check_memory(plugin: Plugin) -> None:
    """`gradient` allocates no array of the size of theta: it runs at every step."""
    penalty, columns = require_kind(plugin, Penalty), 1 << 16
    theta, mask = random_parameters(rows=1, columns=columns), penalty_mask(columns=columns)
    grad, work = np.zeros_like(theta), np.empty_like(theta)
    penalty.gradient(theta, mask, grad, work)
    tracemalloc.start()
    try:
        penalty.gradient(theta, mask, grad, work)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    require(peak < theta.nbytes // 2, f"gradient must work in `work`, but it allocated {peak} bytes")


CHECKS: tuple[Check, ...] = (
    check_value,
    check_untouched,
    check_adds,
    check_gradient,
    check_complex,
    check_kinks,
    check_mask,
    check_blocks,
    check_stack,
    check_per_member,
    check_float32,
    check_memory,
)
