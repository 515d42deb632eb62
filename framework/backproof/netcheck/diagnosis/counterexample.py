"""The smallest network with small integers on which a wrong gradient shows, to be worked through by hand."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from backproof.contracts import Array, Trace
from backproof.netcheck.diagnosis.backward import NONE, Backward, Mistakes, plain_gradients
from backproof.netcheck.diagnosis.case import Case

#: Return the trace and the derivation's gradients of a network of any size, from its parameters W1 (H, D), b1 (H,),
#: ..., x (N, D) and y (N, K); None if the derivation cannot be evaluated.
Evaluate = Callable[[dict[str, Array], Array, Array], "tuple[Trace, Mapping[str, Array]] | None"]

#: For each size, integers are drawn up to DRAWS times, until CANDIDATES points show a mistake.
DRAWS, CANDIDATES = 30, 6
#: The smallest difference between a right and a wrong entry.
LEAST_ERROR = 1e-3


@dataclass(frozen=True)
class Counterexample:
    """One entry of a gradient, with all that it is computed from. Units and samples are counted from 0."""

    tensor: str
    index: tuple[int, ...]
    right: float
    given: float
    sizes: tuple[int, ...]
    N: int
    values: Mapping[str, Any]  # x, W1, b1, a1, h1, phi'(a1), ..., z, p, y, delta2, ...: nested lists

    @property
    def entry(self) -> str:
        return f"{self.tensor}[{', '.join(map(str, self.index))}]"

    @property
    def size(self) -> str:
        """Return `D = 2, H = 1, K = 2, N = 1`."""
        D, *hidden, K = self.sizes
        H = f"H = {', '.join(map(str, hidden))}, " if hidden else ""
        return f"D = {D}, {H}K = {K}, N = {self.N}"

    def rows(self) -> list[tuple[str, str]]:
        """Return every array by name, and finally the entry of the gradient."""
        return [
            *((name, _format(value)) for name, value in self.values.items()),
            (f"right ∂Err/∂{self.entry}", _format(self.right)),
            (f"given ∂Err/∂{self.entry}", _format(self.given)),
        ]

    def lines(self) -> list[str]:
        """Return the example as text, one array per line."""
        rows = self.rows()
        width = max(len(name) for name, _ in rows)
        return [
            f"smallest example found: {self.size}",
            *(f"  {name:<{width}} = {value}" for name, value in rows),
        ]


def _format(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_format(item) for item in cast("list[Any]", value)) + "]"
    return f"{value + 0.0:.6g}"


@dataclass(frozen=True)
class _Point:
    """Parameters and data of a tiny network."""

    params: Mapping[str, Array]
    x: Array
    y: Array

    def numbers(self) -> list[Array]:
        return [*self.params.values(), self.x]

    @property
    def size(self) -> float:
        return sum(float(np.abs(array).sum()) for array in self.numbers())


def counterexample(
    evaluate: Evaluate, cases: Sequence[Case], tensors: Sequence[str], mistakes: Mapping[str, Mistakes]
) -> Counterexample | None:
    """Return the smallest network found on which one of these tensors is wrong, preferring the first ones.

    mistakes  those found in each tensor; if possible, the example shows each of them
    """
    # The value of a replaced entry is known for the cases only.
    mistakes = {
        tensor: frozenset(fault for fault in faults if not fault.kind.endswith("_entry"))
        for tensor, faults in mistakes.items()
    }
    visibility = _Visibility(evaluate, tensors, mistakes)
    if max(len(mistakes.get(tensor, ())) for tensor in tensors) > 1:
        example = _smallest(visibility, cases)
        if example is not None:
            return example
    return _smallest(_Visibility(evaluate, tensors, {}), cases, mistakes)


def _smallest(
    visibility: _Visibility, cases: Sequence[Case], mistakes: Mapping[str, Mistakes] | None = None
) -> Counterexample | None:
    rng = np.random.default_rng(0)
    for sizes, N in _sizes(cases):
        candidates: list[tuple[_Point, str]] = []
        for _ in range(DRAWS):
            point = _draw(rng, sizes, N, cases)
            wrong = visibility(point)
            if wrong is None:
                break
            if wrong:
                tensor = wrong[0]
                candidates.append((_shrink(visibility, point, tensor), tensor))
            if len(candidates) == CANDIDATES:
                break
        if candidates:
            point, tensor = min(candidates, key=lambda pair: (visibility.tensors.index(pair[1]), pair[0].size))
            faults = (visibility.mistakes if mistakes is None else mistakes).get(tensor, NONE)
            return _work_through(visibility, point, tensor, sizes, faults)
    return None


def _sizes(cases: Sequence[Case]) -> Iterator[tuple[tuple[int, ...], int]]:
    """Yield sizes (D, H1, ..., K) and N of tiny networks, the smallest first."""
    depth, K = cases[0].depth, cases[0].trace.z.shape[1]
    outputs = sorted({min(count, K) for count in (2, 3)})
    choices: list[Sequence[int]] = [*[(1, 2)] * depth, outputs, (1, 2, 3)]
    for *sizes, N in sorted(itertools.product(*choices), key=lambda choice: (sum(choice), choice)):
        yield tuple(sizes), N


def _draw(rng: np.random.Generator, sizes: tuple[int, ...], N: int, cases: Sequence[Case]) -> _Point:
    params: dict[str, Array] = {}
    for layer, (n, out) in enumerate(itertools.pairwise(sizes), start=1):
        params[f"W{layer}"] = rng.integers(-2, 3, (out, n)).astype(np.float64)
        params[f"b{layer}"] = rng.integers(-2, 3, out).astype(np.float64)
    x = rng.integers(-2, 3, (N, sizes[0])).astype(np.float64)
    return _Point(params, x, _targets(rng, N, sizes[-1], cases))


def _targets(rng: np.random.Generator, N: int, K: int, cases: Sequence[Case]) -> Array:
    """Return targets of the same kind as those of the cases: one class, 0 or 1 for each output, or numbers."""
    y = np.concatenate([case.trace.y for case in cases])
    if ((y >= 0) & (y <= 1)).all():
        if y.shape[1] > 1 and np.allclose(y.sum(1), 1):
            return np.eye(K)[rng.integers(0, K, N)]
        return rng.integers(0, 2, (N, K)).astype(np.float64)
    return rng.integers(-2, 3, (N, K)).astype(np.float64)


class _Visibility:
    """Decides whether a mistake is visible at a point, and in which tensor and entry."""

    def __init__(self, evaluate: Evaluate, tensors: Sequence[str], mistakes: Mapping[str, Mistakes]) -> None:
        self.evaluate, self.mistakes = evaluate, mistakes
        most = max((len(faults) for faults in mistakes.values()), default=0)
        self.tensors = [tensor for tensor in tensors if len(mistakes.get(tensor, ())) == most or not mistakes]

    def gradients(self, point: _Point) -> tuple[Backward, Mapping[str, Array]] | None:
        """Return the right backward pass and the derivation's gradients; None if it cannot be evaluated."""
        evaluated = self.evaluate(dict(point.params), point.x, point.y)
        if evaluated is None:
            return None
        trace, gradients = evaluated
        return Backward(Case(trace, gradients, plain_gradients(trace))), gradients

    def __call__(self, point: _Point) -> tuple[str, tuple[int, ...]] | tuple[()] | None:
        """Return the first wrong tensor and its entry; () if none is wrong, None if it cannot be evaluated."""
        computed = self.gradients(point)
        if computed is None:
            return None
        backward, gradients = computed
        # Most kinks are at 0, where either slope is right.
        if any((backward.trace.a[layer] == 0).any() for layer in range(1, backward.depth)):
            return ()
        for tensor in self.tensors:
            gap = self._gap(backward, tensor, gradients[tensor])
            if gap.max() > LEAST_ERROR:
                index = np.unravel_index(int(np.argmax(gap)), gap.shape)
                return tensor, tuple(int(i) for i in index)
        return ()

    def _gap(self, backward: Backward, tensor: str, gradient: Array) -> Array:
        """Return the error of each entry, or its change without one of the mistakes if that is smaller."""
        gap = np.abs(np.nan_to_num(gradient) - backward.case.expected[tensor])
        mistakes = self.mistakes.get(tensor, NONE)
        for mistake in mistakes if len(mistakes) > 1 else ():
            without = backward.gradient(tensor, mistakes - {mistake})
            gap = gap * 0 if without is None else np.minimum(gap, np.abs(np.nan_to_num(without - gradient)))
        return gap


def _shrink(visibility: _Visibility, point: _Point, tensor: str) -> _Point:
    """Move each integer of the point as close to 0 as the mistake remains visible."""
    for i in range(len(point.numbers())):
        for index in np.ndindex(point.numbers()[i].shape):
            value = float(point.numbers()[i][index])
            for smaller in (0.0, float(np.sign(value))):
                if abs(smaller) >= abs(value):
                    break
                changed = _with_entry(point, i, index, smaller)
                wrong = visibility(changed)
                if wrong and wrong[0] == tensor:
                    point = changed
                    break
    return point


def _with_entry(point: _Point, i: int, index: tuple[int, ...], value: float) -> _Point:
    numbers = [array.copy() for array in point.numbers()]
    numbers[i][index] = value
    *params, x = numbers
    return dataclasses.replace(point, params=dict(zip(point.params, params, strict=True)), x=x)


def _work_through(
    visibility: _Visibility, point: _Point, tensor: str, sizes: tuple[int, ...], mistakes: Mistakes
) -> Counterexample | None:
    """Return the example with all intermediate arrays, or None if a second evaluation does not show the mistake."""
    computed, wrong = visibility.gradients(point), visibility(point)
    if computed is None or not wrong:
        return None
    backward, gradients = computed
    index = wrong[1]
    # A derivation that keeps state between calls may be right the second time.
    if abs(backward.case.expected[tensor][index] - np.nan_to_num(gradients[tensor][index])) <= LEAST_ERROR:
        return None
    # If the mistakes give the derivation's result, they also give its steps.
    explained = backward.gradient(tensor, mistakes)
    if explained is None or not np.allclose(explained, gradients[tensor], 1e-9, 1e-12):
        mistakes = NONE
    values = {name: array.tolist() for name, array in _steps(backward, point, mistakes).items()}
    right, wrong_value = float(backward.case.expected[tensor][index]), float(gradients[tensor][index])
    return Counterexample(tensor, index, right, wrong_value, sizes, len(point.x), values)


def _steps(backward: Backward, point: _Point, mistakes: Mistakes) -> dict[str, Array]:
    """Return every array from x to the last ∂Err/∂a, and as `given ...` those that the mistakes change."""
    trace, depth = backward.trace, backward.depth
    values: dict[str, Array] = {"x": point.x, "y": point.y}
    for layer in range(1, depth + 1):
        values |= {f"W{layer}": trace.W[layer], f"b{layer}": trace.b[layer]}
        if layer < depth:
            a = trace.a[layer]
            values |= {f"a{layer}": a, f"h{layer}": trace.h[layer], f"φ'(a{layer})": trace.dphi(a)}
            values |= _if_different(f"φ'(a{layer})", backward.slope(layer, mistakes), trace.dphi(a))
    values |= {"z": trace.z, "p": trace.p}
    for layer in range(depth, 0, -1):
        name, delta = "∂Err/∂z" if layer == depth else f"∂Err/∂a{layer}", backward.delta(layer, NONE)
        if delta is not None:
            values |= {name: delta} | _if_different(name, backward.delta(layer, mistakes), delta)
    return values


def _if_different(name: str, array: Array | None, right: Array) -> dict[str, Array]:
    if array is None or (array.shape == right.shape and np.allclose(array, right, 1e-9, 1e-12)):
        return {}
    return {f"given {name}": array}
