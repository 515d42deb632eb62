"""Evaluate a formula with NumPy.

Every value carries the letters of its axes. A sum of products becomes an einsum, contracted pair by pair along a
path that is found once for each shape. If a factor needs an array with many axes, such as dphi(W1[h,d] * x[n,d] +
b1[h]), the samples are processed in ranges, so that memory is bounded for any batch size.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from string import ascii_letters
from typing import Any, cast

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

#: The maximum size of an intermediate array in a sum over samples: 32 MiB of float64.
MOST_NUMBERS = 1 << 22

#: The most numbers of a factor in all ranges, and the most products and numbers of a step of a contraction. More
#: would take minutes, or more memory than there is.
MOST_WORK, MOST_PRODUCTS, MOST_IN_STEP = 10**9, 10**11, 1 << 28

#: An array with the letters of its axes; a number has none. Numbers stay Python floats, so arrays keep their dtype.
Value = tuple[Any, str]


@dataclass(frozen=True)
class Compiled:
    """A formula that passed the static check and can be evaluated."""

    node: Node
    axes: Mapping[str, int]  # of each letter
    target: str  # the letters of the tensor's axes
    depth: int

    def __call__(self, trace: Trace) -> Array:
        """Return the gradient at a trace. Raise FormulaError if an index is too large or a result is not finite."""
        sizes = {letter: _size(trace, axis) for letter, axis in self.axes.items()}
        value = _Evaluation(self, trace, sizes, {})(self.node)
        return np.array(_aligned(value, self.target))


def compiled(node: Node, axes: Mapping[str, int], target: list[str], depth: int) -> Compiled:
    """Compile a checked formula: each index becomes a single character, as einsum requires."""
    if len(axes) > len(ascii_letters):
        raise FormulaError(
            f"the formula has {len(axes)} letters", f"at most {len(ascii_letters)}", node.start, node.end
        )
    short = dict(zip(axes, ascii_letters, strict=False))
    return Compiled(
        _renamed(node, short), {short[k]: v for k, v in axes.items()}, "".join(short[k] for k in target), depth
    )


def check_range(node: Node, sizes: Callable[[int], int], depth: int) -> None:
    """Raise FormulaError if a whole-number index is out of range for a network of these sizes."""
    if isinstance(node, Entry):
        for index, axis in zip(node.indices, axes_of(node.name, depth) or (), strict=True):
            if isinstance(index.value, int) and index.value >= sizes(axis):
                raise FormulaError(
                    f"this axis of {node.name} has {sizes(axis)} entries, counted from 0",
                    f"a whole number from 0 to {sizes(axis) - 1}",
                    index.start,
                    index.end,
                )
    for child in children(node):
        check_range(child, sizes, depth)


def _renamed(node: Node, short: Mapping[str, str]) -> Node:
    def rename(index: Any) -> Any:
        return replace(index, value=short.get(index.value, index.value))

    match node:
        case Entry(indices=indices):
            return replace(node, indices=tuple(map(rename, indices)))
        case Sum(letters=letters, body=body):
            return replace(node, letters=tuple(map(rename, letters)), body=_renamed(body, short))
        case Apply(argument=argument):
            return replace(node, argument=_renamed(argument, short))
        case Product(factors=factors):
            return replace(
                node, factors=tuple((_renamed(factor, short), inverted) for factor, inverted in factors)
            )
        case Total(terms=terms):
            return replace(node, terms=tuple((_renamed(term, short), minus) for term, minus in terms))
        case Power(base=base, exponent=exponent):
            return replace(node, base=_renamed(base, short), exponent=_renamed(exponent, short))
        case _:
            return node


def _size(trace: Trace, axis: int) -> int:
    if axis == SAMPLES:
        return len(trace.x)
    return trace.x.shape[1] if axis == 0 else len(trace.b[axis])


class _Evaluation:
    """Evaluate nodes at one trace; letters in `ranges` run over a range of the samples only."""

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
                return self.summed("".join(str(index.value) for index in letters), body)
            case _:
                raise AssertionError(node)

    def entry(self, node: Entry) -> Value:
        trace, name = self.trace, node.name
        layer = int(name[1:] or 0)
        array: Array = getattr(trace, name[0])[layer] if name[1:] else getattr(trace, name)
        check_range(node, lambda axis: _size(trace, axis), self.formula.depth)
        index = tuple(
            item.value if isinstance(item.value, int) else self.ranges.get(item.value, slice(None))
            for item in node.indices
        )
        letters = "".join(item.value for item in node.indices if isinstance(item.value, str))
        value = array[index]
        return (value, letters) if letters else (float(value), "")

    def apply(self, node: Apply, function: str, argument: Value) -> Value:
        array, letters = argument
        if function in ("exp", "log"):
            return _calculated(node, np.exp if function == "exp" else np.log, argument)
        activation = self.trace.phi if function == "phi" else self.trace.dphi
        if letters:
            return activation(array), letters
        return float(activation(np.array([array], dtype=self.trace.z.dtype))[0]), ""

    def summed(self, letters: str, body: Node) -> Value:
        """Return the sum of a body over letters, each of which may occur in only some of its terms."""
        if isinstance(body, Sum):
            return self.summed(letters + "".join(str(index.value) for index in body.letters), body.body)
        if isinstance(body, Total):
            return _joined(body.terms, np.add, np.subtract, (0.0, ""), lambda term: self.summed(letters, term))
        over_samples = [
            letter for letter in letters if self.formula.axes[letter] == SAMPLES and letter not in self.ranges
        ]
        rows = self.rows(body, over_samples[0]) if over_samples else 0
        if rows and rows < self.sizes[over_samples[0]]:
            return self.in_ranges(letters, body, over_samples[0], rows)
        return self.contracted(letters, body)

    def rows(self, body: Node, letter: str) -> int:
        """Return how many samples at a time keep the largest intermediate array within MOST_NUMBERS.

        Raise FormulaError if that is too much work in all.
        """
        largest = max(
            (math.prod(self.sizes[axis] for axis in axes) for axes in _intermediates(body)), default=1
        )
        if largest > MOST_WORK:
            raise _too_much(body, largest, "numbers in one factor", MOST_WORK)
        return max(1, min(self.sizes[letter], MOST_NUMBERS * self.sizes[letter] // max(1, largest)))

    def in_ranges(self, letters: str, body: Node, letter: str, rows: int) -> Value:
        total: Value = 0.0, ""
        for start in range(0, self.sizes[letter], rows):
            stop = min(start + rows, self.sizes[letter])
            evaluation = _Evaluation(
                self.formula,
                self.trace,
                {**self.sizes, letter: stop - start},
                {**self.ranges, letter: slice(start, stop)},
            )
            total = _calculated(body, np.add, total, evaluation.summed(letters, body))
        return total

    def contracted(self, letters: str, body: Node) -> Value:
        """Return a sum of products, as one einsum."""
        number, operands = 1.0, list[Value]()
        for factor, inverted in _factors(body, inverted=False):
            value = self(factor)
            if inverted:
                value = _calculated(factor, np.divide, (1.0, ""), value)
            if value[1]:
                operands.append(value)
            else:
                number *= value[0]
        present = "".join(dict.fromkeys("".join(axes for _, axes in operands)))
        # A letter that no factor depends on multiplies the sum by its number of values.
        number *= math.prod(self.sizes[letter] for letter in letters if letter not in present)
        out = "".join(letter for letter in present if letter not in letters)
        if not operands:
            return number, ""
        subscripts = f"{','.join(axes for _, axes in operands)}->{out}"
        arrays = [array for array, _ in operands]
        path, products, numbers = _path(subscripts, tuple(array.shape for array in arrays))
        if products > MOST_PRODUCTS:
            raise _too_much(body, products, "products", MOST_PRODUCTS)
        if numbers > MOST_IN_STEP:
            raise _too_much(body, numbers, "numbers at once", MOST_IN_STEP)
        value = np.einsum(subscripts, *arrays, optimize=path)
        if not out:
            return float(value) * number, ""
        return (value if number == 1 else value * number), out


def _factors(node: Node, *, inverted: bool) -> list[tuple[Node, bool]]:
    """Return the factors of a product, including those of nested products, each with whether it is inverted."""
    if not isinstance(node, Product):
        return [(node, inverted)]
    return [pair for factor, divides in node.factors for pair in _factors(factor, inverted=inverted != divides)]


def _intermediates(body: Node) -> list[str]:
    """Return the letters of each intermediate array of a sum of products."""
    letters: list[str] = []
    for factor, _ in _factors(body, inverted=False):
        if children(factor):
            letters.append("".join(free(factor)))
            for child in children(factor):
                letters += _intermediates(child)
    return letters


@functools.lru_cache(maxsize=4096)
def _path(subscripts: str, shapes: tuple[tuple[int, ...], ...]) -> tuple[Any, int, int]:
    """Return the order of contraction, and the most products and the most numbers of one of its steps.

    It is cached, since finding it takes longer than a small contraction.
    """
    blanks = [np.broadcast_to(np.float64(0), shape) for shape in shapes]
    how = "optimal" if len(shapes) < 6 else "greedy"
    path: Any = np.einsum_path(subscripts, *blanks, optimize=how)[0]
    inputs, _, out = subscripts.partition("->")
    operands = inputs.split(",")
    sizes = dict(zip("".join(operands), itertools.chain(*shapes), strict=True))
    products = numbers = 0
    for step in cast("list[tuple[int, ...]]", path[1:]):
        taken = set("".join(operands[i] for i in step))
        operands = [axes for i, axes in enumerate(operands) if i not in step]
        result = "".join(taken & set("".join([*operands, out])))
        operands.append(result)
        products = max(products, math.prod(sizes[axis] for axis in taken))
        numbers = max(numbers, math.prod(sizes[axis] for axis in result))
    return path, products, numbers


def _too_much(node: Node, count: int, what: str, most: int) -> FormulaError:
    return FormulaError(
        f"this takes {float(count):.0e} {what}",
        f"at most {float(most):.0e}: sum over fewer letters at once, or use smaller batches",
        node.start,
        node.end,
    )


def _calculated(node: Node, function: Callable[..., Any], *values: Value) -> Value:
    """Apply a NumPy function along the letters of all values.

    Raise FormulaError if finite values give a non-finite one, as in a division by zero.
    """
    letters = "".join(dict.fromkeys("".join(axes for _, axes in values)))
    arrays = [_aligned(value, letters) if value[1] else value[0] for value in values]
    try:
        with np.errstate(divide="raise", over="raise", invalid="raise", under="ignore"):
            result = function(*arrays)
    except FloatingPointError as error:
        raise FormulaError(
            f"this cannot be computed: {error}", "values for which it is finite", node.start, node.end
        ) from None
    return (result, letters) if letters else (float(result), "")


def _joined(
    parts: Iterable[tuple[Node, bool]],
    plain: Callable[..., Any],
    inverse: Callable[..., Any],
    neutral: Value,
    value_of: Callable[[Node], Value],
) -> Value:
    """Add and subtract terms, or multiply and divide factors, from left to right."""
    value: Value | None = None
    for part, inverted in parts:
        operand = value_of(part)
        if value is None and not inverted:
            value = operand
        else:
            value = _calculated(part, inverse if inverted else plain, value or neutral, operand)
    return value or neutral


def _aligned(value: Value, letters: str) -> Array:
    """Return the array with an axis for each of `letters`, in their order; missing axes have length 1."""
    array, axes = np.asarray(value[0]), value[1]
    array = array.transpose([axes.index(letter) for letter in letters if letter in axes])
    return array[tuple(slice(None) if letter in axes else None for letter in letters)]
