"""What every optimizer must keep."""

from __future__ import annotations

import dataclasses
import itertools
import tracemalloc
from typing import Any, cast

import numpy as np

from backproof.conformance.base import Check, ConformanceError, require
from backproof.contracts import Array, Optimizer, Plugin
from backproof.contracts.errors import InvalidValue

DTYPES = (np.float32, np.float64)


def _optimizer(plugin: Plugin) -> Optimizer:
    if not isinstance(plugin, Optimizer):
        raise ConformanceError(f"expected an Optimizer, got {type(plugin).__name__}")
    return plugin


def _state(optimizer: Optimizer, theta: Array) -> tuple[Array, ...]:
    return tuple(np.full_like(theta, optimizer.initial(slot)) for slot in optimizer.slots)


def _walk(
    optimizer: Optimizer, theta: Array, grads: Array, lr: Any = None, cuts: tuple[int, ...] = ()
) -> tuple[Array, tuple[Array, ...]]:
    """Theta and state after a step for each of grads (T, R, P), made in blocks cut at these columns."""
    theta = theta.copy()
    state = _state(optimizer, theta)
    edges = (0, *cuts, theta.shape[1])
    for t, grad in enumerate(grads, start=1):
        for start, stop in itertools.pairwise(edges):
            block = np.ascontiguousarray(theta[:, start:stop])
            own = tuple(np.ascontiguousarray(each[:, start:stop]) for each in state)
            rate = optimizer.lr if lr is None else lr
            optimizer.step(block, grad[:, start:stop].copy(), own, t, rate, np.full_like(block, np.nan))
            theta[:, start:stop] = block
            for each, part in zip(state, own, strict=True):
                each[:, start:stop] = part
    return theta, state


def _problem(dtype: Any = np.float64, R: int = 3, P: int = 11, T: int = 6) -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((R, P)).astype(dtype), rng.standard_normal((T, R, P)).astype(dtype)


def _per_member(optimizer: Optimizer) -> tuple[Optimizer, list[Optimizer]]:
    """The optimizer with (R, 1) arrays in the place of its numbers, and the R optimizers these stand for."""
    numbers = {
        field.name: value
        for field in dataclasses.fields(optimizer)
        if isinstance(value := getattr(optimizer, field.name), float)
    }
    for factors in ((1.0, 0.7, 0.3), (1.0, 1.0, 1.0)):
        each = [{name: value * factor for name, value in numbers.items()} for factor in factors]
        stacked: dict[str, Any] = {name: np.array([[own[name]] for own in each]) for name in numbers}
        try:
            alone: list[Optimizer] = [dataclasses.replace(optimizer, **own) for own in each]
            return dataclasses.replace(optimizer, **stacked), alone
        except InvalidValue:
            continue
    raise ConformanceError(f"its numbers cannot be (R, 1) arrays: {', '.join(numbers)}")


def check_slots(plugin: Plugin) -> None:
    """The state arrays have names, no two the same, and start with finite numbers."""
    optimizer = _optimizer(plugin)
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
    optimizer = _optimizer(plugin)
    theta = np.ones((1, 4))
    state, work = _state(optimizer, theta), np.empty_like(theta)
    first = None
    for t in range(1, 1001):
        optimizer.step(theta, theta.copy(), state, t, optimizer.lr, work)
        first = theta.copy() if first is None else first
    require(first is not None and (first < 1).all(), f"the first step from 1 on θ²/2 must go down, got {first}")
    require(np.isfinite(theta).all(), f"θ must stay finite, got {theta[0]}")
    require((np.abs(theta) < 1).all(), f"a thousand steps on θ²/2 from 1 must get lower, got {theta[0]}")


def check_members(plugin: Plugin) -> None:
    """A member of a stack has the bits that it has alone."""
    optimizer = _optimizer(plugin)
    for dtype in (np.float32, np.float64):
        theta, grads = _problem(dtype)
        stack, _ = _walk(optimizer, theta, grads)
        for r in range(len(theta)):
            alone, _ = _walk(optimizer, theta[r : r + 1], grads[:, r : r + 1])
            require(
                np.array_equal(stack[r], alone[0]),
                f"member {r} of a stack differs from the run alone in {dtype}",
            )


def check_blocks(plugin: Plugin) -> None:
    """Element by element: any cut of the parameters into blocks gives the same bits."""
    optimizer = _optimizer(plugin)
    theta, grads = _problem()
    whole, _ = _walk(optimizer, theta, grads)
    for cuts in ((4,), (1, 2, 9)):
        cut, _ = _walk(optimizer, theta, grads, cuts=cuts)
        require(np.array_equal(whole, cut), f"the update differs when it is made in blocks cut at {cuts}")


def check_rates_of_a_stack(plugin: Plugin) -> None:
    """(R, 1) learning rates and hyperparameters give each member the bits of its own number."""
    optimizer = _optimizer(plugin)
    rates = np.array([[0.3], [0.01], [0.002]])
    every, each = _per_member(optimizer)
    for dtype in DTYPES:
        theta, grads = _problem(dtype)
        try:
            stack, _ = _walk(optimizer, theta, grads, lr=rates)
            arrays, _ = _walk(every, theta, grads, lr=rates)
        except (TypeError, ValueError) as error:
            raise ConformanceError(f"numbers may be (R, 1) arrays, but with them: {error}") from error
        for r, rate in enumerate(rates[:, 0]):
            member = theta[r : r + 1], grads[:, r : r + 1], float(rate)
            alone, _ = _walk(optimizer, *member)
            require(
                np.array_equal(stack[r], alone[0]), f"with (R, 1) rates member {r} differs from the run alone"
            )
            alone, _ = _walk(each[r], *member)
            require(
                np.array_equal(arrays[r], alone[0]), f"with (R, 1) hyperparameters member {r} differs ({dtype})"
            )


def check_rate(plugin: Plugin) -> None:
    """The step follows the `lr` that it is given, which a schedule has changed, and not the plugin's own."""
    optimizer = _optimizer(plugin)
    theta, grads = _problem()
    lr = float(optimizer.lr)
    full, half = (_walk(optimizer, theta, grads, lr=rate)[0] for rate in (lr, lr / 2))
    require(not np.array_equal(full, half), "half the `lr` that step is given must make another step")
    other, _ = _walk(dataclasses.replace(optimizer, lr=3 * lr), theta, grads, lr=lr)
    require(np.array_equal(full, other), "step must use the `lr` that it is given, not self.lr")


def check_dtype(plugin: Plugin) -> None:
    """Float32 stays float32, and near the float64 trajectory."""
    optimizer = _optimizer(plugin)
    theta, grads = _problem()
    low, state = _walk(optimizer, theta.astype(np.float32), grads.astype(np.float32))
    high, _ = _walk(optimizer, theta, grads)
    require(
        low.dtype == np.float32 and all(each.dtype == np.float32 for each in state), "float32 must stay float32"
    )
    moved = np.abs(high - theta).max()
    require(np.abs(low - high).max() < 1e-3 * moved + 1e-6, "float32 and float64 trajectories must be near")


def check_zero_gradient(plugin: Plugin) -> None:
    """A zero gradient gives finite numbers, at the first step and after others."""
    optimizer = _optimizer(plugin)
    theta, grads = _problem()
    for at in (0, 3):
        own = grads.copy()
        own[at:] = 0
        moved, _ = _walk(optimizer, theta, own)
        require(
            np.isfinite(moved).all(), f"a zero gradient from step {at + 1} on gives numbers that are not finite"
        )


def check_extremes(plugin: Plugin) -> None:
    """Gradients of any size that training meets, early and late, give finite numbers and no warning."""
    optimizer = _optimizer(plugin)
    for dtype, size, t in itertools.product(DTYPES, (0.0, 1e-30, 1e15), (1, 1_000_000)):
        theta, grads = _problem(dtype)
        moved, state, at = theta.copy(), _state(optimizer, theta), f"gradients of size {size:g} at step {t}"
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
    optimizer = _optimizer(plugin)
    theta, grads = _problem()
    whole, _ = _walk(optimizer, theta, grads)
    half, state = _walk(optimizer, theta, grads[:3])
    kept, half = tuple(each.copy() for each in state), half.copy()
    _walk(optimizer, theta + 1, grads)  # another run in between
    for t, grad in enumerate(grads[3:], start=4):
        optimizer.step(half, grad.copy(), kept, t, optimizer.lr, np.empty_like(half))
    require(
        np.array_equal(whole, half), "a run that goes on from its theta and state differs from one in one go"
    )


def check_memory(plugin: Plugin) -> None:
    """A step allocates nothing of the parameters' size."""
    optimizer = _optimizer(plugin)
    theta = np.ones((1, 100_000))
    grad, state, work = np.ones_like(theta), _state(optimizer, theta), np.empty_like(theta)
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
