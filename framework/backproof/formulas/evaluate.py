"""The numbers of a formula, by NumPy.

Every value carries the letters of its axes. A sum of products becomes an einsum, contracted pair by pair along a
path that is found once for each shape. Where a factor needs an array of many axes, as dphi(W1[h,d] * x[n,d] +
b1[h]) does, the samples are taken in ranges, so that memory stays bounded whatever the batch.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from string import ascii_letters
from typing import Any

import numpy as np

from backproof.contracts import Array, Trace
from backproof.formulas.errors import FormulaError
from backproof.formulas.indices import SAMPLES, axes_of
from backproof.formulas.tree import (
    Apply,
    Entry,
    Node,
    Number,
    Power,
    Product,
    Samples,
    Sum,
    Total,
    children,
    free,
)

#: Numbers that an array on the way to a sum over samples may have: 32 MiB of float64.
ROOM = 1 << 22

#: An array with the letters of its axes; a number has none. Numbers stay Python's, which take on the arrays' dtype.
Value = tuple[Any, str]


@dataclass(frozen=True)
class Compiled:
    """A formula that passed the static check, ready for numbers."""

    node: Node
    axes: Mapping[str, int]  # of each letter
    target: str  # the letters of the tensor's axes
    depth: int

    def __call__(self, trace: Trace) -> Array:
        """The gradient at a trace. Raises FormulaError where an index is too large, or a number is none."""
        sizes = {letter: _size(trace, axis) for letter, axis in self.axes.items()}
        value = _Evaluation(self, trace, sizes, {})(self.node)
        return np.array(_aligned(value, self.target))


def compiled(node: Node, axes: Mapping[str, int], target: list[str], depth: int) -> Compiled:
    """The same with one character for each letter, as einsum wants them."""
    if len(axes) > len(ascii_letters):
        raise FormulaError(
            f"the formula has {len(axes)} letters", f"at most {len(ascii_letters)}", node.start, node.end
        )
    short = dict(zip(axes, ascii_letters, strict=False))
    return Compiled(
        _renamed(node, short), {short[k]: v for k, v in axes.items()}, "".join(short[k] for k in target), depth
    )


def too_large(node: Node, sizes: Callable[[int], int], depth: int) -> None:
    """Raise FormulaError where a whole number stands for an entry that a network of these sizes has not."""
    if isinstance(node, Entry):
        for index, axis in zip(node.indices, axes_of(node.name, depth) or (), strict=True):
            if isinstance(index.value, int) and index.value >= sizes(axis):
                raise FormulaError(
                    f"{node.name} has {sizes(axis)} entries here, counted from 0",
                    f"a whole number from 0 to {sizes(axis) - 1}",
                    index.start,
                    index.end,
                )
    for child in children(node):
        too_large(child, sizes, depth)


def _renamed(node: Node, short: Mapping[str, str]) -> Node:
    def index(each: Any) -> Any:
        return replace(each, value=short.get(each.value, each.value))

    match node:
        case Entry(indices=indices):
            return replace(node, indices=tuple(index(each) for each in indices))
        case Sum(letters=letters, body=body):
            return replace(node, letters=tuple(index(each) for each in letters), body=_renamed(body, short))
        case Apply(argument=argument):
            return replace(node, argument=_renamed(argument, short))
        case Product(factors=factors):
            return replace(node, factors=tuple((_renamed(each, short), below) for each, below in factors))
        case Total(terms=terms):
            return replace(node, terms=tuple((_renamed(each, short), minus) for each, minus in terms))
        case Power(base=base, exponent=exponent):
            return replace(node, base=_renamed(base, short), exponent=_renamed(exponent, short))
        case _:
            return node


def _size(trace: Trace, axis: int) -> int:
    if axis == SAMPLES:
        return len(trace.x)
    return trace.x.shape[1] if axis == 0 else len(trace.b[axis])


class _Evaluation:
    """The value of each node for one trace, of the samples in `ranges` where there are any."""

    def __init__(
        self, formula: Compiled, trace: Trace, sizes: dict[str, int], ranges: dict[str, slice]
    ) -> None:
        self.formula, self.trace, self.sizes, self.ranges = formula, trace, sizes, ranges

    def __call__(self, node: Node) -> Value:
        match node:
            case Number(value=value):
                return value, ""
            case Samples():
                return float(self.trace.N), ""
            case Entry():
                return self.entry(node)
            case Apply(function=function, argument=argument):
                return self.apply(node, function, self(argument))
            case Power(base=base, exponent=exponent):
                return _calculated(node, np.power, self(base), self(exponent))
            case Product(factors=factors):
                return _joined(factors, np.multiply, np.divide, (1.0, ""), self)
            case Total(terms=terms):
                return _joined(terms, np.add, np.subtract, (0.0, ""), self)
            case Sum(letters=letters, body=body):
                return self.summed("".join(str(each.value) for each in letters), body)
            case _:
                raise AssertionError(node)

    def entry(self, node: Entry) -> Value:
        trace, name = self.trace, node.name
        layer = int(name[1:] or 0)
        array: Array = getattr(trace, name[0])[layer] if name[1:] else getattr(trace, name)
        too_large(node, lambda axis: _size(trace, axis), self.formula.depth)
        index = tuple(
            each.value if isinstance(each.value, int) else self.ranges.get(each.value, slice(None))
            for each in node.indices
        )
        letters = "".join(each.value for each in node.indices if isinstance(each.value, str))
        value = array[index]
        return (value, letters) if letters else (float(value), "")

    def apply(self, node: Apply, function: str, argument: Value) -> Value:
        array, letters = argument
        if function in ("exp", "log"):
            return _calculated(node, np.exp if function == "exp" else np.log, argument)
        own = self.trace.phi if function == "phi" else self.trace.dphi
        if letters:
            return own(array), letters
        return float(own(np.array([array], dtype=self.trace.z.dtype))[0]), ""

    def summed(self, letters: str, body: Node) -> Value:
        """The sum of a body over letters, some of which may stand in parts of it only."""
        if isinstance(body, Sum):
            return self.summed(letters + "".join(str(each.value) for each in body.letters), body.body)
        if isinstance(body, Total):
            return _joined(body.terms, np.add, np.subtract, (0.0, ""), lambda term: self.summed(letters, term))
        ranged = [each for each in letters if self.formula.axes[each] == SAMPLES and each not in self.ranges]
        rows = self.rows(body, ranged[0]) if ranged else 0
        if rows and rows < self.sizes[ranged[0]]:
            return self.in_ranges(letters, body, ranged[0], rows)
        return self.contracted(letters, body)

    def rows(self, body: Node, letter: str) -> int:
        """How many samples at a time leave room for the largest array on the way."""
        most = max((math.prod(self.sizes[each] for each in axes) for axes in _widest(body)), default=1)
        return max(1, min(self.sizes[letter], ROOM * self.sizes[letter] // max(1, most)))

    def in_ranges(self, letters: str, body: Node, letter: str, rows: int) -> Value:
        total: Value = 0.0, ""
        for start in range(0, self.sizes[letter], rows):
            stop = min(start + rows, self.sizes[letter])
            part = _Evaluation(
                self.formula,
                self.trace,
                {**self.sizes, letter: stop - start},
                {**self.ranges, letter: slice(start, stop)},
            )
            total = _calculated(body, np.add, total, part.summed(letters, body))
        return total

    def contracted(self, letters: str, body: Node) -> Value:
        """A sum of products as one einsum."""
        number, operands = 1.0, list[Value]()
        for factor, below in _factors(body, below=False):
            value = self(factor)
            if below:
                value = _calculated(factor, np.divide, (1.0, ""), value)
            if value[1]:
                operands.append(value)
            else:
                number *= value[0]
        present = "".join(dict.fromkeys("".join(its for _, its in operands)))
        # What does not depend on a letter is summed as often as the letter has values.
        number *= math.prod(self.sizes[each] for each in letters if each not in present)
        out = "".join(each for each in present if each not in letters)
        if not operands:
            return number, ""
        subscripts = f"{','.join(its for _, its in operands)}->{out}"
        arrays = [array for array, _ in operands]
        path = _path(subscripts, tuple(array.shape for array in arrays))
        value = np.einsum(subscripts, *arrays, optimize=path)
        if not out:
            return float(value) * number, ""
        return (value if number == 1 else value * number), out


def _factors(node: Node, *, below: bool) -> list[tuple[Node, bool]]:
    """The factors of a product, those of products inside it as well."""
    if not isinstance(node, Product):
        return [(node, below)]
    return [each for factor, under in node.factors for each in _factors(factor, below=below != under)]


def _widest(body: Node) -> list[str]:
    """The letters of each array that is made on the way to a sum of products."""
    found: list[str] = []
    for factor, _ in _factors(body, below=False):
        if children(factor):
            found += ["".join(free(factor)), *(each for child in children(factor) for each in _widest(child))]
    return found


@functools.lru_cache(maxsize=4096)
def _path(subscripts: str, shapes: tuple[tuple[int, ...], ...]) -> Any:
    """In which order to contract. Finding it takes longer than a small contraction."""
    blanks = [np.broadcast_to(np.float64(0), shape) for shape in shapes]
    return np.einsum_path(subscripts, *blanks, optimize="optimal" if len(shapes) < 6 else "greedy")[0]


def _calculated(node: Node, function: Callable[..., Any], *values: Value) -> Value:
    """A NumPy function of values, along the letters of all of them. Raises FormulaError where a number that is
    none comes of numbers, as in a division by zero."""
    letters = "".join(dict.fromkeys("".join(its for _, its in values)))
    arrays = [_aligned(each, letters) if each[1] else each[0] for each in values]
    try:
        with np.errstate(divide="raise", over="raise", invalid="raise", under="ignore"):
            result = function(*arrays)
    except FloatingPointError as error:
        raise FormulaError(
            f"this cannot be computed: {error}", "numbers for which it is finite", node.start, node.end
        ) from None
    return (result, letters) if letters else (float(result), "")


def _joined(
    parts: Iterable[tuple[Node, bool]],
    plain: Callable[..., Any],
    inverse: Callable[..., Any],
    neutral: Value,
    value_of: Callable[[Node], Value],
) -> Value:
    """Terms added and subtracted, or factors multiplied and divided by, from left to right."""
    value: Value | None = None
    for part, inverted in parts:
        one = value_of(part)
        if value is None and not inverted:
            value = one
        else:
            value = _calculated(part, inverse if inverted else plain, value or neutral, one)
    return value or neutral


def _aligned(value: Value, letters: str) -> Array:
    """The array with an axis for each of `letters`, in their order; of length 1 for those that it has not."""
    array, own = np.asarray(value[0]), value[1]
    array = array.transpose([own.index(each) for each in letters if each in own])
    return array[tuple(slice(None) if each in own else None for each in letters)]
