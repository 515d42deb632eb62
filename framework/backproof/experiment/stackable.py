"""Which experiments may be trained as one stack, and how their plugins are combined into one.

The points of a stack may differ in those numbers of optimizer and penalty that may be (R, 1) arrays. Whether a
plugin takes arrays is measured here, once for each class; the conformance suite runs the same checks.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

from backproof.contracts import Array, Optimizer, Penalty, Plugin
from backproof.contracts.errors import ConformanceError, InvalidValue, require
from backproof.contracts.fields import type_hints
from backproof.experiment.experiment import PreparedExperiment

AnyPlugin = TypeVar("AnyPlugin", bound=Plugin)

#: Members of the stacks that the checks evaluate, and the dtypes they run in.
R = 3
DTYPES = (np.float32, np.float64)


def stacking_key(prepared: PreparedExperiment) -> tuple[Any, ...]:
    """Return a key that is equal for experiments that can be trained as one stack.

    Such experiments differ only in seeds, initial weights, and those numbers of optimizer and penalty that may be
    (R, 1) arrays.
    """
    experiment = prepared.experiment
    optimizer, penalty = experiment.optimizer, experiment.penalty
    return (
        id(prepared.data),
        prepared.net,
        prepared.metrics,
        experiment.train,
        experiment.schedule,
        experiment.gradcheck,
        experiment.run.repeats,
        (type(optimizer), optimizer.slots, _fixed(optimizer)),
        (type(penalty), penalty.null, penalty.biases, _fixed(penalty)),
    )


def stack_plugins(plugins: Sequence[AnyPlugin], repeats: int) -> AnyPlugin:
    """Return one plugin for a stack with `repeats` members per plugin: numbers that differ become (R, 1) arrays."""
    arrays: dict[str, Array] = {}
    for field in dataclasses.fields(plugins[0]):
        values = [getattr(plugin, field.name) for plugin in plugins]
        if any(value != values[0] for value in values):
            arrays[field.name] = np.repeat(np.array(values, dtype=np.float64), repeats)[:, None]
    return dataclasses.replace(plugins[0], **arrays) if arrays else plugins[0]


def _fixed(plugin: Plugin) -> list[Any]:
    """Return the hyperparameters that must be equal within a stack."""
    varying = _varying(plugin)
    return [getattr(plugin, field.name) for field in dataclasses.fields(plugin) if field.name not in varying]


def _varying(plugin: Plugin) -> list[str]:
    """Return the names of the hyperparameters that may differ within a stack."""
    hints = type_hints(type(plugin))
    names = [field.name for field in dataclasses.fields(plugin) if hints[field.name] is float]
    return names if names and _takes_arrays(type(plugin)) else []


@functools.cache
def _takes_arrays(cls: type[Plugin]) -> bool:
    """Return whether a plugin class takes (R, 1) hyperparameters. One that does not is trained by itself."""
    check = check_rates_of_a_stack if issubclass(cls, Optimizer) else check_per_member
    try:
        for example in cls.examples():
            check(cls(**example))
    except ConformanceError:
        return False
    return True


def check_rates_of_a_stack(plugin: Plugin) -> None:
    """(R, 1) learning rates and hyperparameters give each member the bits of its own number."""
    optimizer = require_kind(plugin, Optimizer)
    rates = np.array([[0.3], [0.01], [0.002]])
    stacked, members = with_member_values(optimizer)
    for dtype in DTYPES:
        theta, grads = descent_problem(dtype)
        try:
            with_rates, _ = descend(optimizer, theta, grads, lr=rates)
            with_arrays, _ = descend(stacked, theta, grads, lr=rates)
        except (TypeError, ValueError) as error:
            raise ConformanceError(f"numbers may be (R, 1) arrays, but with them: {error}") from error
        for r, rate in enumerate(rates[:, 0]):
            member = theta[r : r + 1], grads[:, r : r + 1], float(rate)
            alone, _ = descend(optimizer, *member)
            require(
                np.array_equal(with_rates[r], alone[0]),
                f"with (R, 1) rates member {r} differs from the run alone",
            )
            alone, _ = descend(members[r], *member)
            require(
                np.array_equal(with_arrays[r], alone[0]),
                f"with (R, 1) hyperparameters member {r} differs ({np.dtype(dtype)})",
            )


def check_per_member(plugin: Plugin) -> None:
    """A number may be an (R, 1) array: each member gets, bit for bit, what its own number gives it alone."""
    stacked, members = with_member_values(require_kind(plugin, Penalty))
    for dtype in DTYPES:
        try:
            for name, r in penalty_differences(dtype, stacked, members):
                raise ConformanceError(
                    f"{name} of member {r} with (R, 1) numbers must equal what its own number gives alone "
                    f"({np.dtype(dtype)})"
                )
        except (TypeError, ValueError) as error:
            raise ConformanceError(f"numbers may be (R, 1) arrays, but with them: {error}") from error


def require_kind(plugin: Plugin, kind: type[AnyPlugin]) -> AnyPlugin:
    """Return `plugin` if it is of the kind whose base class is `kind`, else raise ConformanceError."""
    if not isinstance(plugin, kind):
        article = "an" if kind.__name__[0] in "AEIOU" else "a"
        raise ConformanceError(f"expected {article} {kind.__name__}, got {type(plugin).__name__}")
    return plugin


def with_member_values(plugin: AnyPlugin) -> tuple[AnyPlugin, list[AnyPlugin]]:
    """Return the plugin with (R, 1) arrays in place of its numbers, and the R plugins that these stand for."""
    numbers = {
        field.name: value
        for field in dataclasses.fields(plugin)
        if isinstance(value := getattr(plugin, field.name), float)
    }
    # Equal numbers for all, where the others would be out of bounds.
    for factors in ((1.0, 0.7, 0.3), (1.0, 1.0, 1.0)):
        rows = [{name: value * factor for name, value in numbers.items()} for factor in factors]
        arrays: dict[str, Any] = {name: np.array([[row[name]] for row in rows]) for name in numbers}
        try:
            members = [dataclasses.replace(plugin, **row) for row in rows]
            return dataclasses.replace(plugin, **arrays), members
        except InvalidValue:
            continue
    raise ConformanceError(f"its numbers cannot be (R, 1) arrays: {', '.join(numbers)}")


def descent_problem(dtype: Any = np.float64, P: int = 11, T: int = 6) -> tuple[Array, Array]:
    """Return random parameters (R, P), and the gradients (T, R, P) of T steps."""
    rng = np.random.default_rng(0)
    return rng.standard_normal((R, P)).astype(dtype), rng.standard_normal((T, R, P)).astype(dtype)


def initial_state(optimizer: Optimizer, theta: Array) -> tuple[Array, ...]:
    """Return the state arrays of an optimizer before its first step."""
    return tuple(np.full_like(theta, optimizer.initial(slot)) for slot in optimizer.slots)


def descend(
    optimizer: Optimizer, theta: Array, grads: Array, lr: Any = None, cuts: tuple[int, ...] = ()
) -> tuple[Array, tuple[Array, ...]]:
    """Return theta and state after one step per gradient of `grads` (T, R, P), made in blocks cut at these columns.

    The work array is full of NaN, so that reading it before writing shows.
    """
    theta = theta.copy()
    state = initial_state(optimizer, theta)
    rate = optimizer.lr if lr is None else lr
    for t, grad in enumerate(grads, start=1):
        for start, stop in itertools.pairwise((0, *cuts, theta.shape[1])):
            block = np.ascontiguousarray(theta[:, start:stop])
            slots = tuple(np.ascontiguousarray(slot[:, start:stop]) for slot in state)
            optimizer.step(block, grad[:, start:stop].copy(), slots, t, rate, np.full_like(block, np.nan))
            theta[:, start:stop] = block
            for whole, part in zip(state, slots, strict=True):
                whole[:, start:stop] = part
    return theta, state


def random_parameters(
    dtype: type[np.floating] = np.float64, rows: int = R, columns: int = 20, seed: int = 0
) -> Array:
    """Return random parameters (rows, columns), of sizes from 0.01 to 10."""
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((rows, columns)) * np.logspace(-2, 1, columns)).astype(dtype)


def penalty_mask(dtype: type[np.floating] = np.float64, columns: int = 20) -> Array:
    """Return a mask (columns,) that leaves out every third parameter."""
    return (np.arange(columns) % 3 != 0).astype(dtype)


def penalty_gradient(penalty: Penalty, theta: Array, mask: Array, grad: Array | None = None) -> Array:
    """Return `grad` (or zeros) with the penalty's gradient added. Its work array is full of NaN."""
    grad = np.zeros_like(theta) if grad is None else grad.copy()
    penalty.gradient(theta, mask, grad, np.full_like(theta, np.nan))
    return grad


def penalty_differences(
    dtype: type[np.floating], stacked: Penalty, members: Sequence[Penalty]
) -> Iterator[tuple[str, int]]:
    """Yield (method, member) wherever a member of the stack differs from the same member alone."""
    theta, mask, before = random_parameters(dtype), penalty_mask(dtype), random_parameters(dtype, seed=1)
    value, grad = stacked.value(theta, mask), penalty_gradient(stacked, theta, mask, before)
    for r, member in enumerate(members):
        row = slice(r, r + 1)
        alone = member.value(theta[row], mask)
        if value.dtype != alone.dtype or value[r] != alone[0]:
            yield "value", r
        if not np.array_equal(grad[row], penalty_gradient(member, theta[row], mask, before[row])):
            yield "gradient", r
