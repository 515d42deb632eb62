"""The checks of derivations, on small networks of the depths that a derivation is for.

Whether its gradients are right is checked by `backproof check`: a wrong one may be installed to be examined.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np

from backproof.conformance.harness import Checks
from backproof.contracts import CLASSIFICATION, Array, Derivation, Loss, Trace
from backproof.contracts.errors import require
from backproof.discovery.registry import registry
from backproof.nn.derivation import trace_and_gradients
from backproof.nn.mlp import MLP

CHECKS = Checks(Derivation)


@dataclass(frozen=True)
class _Case:
    """A derivation and the trace of a network that it is for."""

    derivation: Derivation
    trace: Trace

    def __str__(self) -> str:
        return f"{len(self.trace.W)} layers"

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each tensor by name."""
        weights: dict[str, tuple[int, ...]] = {f"W{layer}": W.shape for layer, W in self.trace.W.items()}
        return weights | {f"b{layer}": b.shape for layer, b in self.trace.b.items()}


def _cases(derivation: Derivation) -> list[_Case]:
    cases: list[_Case] = []
    reason = ""
    for hidden in ((), (4,), (4, 6), (4, 6, 2)):
        case = _Case(derivation, _trace(hidden))
        try:
            derivation.check(case.shapes)
        except ValueError as error:
            reason = str(error)
        else:
            cases.append(case)
    require(cases, f"it must be for a network of 1 to 4 layers with 3 outputs; it says: {reason}")
    return cases


def _trace(hidden: tuple[int, ...]) -> Trace:
    """Return the trace of a network whose sizes all differ, so that a transposed tensor has another shape."""
    plugins, D, K, N = registry(), 5, 3, 7
    losses = cast("list[type[Loss]]", [entry.cls for entry in plugins.entries("loss")])
    loss = next(cls() for cls in losses if CLASSIFICATION in cls.default_for)
    activation = plugins.build("activation", plugins.names("activation")[0])
    net = MLP((D, *hidden, K), activation, loss)
    rng = np.random.default_rng(0)
    theta = rng.standard_normal((1, net.layout.P))
    y = loss.encode(np.arange(N) % K, K, np.float64)
    return trace_and_gradients(net, theta[0], rng.standard_normal((N, D)), y)[0]


@CHECKS.add_for(_cases)
def check_tensors(case: _Case) -> None:
    """There is a finite gradient of its shape for each tensor, and nothing else."""
    returned = cast("object", case.derivation.gradients(case.trace))
    require(isinstance(returned, dict), f"gradients() must return a dict, got {type(returned).__name__}")
    gradients = cast("dict[str, Array]", returned)
    require(
        set(gradients) == set(case.shapes),
        f"expected the tensors {', '.join(case.shapes)}, got {', '.join(gradients)}",
    )
    for name, shape in case.shapes.items():
        require(
            np.shape(gradients[name]) == shape,
            f"the gradient of {name} must have its shape {shape}, got {np.shape(gradients[name])}",
        )
        require(np.isfinite(gradients[name]).all(), f"the gradient of {name} must be finite")


@CHECKS.add_for(_cases)
def check_repeatable(case: _Case) -> None:
    """The same trace gives the same bits."""
    first, second = (
        {name: np.array(gradient) for name, gradient in case.derivation.gradients(case.trace).items()}
        for _ in range(2)
    )
    for name in first:
        require(np.array_equal(first[name], second[name]), f"the gradient of {name} differs from call to call")
