"""What every optimizer must keep."""

from __future__ import annotations

import dataclasses
import itertools
import tracemalloc
from typing import cast

import numpy as np

from backproof.conformance.base import Check, ConformanceError, require
from backproof.contracts import Optimizer, Plugin
from backproof.experiment.stackable import (
    DTYPES,
    check_rates_of_a_stack,
    descend,
    descent_problem,
    initial_state,
    require_kind,
)


def check_slots(plugin: Plugin) -> None:
    """The state arrays have names, no two the same, and start with finite numbers."""
    optimizer = require_kind(plugin, Optimizer)
    slots = cast("object", optimizer.slots)
    require(isinstance(slots, tuple), f"slots must be a tuple of names, got {slots!r}")
    require(
        all(type(slot) is str for slot in optimizer.slots) and len({*optimizer.slots}) == len(optimizer.slots),
        f"slots must be names that differ, got {slots!r}",
    )
    for slot in optimizer.slots:
        start = optimizer.initial(slot)
        require(np.isfinite(start), f"the state {slot!r} must start with a finite number, got {start}")


def check_descends(plugin: Plugin) -> None:
    """Against the gradient: on θ²/2 from 1 it gets lower, and stays finite over a thousand steps."""
    optimizer = require_kind(plugin, Optimizer)
    theta = np.ones((1, 4))
    state, work = initial_state(optimizer, theta), np.empty_like(theta)
    first = None
    for t in range(1, 1001):
        optimizer.step(theta, theta.copy(), state, t, optimizer.lr, work)
        first = theta.copy() if first is None else first
    require(first is not None and (first < 1).all(), f"the first step from 1 on θ²/2 must go down, got {first}")
    require(np.isfinite(theta).all(), f"θ must stay finite, got {theta[0]}")
    require((np.abs(theta) < 1).all(), f"a thousand steps on θ²/2 from 1 must get lower, got {theta[0]}")


def check_members(plugin: Plugin) -> None:
    """A member of a stack has the bits that it has alone."""
    optimizer = require_kind(plugin, Optimizer)
    for dtype in (np.float32, np.float64):
        theta, grads = descent_problem(dtype)
        stack, _ = descend(optimizer, theta, grads)
        for r in range(len(theta)):
            alone, _ = descend(optimizer, theta[r : r + 1], grads[:, r : r + 1])
            require(
                np.array_equal(stack[r], alone[0]),
                f"member {r} of a stack differs from the run alone in {dtype}",
            )


def check_blocks(plugin: Plugin) -> None:
    """Element by element: any cut of the parameters into blocks gives the same bits."""
    optimizer = require_kind(plugin, Optimizer)
    theta, grads = descent_problem()
    whole, _ = descend(optimizer, theta, grads)
    for cuts in ((4,), (1, 2, 9)):
        cut, _ = descend(optimizer, theta, grads, cuts=cuts)
        require(np.array_equal(whole, cut), f"the update differs when it is made in blocks cut at {cuts}")


def check_rate(plugin: Plugin) -> None:
    """The step follows the `lr` that it is given, which a schedule has changed, and not the plugin's own."""
    optimizer = require_kind(plugin, Optimizer)
    theta, grads = descent_problem()
    lr = float(optimizer.lr)
    full, half = (descend(optimizer, theta, grads, lr=rate)[0] for rate in (lr, lr / 2))
    require(not np.array_equal(full, half), "half the `lr` that step is given must make another step")
    other, _ = descend(dataclasses.replace(optimizer, lr=3 * lr), theta, grads, lr=lr)
    require(np.array_equal(full, other), "step must use the `lr` that it is given, not self.lr")


def check_dtype(plugin: Plugin) -> None:
    """Float32 stays float32, and near the float64 trajectory."""
    optimizer = require_kind(plugin, Optimizer)
    theta, grads = descent_problem()
    low, state = descend(optimizer, theta.astype(np.float32), grads.astype(np.float32))
    high, _ = descend(optimizer, theta, grads)
    require(
        low.dtype == np.float32 and all(each.dtype == np.float32 for each in state), "float32 must stay float32"
    )
    moved = np.abs(high - theta).max()
    require(np.abs(low - high).max() < 1e-3 * moved + 1e-6, "float32 and float64 trajectories must be near")


def check_zero_gradient(plugin: Plugin) -> None:
    """A zero gradient gives finite numbers, at the first step and after others."""
    optimizer = require_kind(plugin, Optimizer)
    theta, grads = descent_problem()
    for at in (0, 3):
        own = grads.copy()
        own[at:] = 0
        moved, _ = descend(optimizer, theta, own)
        require(
            np.isfinite(moved).all(), f"a zero gradient from step {at + 1} on gives numbers that are not finite"
        )


def check_extremes(plugin: Plugin) -> None:
    """Gradients of any size that training meets, early and late, give finite numbers and no warning."""
    optimizer = require_kind(plugin, Optimizer)
    for dtype, size, t in itertools.product(DTYPES, (0.0, 1e-30, 1e15), (1, 1_000_000)):
        theta, grads = descent_problem(dtype)
        moved, state, at = (
            theta.copy(),
            initial_state(optimizer, theta),
            f"gradients of size {size:g} at step {t}",
        )
        try:
            with np.errstate(over="raise", invalid="raise", divide="raise"):
                for later, grad in enumerate(grads):
                    own = grad * dtype(size)
                    optimizer.step(moved, own, state, t + later, optimizer.lr, np.full_like(theta, np.nan))
        except ArithmeticError as error:
            raise ConformanceError(f"{at}: {error} ({np.dtype(dtype)})") from None
        finite = all(np.isfinite(array).all() for array in (moved, *state))
        require(finite, f"{at} must leave θ and the state finite ({np.dtype(dtype)})")


def check_state(plugin: Plugin) -> None:
    """All that it remembers is in its state: going on from a copy gives the same bits."""
    optimizer = require_kind(plugin, Optimizer)
    theta, grads = descent_problem()
    whole, _ = descend(optimizer, theta, grads)
    half, state = descend(optimizer, theta, grads[:3])
    kept, half = tuple(each.copy() for each in state), half.copy()
    descend(optimizer, theta + 1, grads)  # another run in between
    for t, grad in enumerate(grads[3:], start=4):
        optimizer.step(half, grad.copy(), kept, t, optimizer.lr, np.empty_like(half))
    require(
        np.array_equal(whole, half), "a run that goes on from its theta and state differs from one in one go"
    )


def check_memory(plugin: Plugin) -> None:
    """A step allocates nothing of the parameters' size."""
    optimizer = require_kind(plugin, Optimizer)
    theta = np.ones((1, 100_000))
    grad, state, work = np.ones_like(theta), initial_state(optimizer, theta), np.empty_like(theta)
    optimizer.step(theta, grad, state, 1, optimizer.lr, work)
    tracemalloc.start()
    try:
        optimizer.step(theta, grad, state, 2, optimizer.lr, work)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    require(peak < theta.nbytes / 2, f"a step allocates {peak} bytes on parameters of {theta.nbytes}")


CHECKS: tuple[Check, ...] = (
    check_slots,
    check_descends,
    check_members,
    check_blocks,
    check_rates_of_a_stack,
    check_rate,
    check_dtype,
    check_zero_gradient,
    check_extremes,
    check_state,
    check_memory,
)
