"""What is checked: small networks at fresh and at trained parameters, and gradients of them, right or wrong."""

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
#: Two gradients whose tensors differ by no more than this, relatively and by norm, are the same but for rounding.
SAME = 1e-12


@dataclass(frozen=True)
class Planted(Derivation):
    """A rule in the place of the network's own backward pass."""

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
    theta: Array  # (P,) of the dtype in which it is to be checked
    moment: str

    @property
    def label(self) -> str:
        """`relu, depth 2, trained, float32, 5-8-6-3`."""
        sizes = self.net.sizes
        return (
            f"{self.net.activation.name}, depth {len(sizes) - 2}, {self.moment}, {self.theta.dtype}, "
            + "-".join(map(str, sizes))
        )

    def given(self, rule: Rule | None) -> Candidate:
        """The network with this rule for its gradient; None for its own."""
        derivation = None if rule is None else Planted(rule)
        return Candidate(dataclasses.replace(self, net=dataclasses.replace(self.net, derivation=derivation)))

    def gap(self, rule: Rule, other: Rule | None = None) -> float:
        """How far the rule's gradient is from another's, or from the right one, in float64: relatively and by norm,
        for the tensor that is furthest off. No more than SAME: the rule is no mistake here."""
        wide = dataclasses.replace(self, theta=self.theta.astype(np.float64))
        right, given = wide.given(other), wide.given(rule)
        pairs = zip(
            right.split(right.gradient(wide.theta)), given.split(given.gradient(wide.theta)), strict=True
        )
        return max(_relative(a, b) for a, b in pairs)


class Candidate:
    """A loss and a gradient that somebody claims for it, as functions of theta alone: what every checker is given.

    All is computed by the network's own NumPy code in theta's dtype, whichever the checker.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.theta, self.layout = problem.theta, problem.net.layout

    @functools.cached_property
    def objective(self) -> DataLoss:
        """The loss on the samples, in theta's dtype."""
        return DataLoss(self.problem.net, self.problem.X, self.problem.y, self.theta.dtype)

    def value(self, theta: Array) -> Any:
        """The loss at theta (P,), a scalar of theta's dtype."""
        return self.objective.value(theta.astype(self.theta.dtype, copy=False)[None])[0]

    def gradient(self, theta: Array) -> Array:
        """The claimed gradient (P,) at theta (P,)."""
        return self.objective.gradient(theta.astype(self.theta.dtype, copy=False)[None])[0].copy()

    def split(self, flat: Array) -> list[Array]:
        """W1, b1, W2, ... as arrays of their own, from a flat vector (P,)."""
        return [each.copy() for each in self.layout.tensors(flat).values()]

    def join(self, tensors: list[Array]) -> Array:
        """The flat vector (P,) of W1, b1, W2, ..."""
        flat = np.empty(self.layout.P, self.theta.dtype)
        for view, each in zip(self.layout.tensors(flat).values(), tensors, strict=True):
            view[...] = each
        return flat


def _relative(a: Array, b: Array) -> float:
    whole = max(float(np.linalg.norm(a)), float(np.linalg.norm(b)))
    return float(np.linalg.norm(a - b)) / whole if whole else 0.0


def problem(
    activation: str, sizes: tuple[int, ...], moment: str, dtype: str, rng: np.random.Generator
) -> Problem:
    """A random network on random samples whose classes a random linear map gives.

    Fresh: He's initial weights, every parameter moved by N(0, 0.1²), so that no bias is zero. Trained: Adam for 5
    to 60 epochs from there, on all samples.
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
    # What a float32 network is given is float32: samples as well.
    return Problem(net, X.astype(dtype).astype(np.float64), y, theta[0].astype(dtype), moment)


def problems(per_cell: int, seed: int, every: int = 1) -> Iterator[Problem]:
    """`per_cell` random networks of every activation, depth, moment and dtype, each of random sizes. `every` takes
    one of these sorts in so many."""
    cells = [(a, d, m, t) for a in ACTIVATIONS for d in DEPTHS for m in MOMENTS for t in DTYPES]
    for number in range(per_cell):
        for cell, (activation, depth, moment, dtype) in list(enumerate(cells))[::every]:
            rng = np.random.default_rng((seed, number, cell))
            hidden = rng.integers(4, 10, depth)
            sizes = (int(rng.integers(3, 9)), *map(int, hidden), int(rng.integers(3, 6)))
            yield problem(activation, sizes, moment, dtype, rng)
