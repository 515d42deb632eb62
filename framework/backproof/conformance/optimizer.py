"""The checks of optimizers."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from typing import cast

import numpy as np

from backproof.conformance.harness import Checks, require_finite, require_no_allocation
from backproof.contracts import Array, Optimizer
from backproof.contracts.errors import require
from backproof.experiment.stackable import (
    DTYPES,
    check_rates_of_a_stack,
    descend,
    descent_problem,
    initial_state,
    require_members_alone,
)

CHECKS = Checks(Optimizer)


@CHECKS.add
def check_slots(optimizer: Optimizer) -> None:
    """The state arrays have different names, and start with finite numbers."""
    slots = cast("object", optimizer.slots)
    require(isinstance(slots, tuple), f"slots must be a tuple of names, got {slots!r}")
    require(
        all(type(slot) is str for slot in optimizer.slots) and len({*optimizer.slots}) == len(optimizer.slots),
        f"slots must be different names, got {slots!r}",
    )
    for slot in optimizer.slots:
        start = optimizer.initial(slot)
        require(np.isfinite(start), f"the state {slot!r} must start with a finite number, got {start}")


@CHECKS.add
def check_descends(optimizer: Optimizer) -> None:
    """It goes against the gradient: on θ²/2 from 1 it gets lower, and stays finite over a thousand steps."""
    theta = np.ones((1, 4))
    state, work = initial_state(optimizer, theta), np.empty_like(theta)
    for t in range(1, 1001):
        optimizer.step(theta, theta.copy(), state, t, optimizer.lr, work)
        require(t > 1 or (theta < 1).all(), f"the first step from 1 on θ²/2 must go down, got {theta}")
    require(np.isfinite(theta).all(), f"θ must stay finite, got {theta[0]}")
    require((np.abs(theta) < 1).all(), f"a thousand steps on θ²/2 from 1 must get lower, got {theta[0]}")


@CHECKS.add
def check_members(optimizer: Optimizer) -> None:
    """A member of a stack has the bits that it has alone."""

    def results(theta: Array, grads: Array) -> dict[str, Array]:
        return {"theta": descend(optimizer, theta, grads)[0]}

    for dtype in DTYPES:
        require_members_alone(results, descent_problem(dtype), where=f" ({np.dtype(dtype)})")


@CHECKS.add
def check_blocks(optimizer: Optimizer) -> None:
    """It works element by element: any cut of the parameters into blocks gives the same bits."""
    theta, grads = descent_problem()
    whole, _ = descend(optimizer, theta, grads)
    for cuts in ((4,), (1, 2, 9)):
        cut, _ = descend(optimizer, theta, grads, cuts=cuts)
        require(np.array_equal(whole, cut), f"the update differs when it is made in blocks cut at {cuts}")


CHECKS.append(check_rates_of_a_stack)


@CHECKS.add
def check_rate(optimizer: Optimizer) -> None:
    """The step follows the `lr` that it is passed, which a schedule has changed, and not the plugin's field."""
    theta, grads = descent_problem()
    lr = float(optimizer.lr)
    full, half = (descend(optimizer, theta, grads, lr=rate)[0] for rate in (lr, lr / 2))
    require(not np.array_equal(full, half), "half the `lr` that step is passed must make another step")
    other, _ = descend(dataclasses.replace(optimizer, lr=3 * lr), theta, grads, lr=lr)
    require(np.array_equal(full, other), "step must use the `lr` that it is passed, not self.lr")


@CHECKS.add
def check_dtype(optimizer: Optimizer) -> None:
    """Float32 stays float32, and near the float64 trajectory."""
    theta, grads = descent_problem()
    low, state = descend(optimizer, theta.astype(np.float32), grads.astype(np.float32))
    high, _ = descend(optimizer, theta, grads)
    dtypes = {array.dtype for array in (low, *state)}
    require(dtypes == {np.dtype(np.float32)}, f"float32 must stay float32, got {dtypes}")
    moved = np.abs(high - theta).max()
    require(np.abs(low - high).max() < 1e-3 * moved + 1e-6, "float32 and float64 trajectories must be near")


@CHECKS.add
def check_zero_gradient(optimizer: Optimizer) -> None:
    """A zero gradient gives finite numbers, at the first step and after others."""
    for first in (0, 3):
        theta, grads = descent_problem()
        grads[:, first:] = 0
        moved, _ = descend(optimizer, theta, grads)
        require(
            np.isfinite(moved).all(),
            f"a zero gradient from step {first + 1} on gives numbers that are not finite",
        )


@CHECKS.add
def check_extremes(optimizer: Optimizer) -> None:
    """Gradients of any size that training meets, early and late, give finite numbers and no warning."""
    for dtype, size, t in itertools.product(DTYPES, (0.0, 1e-30, 1e15), (1, 1_000_000)):
        require_finite(
            f"gradients of size {size:g} at step {t} ({np.dtype(dtype)})",
            functools.partial(_from_step, optimizer, t, dtype(size)),
            *descent_problem(dtype),
        )


def _from_step(optimizer: Optimizer, t: int, size: np.floating, theta: Array, grads: Array) -> dict[str, Array]:
    """Return theta and state after steps from step t on, with gradients of this size."""
    state = initial_state(optimizer, theta)
    for later, grad in enumerate(grads.swapaxes(0, 1)):
        optimizer.step(theta, grad * size, state, t + later, optimizer.lr, np.full_like(theta, np.nan))
    return {"θ": theta, **dict(zip(optimizer.slots, state, strict=True))}


@CHECKS.add
def check_state(optimizer: Optimizer) -> None:
    """All that it remembers is in its state: continuing from a copy gives the same bits."""
    theta, grads = descent_problem()
    whole, _ = descend(optimizer, theta, grads)
    half, state = descend(optimizer, theta, grads[:, :3])
    copy = tuple(array.copy() for array in state)
    descend(optimizer, theta + 1, grads)  # another run in between
    for t, grad in enumerate(grads[:, 3:].swapaxes(0, 1), start=4):
        optimizer.step(half, grad.copy(), copy, t, optimizer.lr, np.empty_like(half))
    require(
        np.array_equal(whole, half), "a run that continues from its theta and state differs from one in one go"
    )


@CHECKS.add
def check_memory(optimizer: Optimizer) -> None:
    """A step allocates nothing of the parameters' size."""
    theta = np.ones((1, 100_000))
    arguments = theta, np.ones_like(theta), initial_state(optimizer, theta), 2, optimizer.lr, theta.copy()
    require_no_allocation("a step", optimizer.step, *arguments, limit=theta.nbytes // 2)
