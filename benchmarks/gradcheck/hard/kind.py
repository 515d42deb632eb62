"""A kind of function: how to draw one at random, and how finely its gradient can be checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
#: theta (an array or a dict of arrays) -> (loss, gradient).
Function = Callable[[Any], tuple[Any, Any]]
#: The error that must be seen: 1e-6 of a smooth function, 2 % of one with kinks, with an error of its own (rough)
#: or with jumps (step). The gradient of the last is that between the jumps.
Expect = Literal["smooth", "kinked", "rough", "step"]


@dataclass(frozen=True)
class Kind:
    name: str
    family: str
    expect: Expect
    #: Draw a function with its right gradient, and the point where it is checked.
    make: Callable[[np.random.Generator], tuple[Function, Any]]
    #: Entries of theta at a kink, where more than one slope is right: no mistake is planted there.
    at_kink: Callable[[Array], Array] | None


KINDS: dict[str, Kind] = {}


def kind(
    expect: Expect, *cases: tuple[Any, ...], at_kink: Callable[[Array], Array] | None = None
) -> Callable[[Callable[..., tuple[Function, Any]]], Callable[..., tuple[Function, Any]]]:
    """Register a maker of functions as one kind, or as one kind for each case of its further arguments."""

    def register(make: Callable[..., tuple[Function, Any]]) -> Callable[..., tuple[Function, Any]]:
        for case in cases or ((),):
            name = " ".join([make.__name__.replace("_", " "), *(f"{value:g}" for value in case)])
            if name in KINDS:
                raise ValueError(f"two kinds are called {name!r}")
            family = make.__module__.rpartition(".")[2]
            KINDS[name] = Kind(name, family, expect, lambda rng, case=case: make(rng, *case), at_kink)
        return make

    return register
