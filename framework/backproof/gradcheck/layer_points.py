"""A layer at several points: its inputs, the gradients that its backward pass returns, and the right ones."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np

from backproof.contracts import Array
from backproof.gradcheck.courses.reference import Gradients, Reference
from backproof.gradcheck.trees import Tree

#: Random inputs, and the numbers dout that each point is looked at with.
DRAWS, DOUTS = 3, 2
#: Relative difference up to which two gradients or outputs are the same; by differences they are known less well.
SAME, NEARLY = 1e-8, 1e-6
#: Numbers of the inputs up to which the gradients of a layer that no reference gives are taken by differences.
MOST_NUMBERS = 600


class AnyLayer(Protocol):
    """What is asked of a layer."""

    @property
    def theta(self) -> dict[str, Any]: ...
    @property
    def fixed(self) -> dict[str, Any]: ...
    def outputs_at(self, theta: dict[str, Any]) -> list[Array]: ...
    def gradients_at(self, theta: dict[str, Any], douts: list[Array]) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Point:
    """A layer at one point."""

    inputs: Gradients  # by tensor
    outs: list[Array]
    douts: list[Array]
    got: Gradients


@dataclass(frozen=True)
class Match:
    """A reference that gives what the layer gives, and how its inputs are called there."""

    reference: Reference
    names: Mapping[str, str]  # of the reference's inputs in the layer
    fixed: Mapping[str, Any]  # further inputs and options

    def run(self, inputs: Mapping[str, Array]) -> tuple[list[Array], Any]:
        """Return outputs and cache of the reference at the layer's inputs."""
        values = {name: inputs[theirs].copy() for name, theirs in self.names.items()}
        out, cache = self.reference.forward(**values, **self.fixed)
        return arrays(out), cache


def arrays(out: Any) -> list[Array]:
    """Return one output or several as a list."""
    several = isinstance(out, tuple | list)
    return [np.asarray(value) for value in (cast("tuple[Any, ...]", out) if several else (out,))]


def same(got: Array, expected: Array, within: float = SAME) -> bool:
    """Return whether two arrays are the same up to a part of their norm."""
    if got.shape != expected.shape or not (np.isfinite(got).all() and np.isfinite(expected).all()):
        return False
    size = max(float(np.linalg.norm(got)), float(np.linalg.norm(expected)))
    return float(np.linalg.norm(got - expected)) <= within * size


def points(layer: AnyLayer, seed: int) -> list[Point]:
    """Return the layer at its own inputs and at random ones, as far as it can be evaluated there."""
    rng = np.random.default_rng((seed, 1))
    tree = Tree(layer.theta)
    found: list[Point] = []
    for draw in range(DRAWS + 1):
        flat = tree.theta if draw == 0 else _redrawn(tree, rng)
        try:
            outs = layer.outputs_at(tree.build(flat))
            for _ in range(DOUTS):
                douts = [rng.standard_normal(out.shape) for out in outs]
                given = layer.gradients_at(tree.build(flat), [dout.copy() for dout in douts])
                got = _split(tree, tree.flat(given).astype(np.float64))
                found.append(Point(_split(tree, flat), outs, douts, got))
        # Outside of its domain a layer may raise anything; its own inputs have been looked at before.
        except Exception:  # noqa: BLE001
            continue
    return found


def _redrawn(tree: Tree, rng: np.random.Generator) -> Array:
    """Return random numbers, positive ones for a tensor that is positive."""
    flat = rng.standard_normal(len(tree.theta))
    for index in tree.tensors.values():
        if (tree.theta[index] > 0).all():
            flat[index] = np.abs(flat[index]) + 0.1
    return flat


def _split(tree: Tree, flat: Array) -> Gradients:
    return {name: flat[index] for name, index in tree.tensors.items()}


def recognized(layer: AnyLayer, known: list[Point], references: list[Reference]) -> Match | None:
    """Return the reference whose outputs are those of the layer at all points, the nearest one; None if none is."""
    best, smallest = None, SAME
    for reference in references:
        for match in _candidates(layer, known, reference):
            error = _error(match, known, smallest)
            if error < smallest:
                best, smallest = match, error
    return best


def _error(match: Match, known: list[Point], enough: float) -> float:
    """Return the largest relative difference of the outputs, or infinity where it is beyond `enough`."""
    largest = 0.0
    for point in known[::DOUTS]:
        try:
            with np.errstate(all="ignore"):
                outs = match.run(point.inputs)[0]
        except (ValueError, IndexError, TypeError, ZeroDivisionError):
            return np.inf
        if [out.shape for out in outs] != [out.shape for out in point.outs]:
            return np.inf
        for out, expected in zip(outs, point.outs, strict=True):
            size = float(np.linalg.norm(expected)) or 1.0
            largest = max(largest, float(np.linalg.norm(out - expected)) / size)
        if not largest < enough:
            return np.inf
    return largest


def _candidates(layer: AnyLayer, known: list[Point], reference: Reference) -> Iterator[Match]:
    """Yield the ways in which the inputs of a layer can be those of a reference."""
    tensors = known[0].inputs
    inputs = list(reference.formulas)
    fixed = {name: layer.fixed[name] for name in reference.indices if name in layer.fixed}
    unnamed = [value for value in layer.fixed.values() if _is_integer_array(value)]
    fixed.update(zip([name for name in reference.indices if name not in fixed], unnamed, strict=False))
    if reference.infer is not None and len(tensors) == 1:
        point = known[-1]
        (x,) = point.inputs.values()
        fixed.update(reference.infer(x, point.outs[0]) or {})
    if any(name not in fixed for name in reference.indices):
        return
    missing = len(inputs) - len(tensors)
    optional = [name for name in inputs if name in reference.defaults or name in layer.fixed]
    if missing < 0 or missing > len(optional):
        return
    options = {
        name: ((layer.fixed[name],) if _is_option(layer.fixed.get(name)) else ()) + values
        for name, values in reference.options.items()
    }
    for absent in itertools.combinations(optional, missing):
        rest = {name: layer.fixed.get(name, reference.defaults.get(name)) for name in absent}
        present = [name for name in inputs if name not in absent]
        for order in sorted(itertools.permutations(tensors), key=lambda order: _unlike(present, order)):
            names = dict(zip(present, order, strict=True))
            if any(tensors[names[name]].ndim != axes for name, axes in reference.axes.items() if name in names):
                continue
            for values in itertools.product(*options.values()):
                yield Match(reference, names, {**fixed, **rest, **dict(zip(options, values, strict=True))})


def _unlike(ours: list[str], theirs: tuple[str, ...]) -> int:
    """Return how many names differ."""
    return sum(a.lower() != b.lower() for a, b in zip(ours, theirs, strict=True))


def _is_integer_array(value: Any) -> bool:
    return isinstance(value, np.ndarray) and cast("Array", value).dtype.kind in "iu"


def _is_option(value: Any) -> bool:
    return isinstance(value, int | float | str)


def by_differences(layer: AnyLayer, point: Point) -> Gradients | None:
    """Return the right gradients at a point by central differences; None where there are too many numbers."""
    tree = Tree(layer.theta)
    flat = np.concatenate([array.ravel() for array in point.inputs.values()])
    if len(flat) > MOST_NUMBERS:
        return None

    def loss(at: Array) -> float:
        outs = layer.outputs_at(tree.build(at))
        return sum(float((out * dout).sum()) for out, dout in zip(outs, point.douts, strict=True))

    slopes = np.empty_like(flat)
    for i in range(len(flat)):
        slopes[i] = _slope(loss, flat, i, 1e-3 * max(abs(flat[i]), 0.1))
    return _split(tree, slopes)


def _slope(loss: Callable[[Array], float], flat: Array, i: int, h: float) -> float:
    """Return the derivative by one number, from differences over h and h/2."""
    step = np.zeros_like(flat)
    step[i] = h
    wide = (loss(flat + step) - loss(flat - step)) / (2 * h)
    narrow = (loss(flat + step / 2) - loss(flat - step / 2)) / h
    return (4 * narrow - wide) / 3
