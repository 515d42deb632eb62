"""What every initializer must keep."""

from __future__ import annotations

import numpy as np

from backproof.conformance.base import Check, ConformanceError, require
from backproof.contracts import Array, Initializer, Plugin

#: (out, in) of the layers that are filled: square, wide, high, a single unit, a single input.
SHAPES = ((6, 6), (4, 9), (9, 4), (1, 5), (5, 1), (1, 1))
DTYPES = (np.float32, np.float64)


def _filled(
    plugin: Plugin, shape: tuple[int, int], seed: int = 0, dtype: type[np.floating] = np.float64
) -> Array:
    """A block [W | b] (out, in + 1) as the network has it, its W filled; all was NaN before."""
    if not isinstance(plugin, Initializer):
        raise ConformanceError(f"expected an Initializer, got {type(plugin).__name__}")
    block = np.full((shape[0], shape[1] + 1), np.nan, dtype)
    plugin.fill(block[:, :-1], np.random.default_rng(seed))
    return block


def check_fills(plugin: Plugin) -> None:
    """Every entry of W, a view into the parameters, becomes a finite number; what lies beside it stays."""
    for shape in SHAPES:
        for dtype in DTYPES:
            block = _filled(plugin, shape, dtype=dtype)
            bad = np.argwhere(~np.isfinite(block[:, :-1]))
            require(not len(bad), f"W {shape} must be filled with finite numbers, {bad[:1].tolist()} is none")
            require(np.isnan(block[:, -1]).all(), f"fill must write into W {shape} alone, not beside it")


def check_repeatable(plugin: Plugin) -> None:
    """The same generator gives the same numbers, and nothing else is drawn from."""
    state: object = np.random.get_state(legacy=False)
    for shape in SHAPES:
        one, other = _filled(plugin, shape), _filled(plugin, shape)
        require(
            np.array_equal(one, other, equal_nan=True), f"W {shape} must be the same from the same generator"
        )
    require(
        repr(np.random.get_state(legacy=False)) == repr(state),
        "fill must draw from `rng` alone, not from np.random's global state",
    )


def check_float64_draws(plugin: Plugin) -> None:
    """float32 weights are the float64 ones rounded: runs of either dtype start from the same numbers."""
    for shape in SHAPES:
        single, double = (_filled(plugin, shape, dtype=dtype)[:, :-1] for dtype in DTYPES)
        require(
            np.array_equal(single, double.astype(np.float32)),
            f"W {shape} in float32 must be the float64 draws rounded, off by {np.abs(single - double).max():.2g}",
        )


def check_layout(plugin: Plugin) -> None:
    """The numbers do not hang on how W lies in memory."""
    for shape in SHAPES:
        view = _filled(plugin, shape)[:, :-1]
        for order in ("C", "F"):
            W = np.full(shape, np.nan, order=order)
            if isinstance(plugin, Initializer):
                plugin.fill(W, np.random.default_rng(0))
            require(
                np.array_equal(W, view),
                f"W {shape} of order {order} must be filled as a view is",
            )


def check_differs(plugin: Plugin) -> None:
    """Another generator gives other numbers, and a layer after it too; unless all weights are one constant."""
    first = _filled(plugin, SHAPES[0])[:, :-1]
    if (first == first[0, 0]).all():
        return
    require(
        not np.array_equal(first, _filled(plugin, SHAPES[0], seed=1)[:, :-1]),
        "members with other generators must get other weights",
    )
    W, rng = np.empty((2, *SHAPES[0])), np.random.default_rng(0)
    if isinstance(plugin, Initializer):
        for each in W:
            plugin.fill(each, rng)
    require(not np.array_equal(W[0], W[1]), "two layers filled one after the other must get other weights")


CHECKS: tuple[Check, ...] = (
    check_fills,
    check_repeatable,
    check_float64_draws,
    check_layout,
    check_differs,
)
