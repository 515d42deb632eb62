"""`check_layer`: the backward pass of a layer as courses have it, `out, cache = forward(x, w, b)` and
`dx, dw, db = backward(dout, cache)`."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np

from backproof.contracts import Array
from backproof.gradcheck.check import check_function
from backproof.gradcheck.function import Function
from backproof.gradcheck.judge import AUTO, Settings
from backproof.gradcheck.report import GradcheckReport, Section
from backproof.gradcheck.trees import describe
from backproof.gradcheck.vector import WEIGHTS, Inputs, Outputs

WROTE = "backward writes into dout: let it work on a copy, since other branches of a network use the same array"


def check_layer(
    forward: Callable[..., Any],
    backward: Callable[..., Any],
    *inputs: Any,
    extra: Mapping[str, Any] | None = None,
    names: Sequence[str] | None = None,
    oracle: str = AUTO,
    tolerance: float | None = None,
    noise: float | None = None,
    seed: int = 0,
) -> GradcheckReport:
    """Compare the gradients that `backward` returns with the derivatives of Σ dout·out, input by input.

        assert check_layer(affine_forward, affine_backward, x, w, b)

    forward   (*inputs, **extra) -> (out, cache), or (out1, out2, ..., cache) for several outputs
    backward  (dout, cache) -> the gradients of the inputs in their order; (dout1, dout2, ..., cache) for several
    inputs    arrays of floating-point numbers are differentiated by; integers (labels, token indices), dicts of
              options and other values are passed on, and backward returns None for them, or leaves them out
    extra     further keyword arguments of forward, a copy at every call
    names     of the inputs; by default those of forward's parameters

    Where a gradient is wrong and the layer is one of the usual ones (affine, ReLU, softmax and hinge loss, batch
    and layer norm, dropout, convolution, max-pooling, RNN and LSTM step, attention, embedding), the report names
    the mistake if it is a common one: the place, the right formula, and a small example in integers.
    """
    layer = Layer(forward, backward, inputs, dict(extra or {}), names)
    settings, rng = Settings(oracle, tolerance, noise), np.random.default_rng(seed)
    sections: list[Section] = []
    for number in range(1, WEIGHTS + 1):
        weights = rng.standard_normal(layer.outputs.size)
        function = Function(layer.loss(weights), layer.inputs.theta, layer.gradient(weights))
        sections.append(check_function(function, settings, seed=seed, moment=f"dout {number}"))
    if layer.wrote:
        sections = [dataclasses.replace(section, notes=(*section.notes, WROTE)) for section in sections]
    return GradcheckReport(tuple(sections))


class Layer:
    """A layer at its inputs."""

    def __init__(
        self,
        forward: Callable[..., Any],
        backward: Callable[..., Any],
        inputs: Sequence[Any],
        extra: dict[str, Any],
        names: Sequence[str] | None,
    ) -> None:
        self.forward, self.backward, self.extra = forward, backward, extra
        self.inputs = Inputs(forward, inputs, names)
        self.wrote = False
        out, _ = self.run(self.inputs.build(self.inputs.theta))
        self.outputs = Outputs(out)

    def run(self, arguments: Sequence[Any]) -> tuple[Any, Any]:
        """Return the outputs (one, or a tuple) and the cache."""
        given: Any = self.forward(*arguments, **copy.deepcopy(self.extra))
        if not isinstance(given, tuple) or len(cast("tuple[Any, ...]", given)) < 2:
            raise TypeError(f"forward must return (out, cache), got {describe(given)}")
        *outputs, cache = cast("tuple[Any, ...]", given)
        return (outputs[0] if len(outputs) == 1 else tuple(outputs)), cache

    def loss(self, weights: Array) -> Callable[[dict[str, Any]], complex]:
        """Return Σ weights · out as a function of the inputs."""
        return lambda values: self.outputs.weighted(self.run(self.inputs.arguments(values))[0], weights)

    def gradient(self, weights: Array) -> Callable[[dict[str, Any]], dict[str, Any]]:
        """Return what backward says of it."""

        def gradient(values: dict[str, Any]) -> dict[str, Any]:
            _, cache = self.run(self.inputs.arguments(values))
            douts = self.outputs.arrays(weights)
            before = [dout.copy() for dout in douts]
            found = self.backward(*douts, cache)
            # A gradient that is a view of dout must not change with it.
            found = copy.deepcopy(found)
            self.wrote |= any(not np.array_equal(a, b) for a, b in zip(before, douts, strict=True))
            return self.inputs.gradients(found)

        return gradient
