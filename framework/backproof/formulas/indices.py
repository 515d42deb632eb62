"""The static check of the indices of a formula, before anything is computed.

Each letter denotes one axis: the samples, or the units of a layer (inputs are layer 0, outputs layer L). Its
position determines which. Sizes are not used, so W2[h,k] is wrong even for a square W2.
"""

from __future__ import annotations

import re

from backproof.contracts.errors import did_you_mean
from backproof.formulas.errors import FormulaError
from backproof.formulas.parser import is_array
from backproof.formulas.tree import Entry, Index, Node, Sum, children, free

#: The axis of the samples; any other axis is the number of a layer.
SAMPLES = -1

_LEFT = re.compile(r"\s*(?P<name>\w+)\s*(?P<indices>\[[^\[\]]*\])?\s*")


def axes_of(name: str, depth: int) -> tuple[int, ...] | None:
    """Return the axes of an array in a network of `depth` layers, or None if it has no such array."""
    if name == "x":
        return SAMPLES, 0
    if name in ("y", "p", "z"):
        return SAMPLES, depth
    layer = int(name[1:])
    if name[0] == "h":
        # φ is not applied to the last layer.
        return (SAMPLES, layer) if 0 <= layer < depth else None
    if not 1 <= layer <= depth:
        return None
    return {"a": (SAMPLES, layer), "W": (layer, layer - 1), "b": (layer,)}[name[0]]


def arrays_of(depth: int) -> list[str]:
    """Return the names of all arrays of a network of `depth` layers."""
    numbered = [f"{letter}{layer}" for layer in range(depth + 1) for letter in "ahWb"]
    return ["x", "y", "p", "z", *(name for name in numbered if axes_of(name, depth))]


def tensors_of(depth: int) -> list[str]:
    """Return the names W1, b1, ... of a network of `depth` layers."""
    return [f"{letter}{layer}" for layer in range(1, depth + 1) for letter in "Wb"]


def axis_name(axis: int, depth: int) -> str:
    """Return an axis in words, for example `the samples`."""
    if axis in (SAMPLES, 0, depth):
        return {SAMPLES: "the samples", 0: "the inputs"}.get(axis, "the outputs")
    return "the hidden units" + (f" of layer {axis}" if depth > 2 else "")


def split_left(left: str) -> tuple[str, tuple[Index, ...] | None]:
    """Return the tensor of `W1` or `W1[h,d]`, and its letters if there are any."""
    match = _LEFT.fullmatch(left)
    if not match:
        raise FormulaError("this is not a tensor", "a tensor, as in W1 or W1[h,d]", 0, len(left)).of(left, left)
    name, brackets = match["name"], match["indices"]
    if brackets is None:
        return name, None
    position = match.start("indices") + 1
    letters: list[Index] = []
    for item in brackets[1:-1].split(","):
        letter = item.strip()
        start = position + len(item) - len(item.lstrip())
        position += len(item) + 1
        span = start, start + max(1, len(letter))
        if not letter.isidentifier() or is_array(letter) or letter == "N":
            raise FormulaError("this is not an index", "a letter with no other meaning", *span).of(name, left)
        if letter in [index.value for index in letters]:
            raise FormulaError(f"{letter} appears twice", "another letter", *span).of(name, left)
        letters.append(Index(*span, letter))
    return name, tuple(letters)


def left_axes(tensor: str, letters: tuple[Index, ...], depth: int) -> dict[str, int]:
    """Return the axis of each letter of the left side. Raise FormulaError if their number is wrong."""
    axes = axes_of(tensor, depth) or ()
    if len(letters) != len(axes):
        first_wrong = letters[min(len(axes), len(letters) - 1)]
        raise FormulaError(
            f"{tensor} has {_count(len(axes))}, not {len(letters)}",
            f"letters for {' and '.join(axis_name(axis, depth) for axis in axes)}",
            first_wrong.start,
            letters[-1].end,
        )
    return dict(zip((str(index.value) for index in letters), axes, strict=True))


def check(node: Node, tensor: str, depth: int, left: dict[str, int] | None) -> tuple[dict[str, int], list[str]]:
    """Return the axis of every letter of a right side, and the letters of the tensor's axes in their order.

    left  the letters of the left side with their axes, if there are any
    Raise FormulaError if anything does not fit.
    """
    checker = _Checker(tensor, depth, dict(left or {}))
    checker.walk(node, ())
    return checker.axes, checker.target(node, list(left) if left else None)


class _Checker:
    """Walks a formula and assigns an axis to each letter."""

    def __init__(self, tensor: str, depth: int, axes: dict[str, int]) -> None:
        self.tensor, self.depth, self.axes = tensor, depth, axes
        self.origin: dict[str, str] = {letter: f"in {tensor}[{','.join(axes)}]" for letter in axes}

    def walk(self, node: Node, bound: tuple[str, ...]) -> None:
        """Check a node and those below it, inside sums over `bound`."""
        if isinstance(node, Entry):
            self.entry(node)
        if isinstance(node, Sum):
            for index in node.letters:
                if index.value in bound:
                    raise FormulaError(
                        f"{index.value} is already summed by an outer sum",
                        "another letter",
                        index.start,
                        index.end,
                    )
            bound = (*bound, *(str(index.value) for index in node.letters))
        for child in children(node):
            self.walk(child, bound)
        if isinstance(node, Sum):
            inside = free(node.body)
            for index in node.letters:
                if index.value not in inside:
                    raise FormulaError(
                        f"{index.value} is summed, but nothing in the sum depends on it",
                        f"{index.value} in the factors that follow, up to the next + or -; or no sum over it",
                        index.start,
                        index.end,
                    )

    def entry(self, node: Entry) -> None:
        axes = axes_of(node.name, self.depth)
        if axes is None:
            raise FormulaError(
                f"there is no {node.name} in a network with the tensors {', '.join(tensors_of(self.depth))}"
                f"{did_you_mean(node.name, arrays_of(self.depth))}",
                f"one of {', '.join(arrays_of(self.depth))}",
                node.start,
                node.start + len(node.name),
            )
        if len(axes) != len(node.indices):
            raise FormulaError(
                f"{node.name} has {_count(len(axes))}, not {len(node.indices)}",
                f"indices for {' and '.join(axis_name(axis, self.depth) for axis in axes)}",
                node.start,
                node.end,
            )
        for index, axis in zip(node.indices, axes, strict=True):
            letter = index.value
            if isinstance(letter, int):
                continue
            if self.axes.setdefault(letter, axis) != axis:
                raise FormulaError(
                    f"{letter} denotes {axis_name(self.axes[letter], self.depth)} ({self.origin[letter]}), "
                    f"but this index of {node.name} runs over {axis_name(axis, self.depth)}",
                    self.fitting(axis),
                    index.start,
                    index.end,
                )
            self.origin.setdefault(
                letter, f"in {node.name}[{','.join(str(other.value) for other in node.indices)}]"
            )

    def fitting(self, axis: int) -> str:
        """Return which letters may denote an axis."""
        letters = [letter for letter, letter_axis in self.axes.items() if letter_axis == axis]
        return f"{' or '.join(letters)}, or a new letter" if letters else "a new letter"

    def target(self, node: Node, left: list[str] | None) -> list[str]:
        """Return the letters of the tensor's axes. Raise FormulaError for any other free letter."""
        letters, axes = free(node), axes_of(self.tensor, self.depth) or ()
        for letter, index in letters.items():
            if (letter not in left) if left else (self.axes[letter] not in axes):
                raise FormulaError(self.not_summed(letter, left), self.with_sum(node, letter), *_at(index))
        target: list[str] = []
        for i, axis in enumerate(axes):
            candidates = [letter for letter in letters if self.axes[letter] == axis]
            if left and left[i] not in letters:
                candidates = []
            if not candidates:
                raise self.missing_index(node, axis, left[i] if left else None)
            if len(candidates) > 1:
                raise FormulaError(
                    f"{' and '.join(candidates)} both denote {axis_name(axis, self.depth)}, "
                    f"for which {self.tensor} has one index",
                    f"one letter for both, or a sum over one of them, or {self.tensor}[...] on the left",
                    *_at(letters[candidates[1]]),
                )
            target += candidates
        return target

    def not_summed(self, letter: str, left: list[str] | None) -> str:
        over = axis_name(self.axes[letter], self.depth)
        tensor = f"{self.tensor}[{','.join(left)}]" if left else self.tensor
        return f"{letter} is not summed: it runs over {over}, and {tensor} has no such index"

    def with_sum(self, node: Node, letter: str) -> str:
        first = node
        while not isinstance(first, Sum) and children(first):
            first = children(first)[0]
        others = [str(index.value) for index in first.letters] if isinstance(first, Sum) else []
        return f"a sum over it, as in sum[{','.join([*others, letter])}]"

    def missing_index(self, node: Node, axis: int, letter: str | None) -> FormulaError:
        """Return the error for an index of the tensor that the right side lacks or sums over."""
        over = axis_name(axis, self.depth)
        for index in _summed(node):
            if index.value == letter or (letter is None and self.axes[str(index.value)] == axis):
                return FormulaError(
                    f"{index.value} is summed, but {self.tensor} has an index for {over}",
                    f"no sum over {index.value}",
                    *_at(index),
                )
        missing = f"{letter}, which denotes {over}," if letter else f"an index for {over}"
        return FormulaError(
            f"{self.tensor} has an index for {over}, but the formula has none",
            f"{missing} in one of its factors",
            node.start,
            node.end,
        )


def _summed(node: Node) -> list[Index]:
    letters = list(node.letters) if isinstance(node, Sum) else []
    return letters + [index for child in children(node) for index in _summed(child)]


def _at(index: Index) -> tuple[int, int]:
    return index.start, index.end


def _count(number: int) -> str:
    return f"{number} index" if number == 1 else f"{number} indices"
