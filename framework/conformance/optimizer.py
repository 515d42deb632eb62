"""What every optimizer must keep."""

from __future__ import annotations

import dataclasses
import itertools
import tracemalloc
from typing import Any

import numpy as np

from framework.conformance.base import Check, ConformanceError, require
from framework.kinds import Array, Optimizer, Plugin


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
    numbers = {
        field.name: getattr(optimizer, field.name)
        for field in dataclasses.fields(optimizer)
        if type(getattr(optimizer, field.name)) is float
    }
    for dtype in (np.float32, np.float64):
        theta, grads = _problem(dtype)
        rates = np.array([[0.3], [0.01], [0.002]])
        stack, _ = _walk(optimizer, theta, grads, lr=rates)
        every = dataclasses.replace(
            optimizer, **{name: np.full((3, 1), value) for name, value in numbers.items()}
        )
        arrays, _ = _walk(every, theta, grads, lr=rates)
        for r, rate in enumerate(rates[:, 0]):
            alone, _ = _walk(optimizer, theta[r : r + 1], grads[:, r : r + 1], lr=float(rate))
            require(
                np.array_equal(stack[r], alone[0]), f"with (R, 1) rates member {r} differs from the run alone"
            )
            require(
                np.array_equal(arrays[r], alone[0]), f"with (R, 1) hyperparameters member {r} differs ({dtype})"
            )


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
    optimizer.step(theta, grad, state, 2, optimizer.lr, work)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    require(peak < theta.nbytes / 2, f"a step allocates {peak} bytes on parameters of {theta.nbytes}")


CHECKS: tuple[Check, ...] = (
    check_descends,
    check_members,
    check_blocks,
    check_rates_of_a_stack,
    check_dtype,
    check_zero_gradient,
    check_state,
    check_memory,
)
