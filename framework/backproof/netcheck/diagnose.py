"""Floor 3: the diagnosis of a network's wrong gradient: the points at which its derivation is compared."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import cast

import numpy as np

from backproof.contracts import Array, Derivation, Penalty, Trace
from backproof.data import with_ones
from backproof.gradcheck.oracles import Axes, Dense, central_differences, complex_step
from backproof.netcheck.diagnosis import (
    Case,
    Diagnosis,
    Evaluate,
    diagnose,
    penalty_findings,
    plain_gradients,
    repeat_findings,
)
from backproof.nn.derivation import DerivedPass
from backproof.nn.mlp import MLP, Objective, Pass
from backproof.nn.training import slice_members

#: Samples of each point: none is a size of the network, so that no two axes have the same length.
SAMPLES = (23, 7, 3, 1)
#: Single samples that are compared to locate what is wrong.
PROBES = 6
#: A larger network is diagnosed by a smaller one of the same depth, if its derivation can be used there.
LARGEST = 6000
SMALLER = (13, 11, 9, 8, 6, 5)
#: How far a gradient may be from the oracle along a direction, relative to its norm.
EXACT, DIFFERENCES = 1e-9, 1e-5


def diagnose_network(
    net: MLP, X: Array, y: Array, penalty: Penalty, theta: Array, *, seed: int = 0
) -> Diagnosis:
    """What is wrong with the gradient of a network whose check failed, in float64.

    X (N, D) scaled features, y (N, K) encoded targets, theta (R, P) where the check failed, of which the first
    member counts. The points are theta moved by N(0, 0.1²), on some of the samples, and random ones.
    """
    points = _Points(net, X, y, penalty, theta, seed)
    if net.layout.P > LARGEST:
        small = _Points(_smaller(net), None, y, penalty, None, seed)
        found = small.diagnosis_if_usable(points.tiny)
        if found is not None and not found.ok:
            sizes = "-".join(map(str, small.net.sizes))
            return dataclasses.replace(
                found, notes=(*found.notes, f"found on a network {sizes} of the same depth")
            )
    return points.diagnosis(points.tiny)


def traced(net: MLP, theta: Array, X: Array, y: Array) -> tuple[Trace, dict[str, Array]]:
    """The trace of a network at theta (P,), and the gradients by tensor that it computes, by its derivation if it
    has one."""
    theta = np.ascontiguousarray(theta[None], np.float64)
    grad, N = np.zeros_like(theta), len(X)
    passing = Pass(net, theta, grad, N)
    x, z = with_ones(X, np.float64)[None], np.empty((1, net.sizes[-1], N))
    targets = np.asarray(y, np.float64).T.copy()[None].swapaxes(1, 2)
    passing.forward(x.swapaxes(1, 2), z)
    passing.backward(x, targets, z.swapaxes(1, 2))
    given = {name: view[0].copy() for name, view in net.layout.tensors(grad).items()}
    # The trace itself asks nothing of a derivation; a native one, or None, has given its gradients above.
    trace = DerivedPass(net, cast(Derivation, net.derivation), passing, theta, grad).trace(
        0, x, targets, z.swapaxes(1, 2)
    )
    return trace, given


def _smaller(net: MLP) -> MLP:
    """A network of the same depth with few units."""
    limits = [SMALLER[min(i, len(SMALLER) - 1)] for i in range(len(net.sizes))]
    sizes = tuple(min(size, limit) for size, limit in zip(net.sizes, limits, strict=True))
    return dataclasses.replace(net, sizes=(*sizes[:-1], min(net.sizes[-1], 10)))


class _Points:
    """The cases of a network, at the data and theta given, and at random ones."""

    def __init__(
        self, net: MLP, X: Array | None, y: Array, penalty: Penalty, theta: Array | None, seed: int
    ) -> None:
        self.net, self.X, self.penalty = net, X, penalty
        self.y = np.asarray(y, np.float64)
        self.theta = None if theta is None else np.array(theta.reshape(-1, net.layout.P)[0], np.float64)
        self.rng = np.random.default_rng((seed, 3))
        self._first_theta = np.zeros(net.layout.P)

    def diagnosis(self, evaluate: Evaluate) -> Diagnosis:
        """Of the derivation at these points, and of the penalty at the first of them."""
        cases = self._cases()
        calls = [traced(self.net, self._first_theta, cases[0].trace.x, cases[0].trace.y)[1] for _ in range(3)]
        findings = repeat_findings(calls, cases[0].expected)
        found = Diagnosis(tuple(findings), points=1)
        if not findings:
            found = diagnose(cases, evaluate, self._probes())
        off = penalty_findings(cases[0].penalty, self._penalty_expected(self._first_theta))
        wrong = {tensor for each in found.findings for tensor in each.tensors}
        formulas: Mapping[str, str] = getattr(self.net.derivation, "formulas", {})
        written = {tensor: formula for tensor, formula in formulas.items() if tensor in wrong}
        return dataclasses.replace(found, findings=(*found.findings, *off), written=written)

    def diagnosis_if_usable(self, evaluate: Evaluate) -> Diagnosis | None:
        """None where the derivation is for the sizes of its own network only, and fails at others."""
        try:
            return self.diagnosis(evaluate)
        except Exception:  # noqa: BLE001 - a person's code may fail in any way; the caller takes the network itself.
            return None

    def _cases(self) -> list[Case]:
        """One for each number of samples."""
        counts: list[int] = []
        for count in SAMPLES:
            while count > 1 and (count in self.net.sizes or count in counts):
                count += 1
            counts.append(count)
        return [self._case(count, given=i == 0) for i, count in enumerate(counts)]

    def _probes(self) -> list[Case]:
        """A single sample with some of the targets that the data has."""
        theta, x = self._theta(given=False), self.rng.normal(0, 1, (1, self.net.sizes[0]))
        # More of them than there are in a batch: all of a few classes are then among them.
        targets = np.unique(self._targets(self.rng.integers(0, len(self.y), 40)), axis=0)
        return [self._compared(theta, x, y[None]) for y in targets[:PROBES]]

    def tiny(self, params: dict[str, Array], x: Array, y: Array) -> tuple[Trace, Mapping[str, Array]] | None:
        """The network at other sizes; None where the derivation fails there."""
        depth = self.net.layout.depth
        sizes = (x.shape[1], *(len(params[f"b{layer}"]) for layer in range(1, depth + 1)))
        net = dataclasses.replace(self.net, sizes=sizes)
        try:
            return traced(net, net.layout.pack(params), x, y)
        except Exception:  # noqa: BLE001 - as above: there is no example then, which the diagnosis says.
            return None

    def _case(self, count: int, *, given: bool) -> Case:
        theta = self._theta(given)
        if given:
            self._first_theta = theta
        rows = np.resize(self.rng.permutation(len(self.y)), count)
        x = self.rng.normal(0, 1, (count, self.net.sizes[0]))
        if given and self.X is not None:
            x = np.asarray(self.X[rows], np.float64)
        return self._compared(theta, x, self._targets(rows))

    def _compared(self, theta: Array, x: Array, y: Array) -> Case:
        trace, gradients = traced(self.net, theta, x, y)
        expected = self._expected(trace, theta, x, y)
        return Case(trace, gradients, expected, self._penalty(theta))

    def _theta(self, given: bool) -> Array:
        if given and self.theta is not None:
            return self.theta + self.rng.normal(0, 0.1, self.theta.shape)
        theta = np.empty(self.net.layout.P)
        for name, view in self.net.layout.tensors(theta).items():
            view[...] = self.rng.normal(0, 0.5 if name[0] == "b" else view.shape[-1] ** -0.5, view.shape)
        return theta

    def _targets(self, rows: Array) -> Array:
        """Targets as the data has them, or as many of them as the network has outputs."""
        K, y = self.net.sizes[-1], self.y
        if y.shape[1] == K:
            return y[rows]
        # Fewer outputs than the data has: a class is taken modulo their number.
        return np.eye(K)[np.argmax(y[rows], axis=1) % K] if _one_hot(y) else y[rows, :K]

    def _expected(self, trace: Trace, theta: Array, X: Array, y: Array) -> dict[str, Array]:
        """The gradient that the loss proves: the network's own, or a plain backward pass, where it passes a check
        along random directions; by the oracle alone where neither does."""
        net = self.net
        objective = Objective(net, X, y)
        exact = net.activation.complex_step and net.loss.complex_step
        oracle = complex_step if exact else central_differences
        v = np.random.default_rng(0).normal(size=(4, len(theta)))
        slopes, _ = oracle(objective.value, theta, Dense(np.arange(len(theta)), v))
        own: Sequence[Callable[[], dict[str, Array]]] = (trace.backprop, lambda: plain_gradients(trace))
        for gradients in own:
            named = gradients()
            flat = net.layout.pack(named)
            gap = np.abs(v @ flat - slopes).max()
            if gap <= (EXACT if exact else DIFFERENCES) * max(1e-12, float(np.linalg.norm(flat))):
                return named
        slopes, _ = oracle(objective.value, theta, Axes(np.arange(len(theta))))
        return {name: view.copy() for name, view in net.layout.tensors(slopes).items()}

    def _penalty(self, theta: Array) -> dict[str, Array]:
        """The penalty's gradient by tensor."""
        penalty = slice_members(self.penalty, slice(0, 1))
        grad = np.zeros((1, len(theta)))
        penalty.gradient(theta[None], self._mask(penalty), grad, np.empty_like(grad))
        return {name: view[0].copy() for name, view in self.net.layout.tensors(grad).items()}

    def _penalty_expected(self, theta: Array) -> dict[str, Array]:
        """The same by the oracle."""
        penalty = slice_members(self.penalty, slice(0, 1))
        mask = self._mask(penalty)
        oracle = complex_step if penalty.complex_step else central_differences
        slopes, _ = oracle(lambda at: penalty.value(at, mask), theta, Axes(np.arange(len(theta))))
        return {name: view.copy() for name, view in self.net.layout.tensors(slopes).items()}

    def _mask(self, penalty: Penalty) -> Array:
        return self.net.layout.mask(np.float64, biases=penalty.biases)


def _one_hot(y: Array) -> bool:
    return bool(np.allclose(y.sum(axis=1), 1) and (y >= 0).all())
