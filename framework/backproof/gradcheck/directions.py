"""Directions in the space of the parameters, written in ranges."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np

from backproof.contracts import Array

#: Values (S,) of a function at S parameter vectors (S, P).
Values = Callable[[Array], Array]

#: The most numbers, and the most parameter vectors, that are evaluated at a time.
MOST_NUMBERS = 1 << 20
MOST_ROWS = 32


class Directions(Protocol):
    """S directions in the space of P parameters, written in ranges so that no S·P numbers are held at once."""

    def __len__(self) -> int: ...
    def write(self, rows: slice, out: Array) -> None:
        """Write the directions `rows` into `out` (rows, P), which is zero."""
        ...


class Dense:
    """Directions given as an array (S, n) on some of the parameters, `index` (n,)."""

    def __init__(self, index: Array, vectors: Array) -> None:
        self.index, self.vectors = index, vectors

    def __len__(self) -> int:
        return len(self.vectors)

    def write(self, rows: slice, out: Array) -> None:
        """Write the directions `rows` into `out`."""
        out[:, self.index] = self.vectors[rows]


class Axes:
    """The coordinate axes of some of the parameters, `index` (S,)."""

    def __init__(self, index: Array) -> None:
        self.index = index

    def __len__(self) -> int:
        return len(self.index)

    def write(self, rows: slice, out: Array) -> None:
        """Write the directions `rows` into `out`."""
        index = self.index[rows]
        out[np.arange(len(index)), index] = 1


class Concatenated:
    """Several sets of directions as one: a single evaluation costs less than several."""

    def __init__(self, parts: Sequence[Directions]) -> None:
        self.parts = parts
        ends = np.cumsum([len(part) for part in parts]).tolist()
        self.rows = [slice(end - len(part), end) for part, end in zip(parts, ends, strict=True)]

    def __len__(self) -> int:
        return self.rows[-1].stop if self.rows else 0

    def write(self, rows: slice, out: Array) -> None:
        """Write the directions `rows` into `out`."""
        for part, span in zip(self.parts, self.rows, strict=True):
            first, last = max(rows.start, span.start), min(rows.stop, span.stop)
            if first < last:
                within = slice(first - span.start, last - span.start)
                part.write(within, out[first - rows.start : last - rows.start])


def ranges(theta: Array, along: Directions) -> Iterator[tuple[slice, Array]]:
    """Yield ranges of the directions, each with its rows v (count, P), which the next range overwrites.

    All ranges have the same number of rows, the last one overlapping the one before, so that a value function that
    reuses its memory allocates it once.
    """
    S, P = len(along), len(theta)
    most = max(1, min(MOST_ROWS, MOST_NUMBERS // max(1, P)))
    # As evenly as possible, so that the overlap is small.
    count = max(1, -(-S // max(1, -(-S // most))))
    v = np.empty((count, P))
    for start in range(0, S, count):
        rows = slice(min(start, S - count), min(start, S - count) + count)
        v[...] = 0
        along.write(rows, v)
        yield rows, v
