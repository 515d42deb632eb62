"""Batches for a stack of networks: rows are gathered several batches at a time into memory that is reused.

A training step should neither gather nor allocate. So one `np.take` fills a chunk of batches that fits the
cache, and every step uses views of the chunk that are created once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike

from backproof.contracts import Array
from backproof.contracts.errors import InvalidValue

#: The largest number of batches in a chunk: more save no time, and each adds its views.
MOST_SLOTS = 64


def with_ones(X: Array, dtype: DTypeLike) -> Array:
    """Return [X | 1], X (..., D) with a last column of ones, so that one product does weights and bias.

    Raise ValueError for numbers that `dtype` cannot hold.
    """
    check_range(X, dtype)
    table = np.empty((*X.shape[:-1], X.shape[-1] + 1), dtype=dtype)
    table[..., :-1] = X
    table[..., -1] = 1
    return table


def check_range(X: Array, dtype: DTypeLike) -> None:
    """Raise ValueError for features that `dtype` cannot hold."""
    largest = max(abs(X.max(initial=0)), abs(X.min(initial=0)))
    if not largest <= np.finfo(dtype).max:
        raise ValueError(
            f"features up to {largest:g} do not fit {np.dtype(dtype)}: scale them (scaling=standard), or "
            "train in float64"
        )


def check_batch_size(batch_size: int | None, N: int) -> None:
    """Raise InvalidValue for a batch size that N training samples cannot fill."""
    if batch_size is not None and not 1 <= batch_size <= N:
        raise InvalidValue("batch_size", batch_size, f"from 1 to {N}, the training samples, or null for all")


def steps_per_epoch(N: int, batch_size: int | None) -> int:
    """Return the number of steps for N samples; the last one is short if they do not divide."""
    return -(-N // (batch_size or N))


@dataclass(frozen=True, slots=True, eq=False)
class Slot:
    """The arrays of one step. They are the same objects in every epoch; only their contents change.

    z_memory (R, K, B) holds the logits. z and y are (R, B, K) views of memory in the order (R, K, B), for which the
    losses' sums over K are fast.
    """

    x: Array  # (R, B, D+1), the last column ones
    xT: Array  # noqa: N815  (R, D+1, B), a view of x
    y: Array  # (R, B, K), a view of (R, K, B)
    z_memory: Array  # (R, K, B)
    z: Array  # (R, B, K), a view of z_memory


@dataclass(frozen=True, slots=True, eq=False)
class Chunk:
    """C steps, and views of all their targets and logits as one stack of C·R, for the loss in a single call.

    Row c·R + r of `y_all` and `z_all` (C·R, B, K) is member r of slot c.
    """

    slots: tuple[Slot, ...]
    y_all: Array
    z_all: Array

    def __len__(self) -> int:
        return len(self.slots)


class _Buffers:
    """The memory of up to C batches of B rows."""

    def __init__(self, table: Array, Y: Array, C: int, R: int, B: int) -> None:
        K = Y.shape[1]
        self.table, self.Y = table, Y
        self.x = np.empty((C, R, B, table.shape[1]), dtype=table.dtype)
        self.rows = np.empty((C, R, B, K), dtype=Y.dtype)
        self.y = np.empty((C, R, K, B), dtype=Y.dtype)
        self.z = np.zeros((C, R, K, B), dtype=table.dtype)

    def fill(self, index: Array) -> None:
        """Gather the rows `index` (c, R, B), c <= C, of features and targets; the targets are transposed."""
        c = len(index)
        # mode="clip" writes straight into `out`; the default would gather into a copy first.
        np.take(self.table, index, axis=0, out=self.x[:c], mode="clip")
        np.take(self.Y, index, axis=0, out=self.rows[:c], mode="clip")
        self.y[:c] = self.rows[:c].swapaxes(2, 3)

    def chunk(self, c: int) -> Chunk:
        """Return the first c batches."""
        return _chunk(self.x[:c], self.y[:c], self.z[:c])


def _chunk(x: Array, y: Array, z: Array) -> Chunk:
    """Return the chunk of views of x (C, R, B, D+1), y and z (C, R, K, B)."""
    C, R, K, B = z.shape
    slots = tuple(
        Slot(x[c], x[c].swapaxes(1, 2), y[c].swapaxes(1, 2), z[c], z[c].swapaxes(1, 2)) for c in range(C)
    )
    return Chunk(slots, y.reshape(C * R, K, B).swapaxes(1, 2), z.reshape(C * R, K, B).swapaxes(1, 2))


class Batches:
    """The batches of a stack of R networks on the same samples; each network has its own order.

    X (N, D) scaled features; Y (N, K) encoded targets; `rngs` one generator per member, so R = len(rngs).
    Each epoch, rngs[r] draws one permutation of all rows for member r, whose batches are bit for bit those it would
    have alone. The last batch has the remaining N mod batch_size rows, and is a separate chunk.
    `batch_size=None` (or N) is the full batch in the order of X, which all members share: shuffling would only
    change the rounding.

        for chunk in batches:            # one epoch
            for slot in chunk.slots:     # one step each

    A chunk is valid until the next one is requested.
    """

    def __init__(
        self,
        X: Array,
        Y: Array,
        batch_size: int | None,
        rngs: Sequence[np.random.Generator],
        dtype: DTypeLike,
        *,
        shuffle: bool = True,
        chunk_bytes: int = 1 << 19,
    ) -> None:
        if X.ndim != 2 or Y.ndim != 2 or len(X) != len(Y) or not len(X):
            raise ValueError(f"X must be (N, D) and Y (N, K) with N >= 1, got {X.shape} and {Y.shape}")
        if not rngs:
            raise ValueError("one generator per member of the stack is needed, got none")
        N = len(X)
        check_batch_size(batch_size, N)
        self.N, self.R, self.B = N, len(rngs), batch_size or N
        self.rngs, self.shuffle = tuple(rngs), shuffle
        table = with_ones(X, dtype)
        targets = np.ascontiguousarray(Y, dtype=dtype)
        self._full: Chunk | None = None
        if batch_size is None or batch_size == N:
            self._full = self._full_batch(table, targets)
            return
        steps, short = divmod(N, self.B)
        slot_bytes = self.R * self.B * table.shape[1] * table.itemsize
        chunks = -(-steps // max(1, min(MOST_SLOTS, chunk_bytes // slot_bytes)))
        C = -(-steps // chunks)  # chunks of nearly equal length need the least memory
        self._index = np.empty((steps, self.R, self.B), dtype=np.intp)
        self._buffers = _Buffers(table, targets, C, self.R, self.B)
        self._chunks = [(start, self._buffers.chunk(min(C, steps - start))) for start in range(0, steps, C)]
        self._short_index = np.empty((1, self.R, short), dtype=np.intp)
        self._short = _Buffers(table, targets, 1, self.R, short) if short else None
        self._short_chunk = self._short.chunk(1) if self._short else None

    @property
    def steps_per_epoch(self) -> int:
        """The number of batches in an epoch, including a short last one."""
        return steps_per_epoch(self.N, self.B)

    def __iter__(self) -> Iterator[Chunk]:
        """Yield the chunks of one epoch."""
        if self._full is not None:
            yield self._full
            return
        self._draw()
        for start, chunk in self._chunks:
            self._buffers.fill(self._index[start : start + len(chunk)])
            yield chunk
        if self._short is not None and self._short_chunk is not None:
            self._short.fill(self._short_index)
            yield self._short_chunk

    def _draw(self) -> None:
        """Draw a new order of the rows for each member, laid out batch by batch."""
        full = len(self._index) * self.B
        for r, rng in enumerate(self.rngs):
            order = rng.permutation(self.N) if self.shuffle else np.arange(self.N)
            self._index[:, r] = order[:full].reshape(-1, self.B)
            self._short_index[0, r] = order[full:]

    def _full_batch(self, table: Array, targets: Array) -> Chunk:
        N, K = targets.shape
        x = np.broadcast_to(table, (1, self.R, *table.shape))
        y = np.empty((1, self.R, K, N), dtype=targets.dtype)
        y[:] = targets.T
        return _chunk(x, y, np.zeros(y.shape, dtype=table.dtype))
