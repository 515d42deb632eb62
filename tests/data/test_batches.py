"""Batches for a stack: each sample once per epoch, members as if alone, fixed views."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from backproof.contracts import Array
from backproof.contracts.errors import InvalidValue
from backproof.data import Batches, Chunk, Slot, with_ones
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.fuzz import examples

SHAPES = {
    "N": st.integers(1, 40),
    "B": st.integers(1, 12),
    "R": st.integers(1, 4),
    "chunk_bytes": st.sampled_from([1, 300, 1000, 1 << 18]),
    "shuffle": st.booleans(),
}


def table(N: int, D: int = 3, K: int = 2) -> tuple[Array, Array]:
    """Return numbers that identify their row: X[n, d] = n + d/8, Y[n, k] = -n - k/8, exact in float32."""
    n = np.arange(N, dtype=np.float64)[:, None]
    return n + np.arange(D) / 8, -n - np.arange(K) / 8


def rngs(R: int) -> list[np.random.Generator]:
    return [np.random.default_rng(100 + r) for r in range(R)]


def slots(batches: Batches) -> Iterator[Slot]:
    for chunk in batches:
        yield from chunk.slots


def epoch(batches: Batches) -> list[tuple[Array, Array]]:
    return [(slot.x.copy(), slot.y.copy()) for slot in slots(batches)]


@given(**SHAPES)
@examples(80)
def test_each_member_sees_each_sample_once_per_epoch(
    N: int, B: int, R: int, chunk_bytes: int, shuffle: bool
) -> None:
    B = min(B, N)
    X, Y = table(N)
    batches = Batches(X, Y, B, rngs(R), np.float32, shuffle=shuffle, chunk_bytes=chunk_bytes)
    for _ in range(2):
        steps = epoch(batches)
        assert len(steps) == batches.steps_per_epoch == -(-N // B)
        assert [x.shape for x, _ in steps[:-1]] == [(R, B, 4)] * (len(steps) - 1)
        assert steps[-1][0].shape == (R, N % B or B, 4)
        x, y = (np.concatenate(arrays, axis=1) for arrays in zip(*steps, strict=True))
        assert x.dtype == y.dtype == np.float32
        np.testing.assert_array_equal(x[..., 3], 1)
        # Both contain the row's number, so rows and targets still match.
        np.testing.assert_array_equal(x[..., 0], -y[..., 0])
        for r in range(R):
            np.testing.assert_array_equal(np.sort(x[r, :, 0]), np.arange(N))
            np.testing.assert_array_equal(x[r, :, :3], X[x[r, :, 0].astype(int)])
            np.testing.assert_array_equal(y[r], Y[x[r, :, 0].astype(int)])


@given(**SHAPES)
@examples(50)
def test_a_member_of_a_stack_has_the_batches_it_has_alone(
    N: int, B: int, R: int, chunk_bytes: int, shuffle: bool
) -> None:
    B = min(B, N)
    X, Y = table(N)
    stack = Batches(X, Y, B, rngs(R), np.float32, shuffle=shuffle, chunk_bytes=chunk_bytes)
    alone = [Batches(X, Y, B, [rng], np.float32, shuffle=shuffle) for rng in rngs(R)]
    for _ in range(2):
        together, separate = epoch(stack), [epoch(batches) for batches in alone]
        for step, (x, y) in enumerate(together):
            for r in range(R):
                np.testing.assert_array_equal(x[r], separate[r][step][0][0])
                np.testing.assert_array_equal(y[r], separate[r][step][1][0])


def test_the_order_is_one_permutation_of_each_members_generator() -> None:
    X, Y = table(23)
    batches = Batches(X, Y, 5, rngs(2), np.float64)
    oracle = rngs(2)
    for _ in range(3):
        x = np.concatenate([x for x, _ in epoch(batches)], axis=1)
        for r in range(2):
            np.testing.assert_array_equal(x[r, :, 0], oracle[r].permutation(23))


def test_without_shuffle_rows_come_in_order() -> None:
    X, Y = table(7)
    steps = epoch(Batches(X, Y, 3, rngs(2), np.float64, shuffle=False))
    assert [x[1, :, 0].tolist() for x, _ in steps] == [[0, 1, 2], [3, 4, 5], [6]]


def addresses(slot: Slot) -> list[int]:
    return [getattr(slot, name).ctypes.data for name in ("x", "xT", "y", "z_memory", "z")]


@pytest.mark.parametrize("chunk_bytes", [1, 500, 1 << 18])
def test_views_are_created_once(chunk_bytes: int) -> None:
    X, Y = table(23)
    batches = Batches(X, Y, 5, rngs(2), np.float32, chunk_bytes=chunk_bytes)
    first = [(id(slot), addresses(slot)) for slot in slots(batches)]
    assert [(id(slot), addresses(slot)) for slot in slots(batches)] == first
    for slot in slots(batches):
        assert np.shares_memory(slot.x, slot.xT)
        np.testing.assert_array_equal(slot.xT, slot.x.swapaxes(1, 2))
        assert np.shares_memory(slot.z, slot.z_memory)
        assert slot.z.shape == slot.y.shape == (*slot.x.shape[:2], 2)
        assert slot.x.flags.c_contiguous
        assert slot.y.swapaxes(1, 2).flags.c_contiguous
        assert slot.z_memory.flags.c_contiguous
        assert slot.z.dtype == np.float32


def check_chunk(chunk: Chunk, R: int) -> None:
    B, K = chunk.slots[0].y.shape[1:]
    for name in ("y", "z"):
        whole = getattr(chunk, f"{name}_all")
        assert whole.shape == (len(chunk) * R, B, K)
        assert whole.swapaxes(1, 2).flags.c_contiguous
        for c, slot in enumerate(chunk.slots):
            np.testing.assert_array_equal(whole[c * R : (c + 1) * R], getattr(slot, name))
            assert np.shares_memory(whole, getattr(slot, name))


@pytest.mark.parametrize("batch_size", [5, 23, None])
@pytest.mark.parametrize("R", [1, 3])
def test_a_chunk_is_one_stack_of_all_its_slots(batch_size: int | None, R: int) -> None:
    X, Y = table(23)
    chunks = 0
    for chunk in Batches(X, Y, batch_size, rngs(R), np.float32, chunk_bytes=5 * 4 * 4 * R * 3):
        for number, slot in enumerate(chunk.slots):
            slot.z_memory[:] = number + np.arange(slot.z_memory.size).reshape(slot.z_memory.shape) / 100
        check_chunk(chunk, R)
        chunks += 1
    # 23 samples: chunks of three batches of 5 and of one, then the short batch of 3.
    assert chunks == (3 if batch_size == 5 else 1)


@pytest.mark.parametrize(
    ("chunk_bytes", "lengths"),
    [(1, [1] * 200), (1 << 18, [50] * 4), (5 * 16 * 50, [50] * 4), (5 * 16 * 50 - 1, [40] * 5)],
)
def test_a_chunk_fits_its_bytes_and_64_slots(chunk_bytes: int, lengths: list[int]) -> None:
    X, Y = table(1000)
    batches = Batches(X, Y, 5, rngs(1), np.float32, chunk_bytes=chunk_bytes)
    assert [len(chunk) for chunk in batches] == lengths


@pytest.mark.parametrize("batch_size", [None, 9])
def test_the_full_batch_is_not_shuffled_drawn_or_copied(batch_size: int | None) -> None:
    X, Y = table(9)
    generators = rngs(3)
    batches = Batches(X, Y, batch_size, generators, np.float32)
    for _ in range(2):
        (chunk,) = batches
        (slot,) = chunk.slots
        np.testing.assert_array_equal(slot.x, np.broadcast_to(with_ones(X, np.float32), (3, 9, 4)))
        np.testing.assert_array_equal(slot.y, np.broadcast_to(Y, (3, 9, 2)))
        assert np.shares_memory(slot.x[0], slot.x[2])
        np.testing.assert_array_equal(slot.xT, slot.x.swapaxes(1, 2))
    assert batches.steps_per_epoch == 1
    assert generators[0].random() == rngs(1)[0].random()


def test_a_product_with_the_shared_full_batch_is_the_product_alone() -> None:
    rng = np.random.default_rng(0)
    X, Y, W = rng.standard_normal((50, 6)), rng.standard_normal((50, 2)), rng.standard_normal((4, 7, 5))
    (chunk,) = Batches(X, Y, None, rngs(4), np.float32)
    weights = W.astype(np.float32)
    together = np.matmul(chunk.slots[0].x, weights)
    for r in range(4):
        (alone,) = Batches(X, Y, None, rngs(1), np.float32)
        np.testing.assert_array_equal(together[r], np.matmul(alone.slots[0].x, weights[r : r + 1])[0])


@pytest.mark.parametrize("batch_size", [0, -1, 11])
def test_a_batch_size_above_the_number_of_samples_is_an_error(batch_size: int) -> None:
    X, Y = table(10)
    with pytest.raises(InvalidValue, match=f"batch_size must be from 1 to 10, the training.*got {batch_size}"):
        Batches(X, Y, batch_size, rngs(1), np.float32)


def test_incompatible_arrays_are_an_error() -> None:
    X, Y = table(10)
    for bad_X, bad_Y in ((X[:9], Y), (X[:, 0], Y), (X, Y[:, 0]), (X[:0], Y[:0])):
        with pytest.raises(ValueError, match=r"X must be \(N, D\) and Y \(N, K\)"):
            Batches(bad_X, bad_Y, 2, rngs(1), np.float32)
    with pytest.raises(ValueError, match="one generator per member"):
        Batches(X, Y, 2, [], np.float32)


def test_with_ones() -> None:
    X = np.random.default_rng(0).standard_normal((2, 5, 3))
    for dtype in (np.float32, np.float64, np.complex128):
        table = with_ones(X, dtype)
        assert table.dtype == dtype
        np.testing.assert_array_equal(table, np.concatenate([X, np.ones((2, 5, 1))], axis=-1).astype(dtype))
    with pytest.raises(ValueError, match=r"features up to 1e\+300 do not fit float32: scale them"):
        with_ones(np.array([[-1e300]]), np.float32)
