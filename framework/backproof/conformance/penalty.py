"""The checks of penalties."""

from __future__ import annotations

import functools

import numpy as np

from backproof.conformance.harness import (
    Checks,
    require_complex_form,
    require_gradient,
    require_near,
    require_no_allocation,
    require_subgradient,
    require_untouched,
)
from backproof.contracts import Array, Penalty
from backproof.contracts.errors import require
from backproof.experiment.stackable import (
    DTYPES,
    R,
    check_per_member,
    penalty_gradient,
    penalty_mask,
    penalty_results,
    random_parameters,
    require_members_alone,
)

CHECKS = Checks(Penalty)
P = 20


def _values(penalty: Penalty, theta: Array) -> Array:
    return penalty.value(theta, penalty_mask())


@CHECKS.add
def check_value(penalty: Penalty) -> None:
    """The value is one finite number per member; 0 if the penalty is `null`, which training leaves out."""
    value = penalty.value(random_parameters(), penalty_mask())
    require(value.shape == (R,), f"value must have shape ({R},), got {value.shape}")
    require(value.dtype == np.float64, f"value of float64 parameters must be float64, got {value.dtype}")
    require(np.isfinite(value).all(), f"value must be finite, got {value}")
    require(not (penalty.null and value.any()), f"value must be 0 of a penalty with null = True, got {value}")


@CHECKS.add
def check_untouched(penalty: Penalty) -> None:
    """`value` and `gradient` leave theta and the mask as they are."""
    theta, mask = random_parameters(), penalty_mask()
    grad, work = np.zeros_like(theta), np.empty_like(theta)
    require_untouched("value", penalty.value, theta, mask, theta=theta, mask=mask)
    require_untouched("gradient", penalty.gradient, theta, mask, grad, work, theta=theta, mask=mask)


@CHECKS.add
def check_adds(penalty: Penalty) -> None:
    """`gradient` adds to what is in `grad`: the gradient of the data loss."""
    theta, mask, before = random_parameters(), penalty_mask(), random_parameters(seed=1)
    added, alone = penalty_gradient(penalty, theta, mask, before), penalty_gradient(penalty, theta, mask)
    require(
        np.allclose(added, before + alone, rtol=1e-13, atol=1e-15),
        "gradient must add to what `grad` holds, and not depend on it",
    )


@CHECKS.add
def check_gradient(penalty: Penalty) -> None:
    """`gradient` is the derivative of `value`, by the complex step (else by central differences)."""
    mask = penalty_mask()
    for seed in range(3):
        theta = random_parameters(rows=1, seed=seed)
        require_gradient(
            penalty_gradient(penalty, theta, mask)[0],
            functools.partial(_values, penalty),
            theta[0],
            complex_form=penalty.complex_step,
            describe=lambda j, theta=theta: f"the gradient at θ = {theta[0, j]:.6g} (mask {mask[j]:g})",
        )


@CHECKS.add
def check_complex(penalty: Penalty) -> None:
    """Complex parameters without an imaginary part have the value of real ones."""
    if penalty.complex_step:
        values = functools.partial(_values, penalty)
        require_complex_form("value", values, random_parameters(), rtol=1e-13, atol=0)


@CHECKS.add
def check_kinks(penalty: Penalty) -> None:
    """At θ = 0 the gradient lies between the one-sided slopes of the value."""
    theta = np.zeros((1, P))
    grad = penalty_gradient(penalty, theta, penalty_mask())[0]
    require_subgradient(grad, functools.partial(_values, penalty), theta[0], "at θ = 0")


@CHECKS.add
def check_mask(penalty: Penalty) -> None:
    """Parameters that the mask excludes do not affect the value, and their gradient is not changed."""
    theta, mask = random_parameters(), penalty_mask()
    out = mask == 0
    other = theta.copy()
    other[:, out] += 1
    require(
        np.array_equal(penalty.value(theta, mask), penalty.value(other, mask)),
        "value must not depend on parameters whose mask is 0",
    )
    before = random_parameters(seed=1)
    grad = penalty_gradient(penalty, theta, mask, before)
    require(np.array_equal(grad[:, out], before[:, out]), "gradient must not change `grad` where the mask is 0")
    require(not penalty.value(theta, np.zeros(P)).any(), "value must be 0 where nothing is penalised")


@CHECKS.add
def check_blocks(penalty: Penalty) -> None:
    """Blocks of the parameters have, bit for bit, the gradients that they have in the whole."""
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


@CHECKS.add
def check_stack(penalty: Penalty) -> None:
    """Member r of a stack has the bits that it has alone."""
    for dtype in DTYPES:
        arrays = random_parameters(dtype), random_parameters(dtype, seed=1)
        require_members_alone(
            functools.partial(penalty_results, penalty), arrays, where=f" ({np.dtype(dtype)})"
        )


CHECKS.append(check_per_member)


@CHECKS.add
def check_float32(penalty: Penalty) -> None:
    """In float32 the numbers are near what float64 gives."""
    theta = random_parameters(np.float32)
    single, double = (
        penalty_results(penalty, numbers, np.zeros_like(numbers))
        for numbers in (theta, theta.astype(np.float64))
    )
    require_near(single, double, atol=1e-8)


@CHECKS.add
def check_memory(penalty: Penalty) -> None:
    """`gradient` allocates no array of the size of theta: it runs at every step."""
    theta, mask = random_parameters(rows=1, columns=1 << 16), penalty_mask(columns=1 << 16)
    grad, work = np.zeros_like(theta), np.empty_like(theta)
    require_no_allocation("gradient", penalty.gradient, theta, mask, grad, work, limit=theta.nbytes // 2)
