"""The problems: small networks at fresh and at trained parameters, with right or wrong gradients."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from backproof.contracts import Array, Derivation, Trace
from backproof.data import Batches
from backproof.discovery.registry import registry
from backproof.nn.mlp import MLP
from backproof.nn.objective import DataLoss
from backproof.nn.training import train

from benchmarks.gradcheck.mistakes import Rule

ACTIVATIONS, DEPTHS, MOMENTS, DTYPES = (
    ("tanh", "relu", "gelu"),
    (1, 2, 3),
    ("fresh", "trained"),
    ("float64", "float32"),
)
SAMPLES = 23
#: Gradients whose tensors differ by no more than this, relative to their norms, are equal up to rounding.
SAME = 1e-12


@dataclass(frozen=True)
class Planted(Derivation):
    """A rule that replaces the network's own backward pass."""

    name: ClassVar[str] = "planted"

    rule: Any = None

    def gradients(self, trace: Trace) -> dict[str, Array]:
        return self.rule(trace)


@dataclass(frozen=True)
class Problem:
    """A network with the right gradient, on SAMPLES samples, at one point."""

    net: MLP
    X: Array  # (N, D)
    y: Array  # (N, K) one-hot
    theta: Array  # (P,), in the dtype of the check
    moment: str

    @property
    def label(self) -> str:
        """Return for example `relu, depth 2, trained, float32, 5-8-6-3`."""
        sizes = self.net.sizes
        return (
            f"{self.net.activation.name}, depth {len(sizes) - 2}, {self.moment}, {self.theta.dtype}, "
            + "-".join(map(str, sizes))
        )

    def candidate(self, rule: Rule | None) -> Candidate:
        """Return the network with this rule as its gradient; with its own if it is None."""
        derivation = None if rule is None else Planted(rule)
        return Candidate(dataclasses.replace(self, net=dataclasses.replace(self.net, derivation=derivation)))

    def gap(self, rule: Rule, other: Rule | None = None) -> float:
        """Return the largest relative difference, by norm, of a tensor's gradient by this rule and by another one.

        The other one is the right rule if it is None. Computed in float64; up to SAME the rules are equivalent.
        """
        wide = dataclasses.replace(self, theta=self.theta.astype(np.float64))
        gradients = [
            candidate.split(candidate.gradient(wide.theta))
            for candidate in (wide.candidate(other), wide.candidate(rule))
        ]
        return max(_relative(a, b) for a, b in zip(*gradients, strict=True))


class Candidate:
    """A loss and a claimed gradient as functions of theta: the input of every checker.

    Both are computed by the network's NumPy code in theta's dtype, whatever the checker.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.theta, self.layout = problem.theta, problem.net.layout

    @functools.cached_property
    def objective(self) -> DataLoss:
        """Return the loss on the samples, in theta's dtype."""
        return DataLoss(self.problem.net, self.problem.X, self.problem.y, self.theta.dtype)

    def value(self, theta: Array) -> Any:
        """Return the loss at theta (P,), a scalar of theta's dtype."""
        return self.objective.value(theta.astype(self.theta.dtype, copy=False)[None])[0]

    def gradient(self, theta: Array) -> Array:
        """Return the claimed gradient (P,) at theta (P,)."""
        return self.objective.gradient(theta.astype(self.theta.dtype, copy=False)[None])[0].copy()

    def split(self, flat: Array) -> list[Array]:
        """Return W1, b1, W2, ... as separate arrays, from a flat vector (P,)."""
        return [view.copy() for view in self.layout.tensors(flat).values()]

    def join(self, tensors: list[Array]) -> Array:
        """Return the flat vector (P,) of W1, b1, W2, ..."""
        flat = np.empty(self.layout.P, self.theta.dtype)
        for view, tensor in zip(self.layout.tensors(flat).values(), tensors, strict=True):
            view[...] = tensor
        return flat


def _relative(a: Array, b: Array) -> float:
    size = max(float(np.linalg.norm(a)), float(np.linalg.norm(b)))
    return float(np.linalg.norm(a - b)) / size if size else 0.0


def problem(
    activation: str, sizes: tuple[int, ...], moment: str, dtype: str, rng: np.random.Generator
) -> Problem:
    """Return a random network with random samples, whose classes a random linear map determines.

    Fresh: He's initial weights, with every parameter moved by N(0, 0.1²), so that no bias is zero. Trained: after 5
    to 60 epochs of Adam from there, on all samples.
    """
    build = registry().build
    net = MLP(sizes, build("activation", activation), build("loss", "softmax_cross_entropy"))
    X = rng.standard_normal((SAMPLES, sizes[0]))
    classes = (X @ rng.standard_normal((sizes[0], sizes[-1]))).argmax(axis=1)
    y = net.loss.encode(classes, sizes[-1], np.float64)
    theta = net.initial(build("initializer", "he_normal"), [rng], np.float64)
    theta += rng.normal(0, 0.1, theta.shape)
    if moment == "trained":
        train(
            net,
            theta,
            Batches(X, y, 8, [rng], np.float64),
            epochs=int(rng.integers(5, 61)),
            optimizer=build("optimizer", "adam", {"lr": 0.02}),
            schedule=build("schedule", "constant"),
            penalty=build("penalty", "none"),
            after_epoch=lambda epoch, losses: True,
        )
    # A float32 network also has float32 samples.
    return Problem(net, X.astype(dtype).astype(np.float64), y, theta[0].astype(dtype), moment)


def problems(per_cell: int, seed: int, every: int = 1) -> Iterator[Problem]:
    """Yield `per_cell` networks of random sizes for each combination of activation, depth, moment and dtype.

    Use only one in `every` of these combinations.
    """
    cells = [(a, d, m, t) for a in ACTIVATIONS for d in DEPTHS for m in MOMENTS for t in DTYPES]
    for number in range(per_cell):
        for cell, (activation, depth, moment, dtype) in list(enumerate(cells))[::every]:
            rng = np.random.default_rng((seed, number, cell))
            hidden = rng.integers(4, 10, depth)
            sizes = (int(rng.integers(3, 9)), *map(int, hidden), int(rng.integers(3, 6)))
            yield problem(activation, sizes, moment, dtype, rng)
