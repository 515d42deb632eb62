"""What a reference layer is: a right forward and backward pass, and the mistakes that people make in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from backproof.contracts import Array

#: Gradients by the name of the input.
Gradients = dict[str, Array]


#: (right gradients, cache, *douts) -> the gradients that the mistake changes
Wrong = Callable[..., Gradients]


@dataclass(frozen=True)
class Mistake:
    """A mistake in a backward pass, in words and as the gradients that it gives."""

    what: str
    wrong: Wrong


class Mistakes(list[Mistake]):
    """The known mistakes in a layer. Those listed first are tried first."""

    def named(self, what: str) -> Callable[[Wrong], Wrong]:
        """Return a decorator that adds a function as the mistake of this name."""

        def add(wrong: Wrong) -> Wrong:
            self.append(Mistake(what, wrong))
            return wrong

        return add


@dataclass(frozen=True)
class Reference:
    """A layer of the courses. The forward pass is called with the inputs and options by name."""

    name: str
    forward: Callable[..., tuple[Any, Any]]
    backward: Callable[..., Any]
    #: The right gradients in index notation by input, in the order in which `backward` returns them.
    formulas: Mapping[str, str]
    mistakes: Mistakes
    #: Draws tiny inputs of small integers, in which the mistakes can be worked out by hand.
    example: Callable[[np.random.Generator], dict[str, Array]]
    #: Inputs of integers, which have no gradient.
    indices: tuple[str, ...] = ()
    #: The usual values of each option.
    options: Mapping[str, tuple[Any, ...]] = field(default_factory=dict[str, tuple[Any, ...]])
    #: Values of the inputs that a layer may do without.
    defaults: Mapping[str, float] = field(default_factory=dict[str, float])

    #: The number of axes of inputs that tell two layouts apart.
    axes: Mapping[str, int] = field(default_factory=dict[str, int])
    #: Reads further inputs off an x and its out, None where the layer cannot be this one.
    infer: Callable[[Array, Array], dict[str, Array] | None] | None = None

    def gradients(self, douts: list[Array], cache: Any) -> Gradients:
        """Return the right gradients by name."""
        gradients = self.backward(*douts, cache)
        several = cast("tuple[Array, ...]", gradients) if isinstance(gradients, tuple) else (gradients,)
        return dict(zip(self.formulas, several, strict=True))


def integers(rng: np.random.Generator, **shapes: tuple[int, ...]) -> dict[str, Array]:
    """Draw small integers, as floating-point numbers, of each shape."""
    return {name: rng.integers(-2, 3, shape).astype(np.float64) for name, shape in shapes.items()}
