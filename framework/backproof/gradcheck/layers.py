"""`check_layer`: the backward pass of a layer as courses have it, `out, cache = forward(x, w, b)` and
`dx, dw, db = backward(dout, cache)`."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np

from backproof.contracts import Array
from backproof.gradcheck.check import check_function
from backproof.gradcheck.claim import AUTO, Settings
from backproof.gradcheck.courses import REFERENCES
from backproof.gradcheck.function import Function
from backproof.gradcheck.layer_findings import layer_findings
from backproof.gradcheck.layer_points import arrays
from backproof.gradcheck.report import GradcheckReport, Section
from backproof.gradcheck.trees import describe
from backproof.gradcheck.vector import Inputs, Outputs, douts

WROTE = "backward writes into dout: let it work on a copy, since other branches of a network use the same array"
#: Other names of options in forward's keyword arguments.
ALIASES = {
    "epsilon": "eps",
    "padding": "pad",
    "pool_size": "pool",
    "pool_height": "pool",
    "kernel_size": "pool",
}


def check_layer(
    forward: Callable[..., Any],
    backward: Callable[..., Any],
    *inputs: Any,
    extra: Mapping[str, Any] | None = None,
    names: Sequence[str] | None = None,
    layer: str | None = None,
    oracle: str = AUTO,
    tolerance: float | None = None,
    noise: float | None = None,
    seed: int = 0,
) -> GradcheckReport:
    """Compare the gradients that `backward` returns with the derivatives of Σ dout·out, input by input.

        assert check_layer(affine_forward, affine_backward, x, w, b)

    forward   (*inputs, **extra) -> (out, cache), or (out1, out2, ..., cache) for several outputs; if it returns
              an array alone, backward is called with the inputs instead of the cache: (dout, *inputs)
    backward  (dout, cache) -> the gradients of the inputs in their order; (dout1, dout2, ..., cache) for several
    inputs    arrays of floating-point numbers are differentiated by; integers (labels, token indices), dicts of
              options and other values are passed on, and backward returns None for them, or leaves them out
    extra     further keyword arguments of forward, a copy at every call
    names     of the inputs; by default those of forward's parameters
    layer     what the layer is, a key of `backproof.gradcheck.courses.REFERENCES`; by default it is recognized by
              its outputs

    Where a gradient is wrong, `findings` of the report name the mistake if it is a common one. In a layer of the
    courses (affine, ReLU, sigmoid, tanh, softmax and hinge loss, batch and layer norm, dropout, convolution,
    max-pooling, RNN and LSTM step, attention, embedding) they say which term is wrong, with the right formula and
    an example in small integers; in any other layer that a gradient is zero, transposed, or a multiple of the right
    one, for instance.
    """
    if layer is not None and layer not in REFERENCES:
        raise ValueError(f"layer must be one of {', '.join(REFERENCES)}, got {layer!r}")
    checked = Layer(forward, backward, inputs, dict(extra or {}), names)
    settings = Settings(oracle, tolerance, noise)
    sections: list[Section] = []
    for moment, weights in douts(checked.outputs.size, seed):
        function = Function(checked.loss(weights), checked.inputs.theta, checked.gradient(weights))
        sections.append(check_function(function, settings, seed=seed, moment=moment))
    if checked.wrote:
        sections = [dataclasses.replace(section, notes=(*section.notes, WROTE)) for section in sections]
    report = GradcheckReport(tuple(sections))
    wrong = list(dict.fromkeys(result.tensor for _, result in report.failures))
    return (
        dataclasses.replace(report, findings=layer_findings(checked, wrong, layer, seed)) if wrong else report
    )


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

    @property
    def theta(self) -> dict[str, Any]:
        """The inputs that are differentiated by."""
        return self.inputs.theta

    @property
    def fixed(self) -> dict[str, Any]:
        """The other inputs and the options by name; integers in lists as arrays."""
        others = {name: value for name, value in self.inputs.all() if name not in self.theta}
        named = {ALIASES.get(name, name): value for name, value in _flattened({**others, **self.extra})}
        return {
            name: np.asarray(cast("Any", value)) if isinstance(value, list) else value
            for name, value in named.items()
        }

    def outputs_at(self, theta: dict[str, Any]) -> list[Array]:
        """Return the outputs at other inputs."""
        return arrays(self.run(self.inputs.arguments(theta))[0])

    def gradients_at(self, theta: dict[str, Any], douts: list[Array]) -> dict[str, Any]:
        """Return what backward gives at other inputs, a copy, and notice whether it writes into dout."""
        before = [dout.copy() for dout in douts]
        _, cache = self.run(self.inputs.arguments(theta))
        # A gradient that is a view of dout must not change with it.
        gradients = copy.deepcopy(self.backward(*douts, *cache))
        self.wrote |= any(not np.array_equal(a, b) for a, b in zip(before, douts, strict=True))
        named = self.inputs.gradients(gradients)
        for name, gradient in named.items():
            if isinstance(gradient, np.ndarray) and isinstance(theta.get(name), np.ndarray):
                _check_shape(name, cast("Array", gradient).shape, theta[name].shape)
        return named

    def run(self, arguments: Sequence[Any]) -> tuple[Any, tuple[Any, ...]]:
        """Return the outputs (one, or a tuple) and what backward takes after dout: the cache, or the inputs."""
        returned: Any = self.forward(*arguments, **copy.deepcopy(self.extra))
        if isinstance(returned, np.ndarray | np.generic | float):
            return cast("Any", returned), tuple(arguments)
        if not isinstance(returned, tuple) or len(cast("tuple[Any, ...]", returned)) < 2:
            raise TypeError(f"forward must return (out, cache) or an array, got {describe(returned)}")
        *outputs, cache = cast("tuple[Any, ...]", returned)
        return (outputs[0] if len(outputs) == 1 else tuple(outputs)), (cache,)

    def loss(self, weights: Array) -> Callable[[dict[str, Any]], complex]:
        """Return Σ weights · out as a function of the inputs."""
        return lambda values: self.outputs.weighted(self.run(self.inputs.arguments(values))[0], weights)

    def gradient(self, weights: Array) -> Callable[[dict[str, Any]], dict[str, Any]]:
        """Return the gradient of this loss by backward, as a function of the inputs."""
        return lambda values: self.gradients_at(values, self.outputs.arrays(weights))


def _flattened(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the values of a dict of options and of the dicts in it."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flattened(cast("dict[str, Any]", value))
        else:
            yield name, value


def _check_shape(name: str, got: tuple[int, ...], shape: tuple[int, ...]) -> None:
    """Raise ValueError for a gradient of another shape, and say what it looks like."""
    if got == shape:
        return
    hint = ""
    if len(got) > len(shape) and got[len(got) - len(shape) :] == shape:
        axes = ", ".join(map(str, range(len(got) - len(shape))))
        hint = f": {name} is broadcast over axis {axes} in forward, so that its gradient is summed over it"
    elif len(got) > 1 and got == shape[::-1]:
        hint = ": it looks transposed"
    elif len(got) == len(shape) and all(want in (1, size) for want, size in zip(shape, got, strict=True)):
        axes = ", ".join(str(axis) for axis, want in enumerate(shape) if want != got[axis])
        hint = f": {name} is broadcast over axis {axes} in forward; sum over it with keepdims=True"
    raise ValueError(f"the gradient of {name} must have its shape {shape}, got {got}{hint}")
