"""Floor 1: directions in the space of the parameters, a range at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np

from framework.kinds import Array

#: Values (S,) of a function at S parameter vectors (S, P).
Values = Callable[[Array], Array]

#: Most numbers in the parameter vectors that are evaluated at a time.
ROOM = 1 << 20
MOST_ROWS = 64


class Directions(Protocol):
    """S directions in the space of P parameters, written a range at a time so that they need no S·P numbers."""

    def __len__(self) -> int: ...
    def write(self, rows: slice, out: Array) -> None:
        """Directions `rows` into `out` (rows, P), which is zero."""
        ...


class Dense:
    """Directions given as an array (S, n) on some of the parameters, `index` (n,)."""

    def __init__(self, index: Array, vectors: Array) -> None:
        self.index, self.vectors = index, vectors

    def __len__(self) -> int:
        return len(self.vectors)

    def write(self, rows: slice, out: Array) -> None:
        """Directions `rows` into `out`."""
        out[:, self.index] = self.vectors[rows]


class Axes:
    """The coordinate axes of some of the parameters, `index` (S,)."""

    def __init__(self, index: Array) -> None:
        self.index = index

    def __len__(self) -> int:
        return len(self.index)

    def write(self, rows: slice, out: Array) -> None:
        """Directions `rows` into `out`."""
        index = self.index[rows]
        out[np.arange(len(index)), index] = 1


def ranges(theta: Array, along: Directions) -> Iterator[tuple[slice, Array]]:
    """Ranges of the directions, each with its rows v (count, P), which the next range overwrites.

    All ranges have the same number of rows, the last one overlapping the one before: a value function that
    keeps its memory then allocates it once.
    """
    S, P = len(along), len(theta)
    count = max(1, min(S, MOST_ROWS, ROOM // max(1, P)))
    v = np.empty((count, P))
    for start in range(0, S, count):
        rows = slice(min(start, S - count), min(start, S - count) + count)
        v[...] = 0
        along.write(rows, v)
        yield rows, v
