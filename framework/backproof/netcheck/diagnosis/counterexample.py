"""The smallest network of small integers on which a wrong gradient shows, to be worked by hand."""

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

#: The trace and the derivation's gradients of a network of any sizes at parameters W1 (H, D), b1 (H,), ...,
#: x (N, D) and y (N, K); None where the derivation cannot be evaluated there.
Evaluate = Callable[[dict[str, Array], Array, Array], "tuple[Trace, Mapping[str, Array]] | None"]

#: Integers are drawn so often for each size, until so many points are found.
DRAWS, ENOUGH = 30, 6
#: A right and a given entry must differ by more than this.
SHOWS = 1e-3


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
        """`D = 2, H = 1, K = 2, N = 1`."""
        D, *hidden, K = self.sizes
        H = f"H = {', '.join(map(str, hidden))}, " if hidden else ""
        return f"D = {D}, {H}K = {K}, N = {self.N}"

    def rows(self) -> list[tuple[str, str]]:
        """Every array by its name, and the entry of the gradient at last."""
        return [
            *((name, _shown(value)) for name, value in self.values.items()),
            (f"right ∂Err/∂{self.entry}", _shown(self.right)),
            (f"given ∂Err/∂{self.entry}", _shown(self.given)),
        ]

    def lines(self) -> list[str]:
        """As text, one array a line."""
        rows = self.rows()
        wide = max(len(name) for name, _ in rows)
        return [
            f"smallest example found: {self.size}",
            *(f"  {name:<{wide}} = {value}" for name, value in rows),
        ]


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_shown(each) for each in cast("list[Any]", value)) + "]"
    return f"{value + 0.0:.6g}"


@dataclass(frozen=True)
class _Point:
    params: Mapping[str, Array]
    x: Array
    y: Array

    def numbers(self) -> list[Array]:
        return [*self.params.values(), self.x]

    @property
    def size(self) -> float:
        return sum(float(np.abs(each).sum()) for each in self.numbers())


def counterexample(
    evaluate: Evaluate, cases: Sequence[Case], tensors: Sequence[str], made: Mapping[str, Mistakes]
) -> Counterexample | None:
    """The smallest network found on which the gradient of one of these tensors is wrong, the first of them first.

    made    the mistakes that were found in each tensor: if one can be found, the example shows each of them
    """
    # An entry that was replaced has its numbers at the cases only.
    made = {name: frozenset(m for m in each if not m.kind.endswith("_entry")) for name, each in made.items()}
    shows = _Shows(evaluate, tensors, made)
    if max(len(made.get(tensor, ())) for tensor in tensors) > 1:
        found = _found(shows, cases)
        if found is not None:
            return found
    return _found(_Shows(evaluate, tensors, {}), cases, made)


def _found(
    shows: _Shows, cases: Sequence[Case], made: Mapping[str, Mistakes] | None = None
) -> Counterexample | None:
    rng = np.random.default_rng(0)
    for sizes, N in _sizes(cases):
        found: list[tuple[_Point, str]] = []
        for _ in range(DRAWS):
            point = _drawn(rng, sizes, N, cases)
            shown = shows(point)
            if shown is None:
                break
            if shown:
                tensor = shown[0]
                found.append((_shrunk(shows, point, tensor), tensor))
            if len(found) == ENOUGH:
                break
        if found:
            point, tensor = min(found, key=lambda each: (shows.tensors.index(each[1]), each[0].size))
            return _worked(
                shows, point, tensor, sizes, (shows.made if made is None else made).get(tensor, NONE)
            )
    return None


def _sizes(cases: Sequence[Case]) -> Iterator[tuple[tuple[int, ...], int]]:
    """Sizes (D, H1, ..., K) and N of tiny networks, the smallest first."""
    depth, K = cases[0].depth, cases[0].trace.z.shape[1]
    outputs = sorted({min(each, K) for each in (2, 3)})
    choices: list[Sequence[int]] = [*[(1, 2)] * depth, outputs, (1, 2, 3)]
    for each in sorted(itertools.product(*choices), key=lambda each: (sum(each), each)):
        yield each[:-1], each[-1]


def _drawn(rng: np.random.Generator, sizes: tuple[int, ...], N: int, cases: Sequence[Case]) -> _Point:
    params: dict[str, Array] = {}
    for layer, (n, out) in enumerate(itertools.pairwise(sizes), start=1):
        params[f"W{layer}"] = rng.integers(-2, 3, (out, n)).astype(np.float64)
        params[f"b{layer}"] = rng.integers(-2, 3, out).astype(np.float64)
    x = rng.integers(-2, 3, (N, sizes[0])).astype(np.float64)
    return _Point(params, x, _targets(rng, N, sizes[-1], cases))


def _targets(rng: np.random.Generator, N: int, K: int, cases: Sequence[Case]) -> Array:
    """Targets of the kind that the cases have: one class, 0 or 1 for each output, or numbers."""
    y = np.concatenate([case.trace.y for case in cases])
    if ((y >= 0) & (y <= 1)).all():
        if y.shape[1] > 1 and np.allclose(y.sum(1), 1):
            return np.eye(K)[rng.integers(0, K, N)]
        return rng.integers(0, 2, (N, K)).astype(np.float64)
    return rng.integers(-2, 3, (N, K)).astype(np.float64)


class _Shows:
    """Whether a mistake shows at a point, in which tensor and in which entry."""

    def __init__(self, evaluate: Evaluate, tensors: Sequence[str], made: Mapping[str, Mistakes]) -> None:
        self.evaluate, self.made = evaluate, made
        most = max((len(each) for each in made.values()), default=0)
        self.tensors = [each for each in tensors if len(made.get(each, ())) == most or not made]

    def gradients(self, point: _Point) -> tuple[Backward, Mapping[str, Array]] | None:
        """The right backward pass there, and what the derivation gives; None where it cannot be evaluated."""
        evaluated = self.evaluate(dict(point.params), point.x, point.y)
        if evaluated is None:
            return None
        trace, given = evaluated
        right = plain_gradients(trace)
        return Backward(Case(trace, given, right)), given

    def __call__(self, point: _Point) -> tuple[str, tuple[int, ...]] | tuple[()] | None:
        """The first tensor that is wrong there, and the entry; () where none is."""
        computed = self.gradients(point)
        if computed is None:
            return None
        own, given = computed
        # At 0 most kinks lie, where either slope is right.
        if any((own.trace.a[layer] == 0).any() for layer in range(1, own.depth)):
            return ()
        for tensor in self.tensors:
            gap = self._gap(own, tensor, given[tensor])
            if gap.max() > SHOWS:
                at = np.unravel_index(int(np.argmax(gap)), gap.shape)
                return tensor, tuple(int(each) for each in at)
        return ()

    def _gap(self, own: Backward, tensor: str, given: Array) -> Array:
        """How far each entry is off, or how far it moves without one of its mistakes, if that is less."""
        gap = np.abs(np.nan_to_num(given) - own.case.expected[tensor])
        mistakes = self.made.get(tensor, NONE)
        for one in mistakes if len(mistakes) > 1 else ():
            without = own.gradient(tensor, mistakes - {one})
            gap = gap * 0 if without is None else np.minimum(gap, np.abs(np.nan_to_num(without - given)))
        return gap


def _shrunk(shows: _Shows, point: _Point, tensor: str) -> _Point:
    """The point with each integer as near to 0 as the mistake lets it be."""
    for which in range(len(point.numbers())):
        for at in np.ndindex(point.numbers()[which].shape):
            now = float(point.numbers()[which][at])
            for smaller in (0.0, float(np.sign(now))):
                if abs(smaller) >= abs(now):
                    break
                other = _with(point, which, at, smaller)
                shown = shows(other)
                if shown and shown[0] == tensor:
                    point = other
                    break
    return point


def _with(point: _Point, which: int, at: tuple[int, ...], value: float) -> _Point:
    numbers = [each.copy() for each in point.numbers()]
    numbers[which][at] = value
    *params, x = numbers
    return dataclasses.replace(point, params=dict(zip(point.params, params, strict=True)), x=x)


def _worked(
    shows: _Shows, point: _Point, tensor: str, sizes: tuple[int, ...], mistakes: Mistakes
) -> Counterexample | None:
    computed, shown = shows.gradients(point), shows(point)
    if computed is None or not shown:
        return None
    own, given = computed
    # A derivation that keeps something from call to call may be right at the second one.
    if abs(own.case.expected[tensor][shown[1]] - np.nan_to_num(given[tensor][shown[1]])) <= SHOWS:
        return None
    # With the mistakes that were found, the steps of the derivation are known too, if they give what it gave.
    made = own.gradient(tensor, mistakes)
    if made is None or not np.allclose(made, given[tensor], 1e-9, 1e-12):
        mistakes = NONE
    plain = {name: each.tolist() for name, each in _steps(own, point, mistakes).items()}
    index = shown[1]
    one, other = float(own.case.expected[tensor][index]), float(given[tensor][index])
    return Counterexample(tensor, index, one, other, sizes, len(point.x), plain)


def _steps(own: Backward, point: _Point, mistakes: Mistakes) -> dict[str, Array]:
    """Every array from x to the last ∂Err/∂a; those that the mistakes make different a second time, as `given`."""
    trace, depth = own.trace, own.depth
    values: dict[str, Array] = {"x": point.x, "y": point.y}
    for layer in range(1, depth + 1):
        values |= {f"W{layer}": trace.W[layer], f"b{layer}": trace.b[layer]}
        if layer < depth:
            a = trace.a[layer]
            values |= {f"a{layer}": a, f"h{layer}": trace.h[layer], f"φ'(a{layer})": trace.dphi(a)}
            values |= _second(f"φ'(a{layer})", own.slope(layer, mistakes), trace.dphi(a))
    values |= {"z": trace.z, "p": trace.p}
    for layer in range(depth, 0, -1):
        name, delta = "∂Err/∂z" if layer == depth else f"∂Err/∂a{layer}", own.delta(layer, NONE)
        if delta is not None:
            values |= {name: delta} | _second(name, own.delta(layer, mistakes), delta)
    return values


def _second(name: str, given: Array | None, right: Array) -> dict[str, Array]:
    if given is None or (given.shape == right.shape and np.allclose(given, right, 1e-9, 1e-12)):
        return {}
    return {f"given {name}": given}
