"""Which experiments may be trained as one stack, and how their plugins are combined into one.

The points of a stack may differ in those numbers of optimizer and penalty that may be (R, 1) arrays. Whether a
plugin takes arrays is measured here, once for each class; the conformance suite runs the same checks.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike

from backproof.contracts import Array, Optimizer, Penalty, Plugin
from backproof.contracts.errors import ConformanceError, InvalidValue, require
from backproof.contracts.fields import type_hints
from backproof.experiment.experiment import PreparedExperiment

AnyPlugin = TypeVar("AnyPlugin", bound=Plugin)
Results = Callable[..., Mapping[str, Array]]

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
    """Return whether a plugin class takes (R, 1) hyperparameters. One that does not is trained separately."""
    check = check_rates_of_a_stack if issubclass(cls, Optimizer) else check_per_member
    try:
        for example in cls.examples():
            check(cls(**example))
    except ConformanceError:
        return False
    return True


def check_rates_of_a_stack(plugin: Plugin) -> None:
    """(R, 1) learning rates and hyperparameters give each member the result it has alone, bit for bit."""
    optimizer = require_kind(plugin, Optimizer)
    rates = np.array([[0.3], [0.01], [0.002]])
    stacked, members = with_member_values(optimizer)
    for dtype in DTYPES:
        theta, grads = descent_problem(dtype)
        for name, stack, alone in (
            ("rates", optimizer, [optimizer] * R),
            ("hyperparameters", stacked, members),
        ):
            require_members_alone(
                functools.partial(_with_arrays, stack, descent_results),
                (theta, grads, rates),
                [functools.partial(descent_results, member) for member in alone],
                f" with (R, 1) {name} ({np.dtype(dtype)})",
            )


def check_per_member(plugin: Plugin) -> None:
    """A number may be an (R, 1) array: each member gets the result it has alone, bit for bit."""
    stacked, members = with_member_values(require_kind(plugin, Penalty))
    for dtype in DTYPES:
        require_members_alone(
            functools.partial(_with_arrays, stacked, penalty_results),
            (random_parameters(dtype), random_parameters(dtype, seed=1)),
            [functools.partial(penalty_results, member) for member in members],
            f" with (R, 1) numbers ({np.dtype(dtype)})",
        )


def require_members_alone(
    stack: Results, arrays: Sequence[Array], alone: Sequence[Results] = (), where: str = ""
) -> None:
    """Raise ConformanceError if a member of a stack differs in a bit from the same member computed alone.

    stack   computes the named results of the stack from arrays with one row per member
    alone   computes those of each member from its rows; the same as `stack` if it is left out
    """
    whole = stack(*arrays)
    for r in range(len(arrays[0])):
        single = (alone[r] if alone else stack)(*(array[r : r + 1] for array in arrays))
        for name, result in single.items():
            member = whole[name][r]
            require(
                member.dtype == result.dtype and np.array_equal(member, result[0]),
                f"{name} of member {r} must be the same, bit for bit, in a stack and alone{where}"
                + (f", got {member} and {result[0]}" if member.ndim == 0 else ""),
            )


def _with_arrays(plugin: Plugin, results: Results, *arrays: Array) -> Mapping[str, Array]:
    """Return the results of a plugin whose numbers are (R, 1) arrays."""
    try:
        return results(plugin, *arrays)
    except (TypeError, ValueError) as error:
        raise ConformanceError(f"numbers may be (R, 1) arrays, but with them: {error}") from error


def require_kind(plugin: Plugin, kind: type[AnyPlugin]) -> AnyPlugin:
    """Return `plugin` if it is of the kind whose base class is `kind`, else raise ConformanceError."""
    if not isinstance(plugin, kind):
        article = "an" if kind.__name__[0] in "AEIOU" else "a"
        raise ConformanceError(f"expected {article} {kind.__name__}, got {type(plugin).__name__}")
    return plugin


def with_member_values(plugin: AnyPlugin) -> tuple[AnyPlugin, list[AnyPlugin]]:
    """Return the plugin with (R, 1) arrays as hyperparameters, and the R plugins that it represents."""
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
    """Return random parameters (R, P), and the gradients (R, T, P) of T steps."""
    rng = np.random.default_rng(0)
    theta, grads = rng.standard_normal((R, P)), rng.standard_normal((T, R, P))
    return theta.astype(dtype), grads.swapaxes(0, 1).astype(dtype)


def initial_state(optimizer: Optimizer, theta: Array) -> tuple[Array, ...]:
    """Return the state arrays of an optimizer before its first step."""
    return tuple(np.full_like(theta, optimizer.initial(slot)) for slot in optimizer.slots)


def descend(
    optimizer: Optimizer, theta: Array, grads: Array, lr: Any = None, cuts: tuple[int, ...] = ()
) -> tuple[Array, tuple[Array, ...]]:
    """Return theta and state after one step per gradient of `grads` (R, T, P), made in blocks cut at these columns.

    The work array is full of NaN, so that reading it before writing shows.
    """
    theta = theta.copy()
    state = initial_state(optimizer, theta)
    rate = optimizer.lr if lr is None else lr
    for t, grad in enumerate(grads.swapaxes(0, 1), start=1):
        for start, stop in itertools.pairwise((0, *cuts, theta.shape[1])):
            block = np.ascontiguousarray(theta[:, start:stop])
            slots = tuple(np.ascontiguousarray(slot[:, start:stop]) for slot in state)
            optimizer.step(block, grad[:, start:stop].copy(), slots, t, rate, np.full_like(block, np.nan))
            theta[:, start:stop] = block
            for whole, part in zip(state, slots, strict=True):
                whole[:, start:stop] = part
    return theta, state


def descent_results(optimizer: Optimizer, theta: Array, grads: Array, lr: Array) -> dict[str, Array]:
    """Return theta after the steps of `descend`, with rates (R, 1); one member has a plain number."""
    return {"theta": descend(optimizer, theta, grads, lr=lr if len(lr) > 1 else lr.item())[0]}


def random_parameters(
    dtype: type[np.floating] = np.float64, rows: int = R, columns: int = 20, seed: int = 0
) -> Array:
    """Return random parameters (rows, columns), of sizes from 0.01 to 10."""
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((rows, columns)) * np.logspace(-2, 1, columns)).astype(dtype)


def penalty_mask(dtype: DTypeLike = np.float64, columns: int = 20) -> Array:
    """Return a mask (columns,) that leaves out every third parameter."""
    return (np.arange(columns) % 3 != 0).astype(dtype)


def penalty_gradient(penalty: Penalty, theta: Array, mask: Array, grad: Array | None = None) -> Array:
    """Return `grad` (or zeros) with the penalty's gradient added. Its work array is full of NaN."""
    grad = np.zeros_like(theta) if grad is None else grad.copy()
    penalty.gradient(theta, mask, grad, np.full_like(theta, np.nan))
    return grad


def penalty_results(penalty: Penalty, theta: Array, before: Array) -> dict[str, Array]:
    """Return value and gradient of a penalty at theta (R, P); the gradient is added to `before`."""
    mask = penalty_mask(theta.dtype)
    return {
        "value": penalty.value(theta, mask),
        "gradient": penalty_gradient(penalty, theta, mask, before),
    }
