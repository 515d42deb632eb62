"""The checks of initializers, on layers of several shapes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from backproof.conformance.harness import Checks
from backproof.contracts import Array, Initializer
from backproof.contracts.errors import require
from backproof.experiment.stackable import DTYPES

CHECKS = Checks(Initializer)
#: (out, in) of the layers that are filled: square, wide, high, a single unit, a single input.
SHAPES = ((6, 6), (4, 9), (9, 4), (1, 5), (5, 1), (1, 1))


@dataclass(frozen=True)
class _Layer:
    """An initializer and the shape of a layer."""

    initializer: Initializer
    shape: tuple[int, int]

    def __str__(self) -> str:
        return f"W {self.shape}"

    def block(self, seed: int = 0, dtype: type[np.floating] = np.float64) -> Array:
        """Return a block [W | b] (out, in + 1) as the network has it, its W filled; NaN elsewhere."""
        block = np.full((self.shape[0], self.shape[1] + 1), np.nan, dtype)
        self.initializer.fill(block[:, :-1], np.random.default_rng(seed))
        return block

    def W(self, seed: int = 0, dtype: type[np.floating] = np.float64) -> Array:
        """Return a filled W (out, in)."""
        return self.block(seed, dtype)[:, :-1]


def _layers(initializer: Initializer) -> Iterator[_Layer]:
    return (_Layer(initializer, shape) for shape in SHAPES)


@CHECKS.add_for(_layers)
def check_fills(layer: _Layer) -> None:
    """Every entry of W, a view into the parameters, becomes a finite number; its neighbours in memory stay."""
    for dtype in DTYPES:
        block = layer.block(dtype=dtype)
        bad = np.argwhere(~np.isfinite(block[:, :-1]))
        require(not len(bad), f"fill must write finite numbers, but entry {bad[:1].tolist()} is not")
        require(np.isnan(block[:, -1]).all(), "fill must write into W alone, not next to it")


@CHECKS.add_for(_layers)
def check_repeatable(layer: _Layer) -> None:
    """The same generator gives the same numbers, and no other generator is used."""
    state: object = np.random.get_state(legacy=False)
    require(np.array_equal(layer.W(), layer.W()), "the same generator must give the same numbers")
    require(
        repr(np.random.get_state(legacy=False)) == repr(state),
        "fill must draw from `rng` alone, not from np.random's global state",
    )


@CHECKS.add_for(_layers)
def check_float64_draws(layer: _Layer) -> None:
    """float32 weights are the float64 ones rounded: runs of either dtype start from the same numbers."""
    single, double = (layer.W(dtype=dtype) for dtype in DTYPES)
    require(
        np.array_equal(single, double.astype(np.float32)),
        f"float32 weights must be the float64 draws rounded, off by {np.abs(single - double).max():.2g}",
    )


@CHECKS.add_for(_layers)
def check_layout(layer: _Layer) -> None:
    """The numbers do not depend on the layout of W in memory."""
    for order in ("C", "F"):
        W = np.full(layer.shape, np.nan, order=order)
        layer.initializer.fill(W, np.random.default_rng(0))
        require(np.array_equal(W, layer.W()), f"an array of order {order} must be filled as a view is")


@CHECKS.add
def check_differs(initializer: Initializer) -> None:
    """Another generator gives other numbers, and so does the next layer; unless all weights are one constant."""
    layer = _Layer(initializer, SHAPES[0])
    first = layer.W()
    if (first == first[0, 0]).all():
        return
    require(not np.array_equal(first, layer.W(seed=1)), "members with other generators must get other weights")
    weights, rng = np.empty((2, *layer.shape)), np.random.default_rng(0)
    for W in weights:
        initializer.fill(W, rng)
    require(
        not np.array_equal(weights[0], weights[1]),
        "two layers filled one after the other must get other weights",
    )
