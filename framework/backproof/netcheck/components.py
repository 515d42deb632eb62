"""Floor 3: the pieces of a network checked one by one: activation, loss, penalty, inputs, second derivatives."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from backproof.contracts import Activation, Array, Penalty
from backproof.data import with_ones
from backproof.gradcheck import ALONE, CheckOptions, Part, Section, TensorResult, check_parts, check_products
from backproof.netcheck.kinks import samples_on_kinks, sides
from backproof.nn.mlp import MLP, Objective, Pass
from backproof.nn.training import slice_members

#: Usual pre-activations, odd in number; large ones; and steps beside a kink.
USUAL, LARGE = np.linspace(-6.01, 6.02, 101), np.array([-31.7, -15.3, -9.1, 9.3, 15.1, 31.9])
BESIDE = (-1e-3, -1e-6, 1e-6, 1e-3)
#: Sizes of the logits at which a loss is looked at.
SCALES = (0.1, 1.0, 10.0)


class PartChecks:
    """Checks the pieces of a network by themselves, on samples X (N, D), y (N, K) and at theta (R, P), of which the
    first member counts; in float64."""

    def __init__(
        self, net: MLP, X: Array, y: Array, penalty: Penalty, theta: Array, options: CheckOptions, seed: int
    ) -> None:
        self.net, self.penalty, self.options, self.seed = (
            net,
            slice_members(penalty, slice(0, 1)),
            options,
            seed,
        )
        count = len(X) if options.samples is None else min(options.samples, len(X))
        rows = np.random.default_rng(seed).permutation(len(X))[:count]
        self.X, self.y = X[rows].astype(np.float64), y[rows].astype(np.float64)
        self.theta = theta[0].astype(np.float64)

    def section(self, parts: Sequence[str]) -> Section:
        """These parts, in the order of `PARTS`."""
        sections = [check(self) for name, check in PARTS.items() if name in parts]
        return Section(
            ALONE,
            tuple(result for section in sections for result in section.results),
            notes=tuple(dict.fromkeys(note for section in sections for note in section.notes)),
            preconditions=tuple(each for section in sections for each in section.preconditions),
        )

    def activation(self) -> Section:
        """φ' as `backward` has it, at usual and at large pre-activations, beside kinks and on them."""
        activation = self.net.activation
        with np.errstate(all="ignore"):
            large = LARGE[np.abs(_phi(activation.forward, LARGE)) < 1e12]
        kinks = np.array(activation.kinks)
        points = {
            "φ'(a)": np.concatenate([_off(USUAL, kinks), large]),
            "φ'(a) beside kinks": np.ravel(kinks[:, None] + np.array(BESIDE)) if len(kinks) else np.empty(0),
            "φ'(a) on kinks": kinks,
        }
        points = {name: each for name, each in points.items() if len(each)}

        def value(a: Array) -> Array:
            return _phi(activation.forward, a).sum(axis=-1)

        def gradient(a: Array) -> Array:
            slope = np.ones_like(a)
            activation.backward(a, _phi(activation.forward, a), slope, (np.empty_like(a), np.empty_like(a)))
            return slope

        section = self._checked("activation", value, gradient, points, activation.complex_step)
        taken = gradient(kinks) if len(kinks) else ()
        notes = tuple(_convention(self.net.activation, *each) for each in zip(kinks, taken, strict=True))
        return dataclasses.replace(section, notes=notes)

    def loss(self) -> Section:
        """∂Err/∂z as `gradient` has it, at random logits of several sizes."""
        loss, (N, K) = self.net.loss, self.y.shape
        y = self.y.T.copy()[None].swapaxes(1, 2)
        rng = np.random.default_rng((self.seed, 7))
        sections: list[Section] = []
        for scale in SCALES:

            def value(z: Array) -> Array:
                return loss.value(_swapped(z.reshape(-1, N, K)), y)

            def gradient(z: Array) -> Array:
                logits = _swapped(z.reshape(1, N, K))
                grad = np.empty_like(logits)
                loss.gradient(logits, y, grad)
                return grad.reshape(-1)

            points = {f"∂Err/∂z, z ~ {scale:g}": scale * rng.standard_normal((N, K))}
            sections.append(self._checked("loss", value, gradient, points, loss.complex_step))
        results = tuple(result for section in sections for result in section.results)
        conditions = tuple(each for section in sections for each in section.preconditions)
        return Section(ALONE, results, preconditions=conditions)

    def penalty_part(self) -> Section:
        """∂Ω/∂θ tensor by tensor; nothing where there is no penalty."""
        penalty = self.penalty
        if penalty.null:
            return Section(ALONE, (), notes=("there is no penalty to check (penalty=none)",))
        mask = self.net.layout.mask(np.float64, biases=penalty.biases)

        def gradient(at: Array) -> Array:
            grad = np.zeros((1, len(at)))
            penalty.gradient(at[None], mask, grad, np.empty_like(grad))
            return grad[0]

        part = Part("penalty", lambda at: penalty.value(at, mask), gradient, penalty.complex_step)
        return self._section(part, self.theta, self.net.layout.indices)

    def inputs(self) -> Section:
        """∂Err/∂x by the network's own backward pass, of samples on no kink."""
        X, y, notes = self._off_kinks()
        if not len(X):
            return Section(ALONE, (), notes=notes)
        net = dataclasses.replace(self.net, derivation=None)
        shape, theta = X.shape, self.theta[None]
        values = _ValueOfInputs(net, y, theta)

        def gradient(at: Array) -> Array:
            return Objective(net, at.reshape(shape), y).input_gradient(theta)[0].reshape(-1)

        part = Part("inputs", values, gradient, self._exact)
        section = self._section(part, X.reshape(-1), {"∂Err/∂x": np.arange(X.size).reshape(shape)})
        return dataclasses.replace(section, notes=notes)

    def hessian(self) -> Section:
        """Hessian-vector products of the gradient, a derivation's own where there is one."""
        X, y, notes = self._off_kinks()
        if not len(X):
            return Section(ALONE, (), notes=notes)
        objective = Objective(self.net, X, y)
        # A copy of its own: the one is called between the calls of the other.
        graded = Objective(self.net, X, y)
        results = check_products(
            objective.value,
            lambda at: graded.gradient(at[None])[0].copy(),
            self.theta,
            self.net.layout.indices,
            self.options,
            complex_values=self._exact,
            seed=self.seed,
        )
        return Section(ALONE, tuple(results), notes=notes)

    @property
    def _exact(self) -> bool:
        return self.net.activation.complex_step and self.net.loss.complex_step

    def _off_kinks(self) -> tuple[Array, Array, tuple[str, ...]]:
        """The samples on no kink, and a note about the others."""
        on = samples_on_kinks(self.net, self.X, self.y, self.theta)
        note = f"{on.sum()} of {len(on)} samples lie on a kink of φ and are left out of inputs and hessian"
        return self.X[~on], self.y[~on], (note,) if on.any() else ()

    def _checked(
        self,
        name: str,
        value: Callable[[Array], Array],
        gradient: Callable[[Array], Array],
        points: dict[str, Array],
        exact: bool,
    ) -> Section:
        """The check of a function of numbers that are given by name."""
        tensors: dict[str, Array] = {}
        start = 0
        for tensor, each in points.items():
            tensors[tensor] = np.arange(start, start + each.size).reshape(each.shape)
            start += each.size
        flat = np.concatenate([each.ravel() for each in points.values()])
        section = self._section(Part(name, value, gradient, exact), flat, tensors)
        results = tuple(_placed(result, points[result.tensor]) for result in section.results)
        return dataclasses.replace(section, results=results)

    def _section(self, part: Part, theta: Array, tensors: dict[str, Array]) -> Section:
        return check_parts([part], theta, tensors, self.options, moment=ALONE, seed=self.seed)


#: The parts by the name that a user gives.
PARTS: dict[str, Callable[[PartChecks], Section]] = {
    "activation": PartChecks.activation,
    "loss": PartChecks.loss,
    "penalty": PartChecks.penalty_part,
    "inputs": PartChecks.inputs,
    "hessian": PartChecks.hessian,
}


class _ValueOfInputs:
    """The loss (S,) as a function of the inputs (S, N·D), at theta (1, P): all S·N of them as one batch."""

    def __init__(self, net: MLP, y: Array, theta: Array) -> None:
        self.net, self.theta = net, theta
        self.y = y.T.copy()[None].swapaxes(1, 2)
        self._last: tuple[Any, ...] | None = None

    def __call__(self, points: Array) -> Array:
        S, N, K = len(points), self.y.shape[1], self.net.sizes[-1]
        if self._last is None or self._last[:2] != (S, points.dtype):
            passing = Pass(self.net, self.theta.astype(points.dtype), None, S * N)
            self._last = S, points.dtype, passing, np.empty((1, K, S * N), points.dtype)
        _, _, passing, z = self._last
        x = with_ones(points.reshape(S * N, -1), points.dtype)
        passing.forward(x[None].swapaxes(1, 2), z)
        return self.net.loss.value(z.reshape(K, S, N).transpose(1, 2, 0), self.y)


def _convention(activation: Activation, kink: float, slope: float) -> str:
    """`φ'(0) = 0, between the slopes on its two sides, 0 and 1`."""
    low, high = sides(activation, kink)
    what = "between" if low - 1e-5 <= slope <= high + 1e-5 else "not between"
    return f"φ'({kink:g}) = {slope:.6g}, {what} the slopes on its two sides, {low:.6g} and {high:.6g}"


def _placed(result: TensorResult, points: Array) -> TensorResult:
    """The result with the point of its worst entry."""
    if result.worst is None:
        return result
    note = f"at {points[result.worst.index]:.6g}"
    return dataclasses.replace(result, note="; ".join(filter(None, (note, result.note))))


def _phi(forward: Callable[[Array, Array], None], a: Array) -> Array:
    out = np.empty_like(a)
    forward(a, out)
    return out


def _off(a: Array, kinks: Array) -> Array:
    return a[(np.abs(a[:, None] - kinks) > 1e-6).all(axis=1)]


def _swapped(z: Array) -> Array:
    """(S, N, K) numbers laid out as logits are: samples contiguous."""
    return z.swapaxes(1, 2).copy().swapaxes(1, 2)
