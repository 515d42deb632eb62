"""Diagnosis of a network's wrong gradient: the points at which it is compared with the right one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from backproof.contracts import Array, Penalty, Trace
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
from backproof.nn.derivation import trace_and_gradients
from backproof.nn.mlp import MLP
from backproof.nn.objective import DataLoss, PenaltyTerm

#: The number of samples at each point. It is raised if it is a size of the network: no two axes have one length.
SAMPLES = (23, 7, 3, 1)
#: The number of single samples that are compared to locate a mistake.
PROBES = 6
#: A network with more parameters is diagnosed on a smaller one of the same depth, if its derivation allows that.
MOST_PARAMETERS = 6000
SMALL_SIZES = (13, 11, 9, 8, 6, 5)
#: The largest error along a direction of a gradient that counts as right, relative to its norm.
EXACT, DIFFERENCES = 1e-9, 1e-5


def diagnose_network(
    net: MLP, X: Array, y: Array, penalty: Penalty, theta: Array, *, seed: int = 0
) -> Diagnosis:
    """Diagnose the gradient of a network whose check failed, in float64.

    X (N, D) scaled features, y (N, K) encoded targets, theta (R, P) where the check failed, of which only
    the first member is used. The points are theta moved by N(0, 0.1²), on some of the samples, and random points.
    """
    points = _Points(net, X, y, penalty, theta, seed)
    if net.layout.P > MOST_PARAMETERS:
        small = _Points(_smaller(net), None, y, penalty, None, seed)
        diagnosis = small.diagnosis_if_usable(points.evaluate)
        if diagnosis is not None and not diagnosis.ok:
            sizes = "-".join(map(str, small.net.sizes))
            note = f"found on a network {sizes} of the same depth"
            return dataclasses.replace(diagnosis, notes=(*diagnosis.notes, note))
    return points.diagnosis(points.evaluate)


def _smaller(net: MLP) -> MLP:
    """Return a network of the same depth with few units."""
    limits = [SMALL_SIZES[min(i, len(SMALL_SIZES) - 1)] for i in range(len(net.sizes))]
    sizes = tuple(min(size, limit) for size, limit in zip(net.sizes, limits, strict=True))
    return dataclasses.replace(net, sizes=(*sizes[:-1], min(net.sizes[-1], 10)))


class _Points:
    """The points of a network: one at the given data and theta, the others random."""

    def __init__(
        self, net: MLP, X: Array | None, y: Array, penalty: Penalty, theta: Array | None, seed: int
    ) -> None:
        self.net, self.X, self.penalty = net, X, PenaltyTerm(penalty, net.layout)
        self.y = np.asarray(y, np.float64)
        self.theta = None if theta is None else np.array(theta.reshape(-1, net.layout.P)[0], np.float64)
        self.rng = np.random.default_rng((seed, 3))
        self._first_theta = np.zeros(net.layout.P)

    def diagnosis(self, evaluate: Evaluate) -> Diagnosis:
        """Diagnose the derivation at these points, and the penalty at the first of them."""
        cases = self._cases()
        first = cases[0].trace
        calls = [trace_and_gradients(self.net, self._first_theta, first.x, first.y)[1] for _ in range(3)]
        findings = repeat_findings(calls, cases[0].expected)
        diagnosis = Diagnosis(tuple(findings), points=1)
        if not findings:
            diagnosis = diagnose(cases, evaluate, self._probes())
        penalty = penalty_findings(cases[0].penalty, self._expected_penalty(self._first_theta))
        wrong = {tensor for finding in diagnosis.findings for tensor in finding.tensors}
        formulas: Mapping[str, str] = getattr(self.net.derivation, "formulas", {})
        written = {tensor: formula for tensor, formula in formulas.items() if tensor in wrong}
        return dataclasses.replace(diagnosis, findings=(*diagnosis.findings, *penalty), written=written)

    def diagnosis_if_usable(self, evaluate: Evaluate) -> Diagnosis | None:
        """Return the diagnosis, or None if the derivation only works for the sizes of its own network."""
        try:
            return self.diagnosis(evaluate)
        except Exception:  # noqa: BLE001 - user code may fail in any way; the caller then uses the network itself.
            return None

    def evaluate(
        self, params: dict[str, Array], x: Array, y: Array
    ) -> tuple[Trace, Mapping[str, Array]] | None:
        """Return trace and gradients of the network at other sizes, or None if the derivation fails."""
        depth = self.net.layout.depth
        sizes = (x.shape[1], *(len(params[f"b{layer}"]) for layer in range(1, depth + 1)))
        net = dataclasses.replace(self.net, sizes=sizes)
        try:
            return trace_and_gradients(net, net.layout.pack(params), x, y)
        except Exception:  # noqa: BLE001 - as above; the diagnosis then says that there is no counterexample.
            return None

    def _cases(self) -> list[Case]:
        """Return one case for each number of samples."""
        counts: list[int] = []
        for count in SAMPLES:
            while count > 1 and (count in self.net.sizes or count in counts):
                count += 1
            counts.append(count)
        return [self._case(count, at_data=i == 0) for i, count in enumerate(counts)]

    def _probes(self) -> list[Case]:
        """Return single samples that differ in their targets only, one for each distinct target, up to PROBES."""
        theta, x = self._random_theta(), self.rng.normal(0, 1, (1, self.net.sizes[0]))
        # Enough rows to include every class if there are only a few.
        targets = np.unique(self._targets(self.rng.integers(0, len(self.y), 40)), axis=0)
        return [self._compare(theta, x, y[None]) for y in targets[:PROBES]]

    def _case(self, count: int, *, at_data: bool) -> Case:
        theta = self._moved_theta() if at_data else self._random_theta()
        if at_data:
            self._first_theta = theta
        rows = np.resize(self.rng.permutation(len(self.y)), count)
        x = self.rng.normal(0, 1, (count, self.net.sizes[0]))
        if at_data and self.X is not None:
            x = np.asarray(self.X[rows], np.float64)
        return self._compare(theta, x, self._targets(rows))

    def _compare(self, theta: Array, x: Array, y: Array) -> Case:
        trace, gradients = trace_and_gradients(self.net, theta, x, y)
        expected = self._expected(trace, theta, x, y)
        return Case(trace, gradients, expected, self._by_tensor(self.penalty.gradient(theta)))

    def _moved_theta(self) -> Array:
        if self.theta is None:
            return self._random_theta()
        return self.theta + self.rng.normal(0, 0.1, self.theta.shape)

    def _random_theta(self) -> Array:
        theta = np.empty(self.net.layout.P)
        for name, view in self.net.layout.tensors(theta).items():
            view[...] = self.rng.normal(0, 0.5 if name[0] == "b" else view.shape[-1] ** -0.5, view.shape)
        return theta

    def _targets(self, rows: Array) -> Array:
        """Return the targets of these rows, reduced to the number of the network's outputs if that is smaller."""
        K, y = self.net.sizes[-1], self.y
        if y.shape[1] == K:
            return y[rows]
        # With fewer outputs than the data has classes, a class is taken modulo K.
        return np.eye(K)[np.argmax(y[rows], axis=1) % K] if _is_one_hot(y) else y[rows, :K]

    def _expected(self, trace: Trace, theta: Array, X: Array, y: Array) -> dict[str, Array]:
        """Return the right gradient.

        That is the gradient of the network's own backward pass, or of a plain one, if it agrees with the oracle
        along random directions; otherwise the oracle's.
        """
        net = self.net
        loss = DataLoss(net, X, y)
        exact = net.activation.complex_step and net.loss.complex_step
        oracle = complex_step if exact else central_differences
        v = np.random.default_rng(0).normal(size=(4, len(theta)))
        slopes, _ = oracle(loss.value, theta, Dense(np.arange(len(theta)), v))
        candidates: tuple[Callable[[], dict[str, Array]], ...] = (
            trace.backprop,
            lambda: plain_gradients(trace),
        )
        for candidate in candidates:
            gradients = candidate()
            flat = net.layout.pack(gradients)
            error = np.abs(v @ flat - slopes).max()
            if error <= (EXACT if exact else DIFFERENCES) * max(1e-12, float(np.linalg.norm(flat))):
                return gradients
        derivatives, _ = oracle(loss.value, theta, Axes(np.arange(len(theta))))
        return self._by_tensor(derivatives)

    def _expected_penalty(self, theta: Array) -> dict[str, Array]:
        """Return the oracle's gradient of the penalty by tensor."""
        oracle = complex_step if self.penalty.penalty.complex_step else central_differences
        derivatives, _ = oracle(self.penalty.value, theta, Axes(np.arange(len(theta))))
        return self._by_tensor(derivatives)

    def _by_tensor(self, gradient: Array) -> dict[str, Array]:
        return {name: view.copy() for name, view in self.net.layout.tensors(gradient).items()}


def _is_one_hot(y: Array) -> bool:
    return bool(np.allclose(y.sum(axis=1), 1) and (y >= 0).all())
