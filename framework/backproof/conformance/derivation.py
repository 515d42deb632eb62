"""What every derivation must keep, on small networks of the depths that it is for."""

from __future__ import annotations

from typing import cast

import numpy as np

from backproof.conformance.base import Check, ConformanceError, require
from backproof.contracts import CLASSIFICATION, Activation, Array, Derivation, Loss, Plugin, Trace
from backproof.discovery.registry import registry
from backproof.nn.derivation import trace_and_gradients
from backproof.nn.mlp import MLP


def _traces(plugin: Plugin) -> list[tuple[Derivation, Trace]]:
    """Traces of networks whose sizes all differ, so that a transposed tensor has another shape."""
    if not isinstance(plugin, Derivation):
        raise ConformanceError(f"expected a Derivation, got {type(plugin).__name__}")
    traces: list[tuple[Derivation, Trace]] = []
    reason = ""
    for hidden in ((), (4,), (4, 6), (4, 6, 2)):
        trace = _trace(hidden)
        try:
            plugin.check(_shapes(trace))
        except ValueError as error:
            reason = str(error)
        else:
            traces.append((plugin, trace))
    require(bool(traces), f"it must be for a network of 1 to 4 layers with 3 outputs; it says: {reason}")
    return traces


def _shapes(trace: Trace) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor by name."""
    weights: dict[str, tuple[int, ...]] = {f"W{layer}": W.shape for layer, W in trace.W.items()}
    return weights | {f"b{layer}": b.shape for layer, b in trace.b.items()}


def _trace(hidden: tuple[int, ...]) -> Trace:
    plugins, D, K, N = registry(), 5, 3, 7
    activation: Activation = plugins.build("activation", plugins.names("activation")[0])
    loss = next(
        cast("Loss", each.cls())
        for each in plugins.entries("loss")
        if CLASSIFICATION in _loss(each.cls).default_for
    )
    net = MLP((D, *hidden, K), activation, loss)
    rng = np.random.default_rng(0)
    theta = rng.standard_normal((1, net.layout.P))
    y = loss.encode(np.arange(N) % K, K, np.float64)
    return trace_and_gradients(net, theta[0], rng.standard_normal((N, D)), y)[0]


def _loss(cls: type[Plugin]) -> type[Loss]:
    return cast("type[Loss]", cls)


def check_tensors(plugin: Plugin) -> None:
    """A gradient of its shape, finite, for each tensor and nothing else."""
    for derivation, trace in _traces(plugin):
        given = cast("object", derivation.gradients(trace))
        require(isinstance(given, dict), f"gradients() must return a dict, got {type(given).__name__}")
        gradients = cast("dict[str, Array]", given)
        shapes = _shapes(trace)
        require(
            set(gradients) == set(shapes),
            f"expected the tensors {', '.join(shapes)}, got {', '.join(gradients)}",
        )
        for name, shape in shapes.items():
            require(
                np.shape(gradients[name]) == shape,
                f"the gradient of {name} must have its shape {shape}, got {np.shape(gradients[name])}",
            )
            require(np.isfinite(gradients[name]).all(), f"the gradient of {name} must be finite")


def check_repeatable(plugin: Plugin) -> None:
    """The same trace gives the same bits."""
    for derivation, trace in _traces(plugin):
        one, other = ({k: np.array(v) for k, v in derivation.gradients(trace).items()} for _ in range(2))
        for name in one:
            require(np.array_equal(one[name], other[name]), f"the gradient of {name} differs from call to call")


# Whether a derivation is right is for `backproof check` to say: one that is wrong may be installed to be looked at.
CHECKS: tuple[Check, ...] = (check_tensors, check_repeatable)
