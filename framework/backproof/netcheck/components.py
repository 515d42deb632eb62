"""The components of a network checked one by one: activation, loss, penalty, inputs, second derivatives."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from backproof.contracts import Array, Penalty
from backproof.data import with_ones
from backproof.gradcheck import ALONE, CheckOptions, Part, Section, TensorResult, check_parts
from backproof.gradcheck.hessian import check_products
from backproof.gradcheck.report import PASSED, UNTESTED
from backproof.netcheck.kinks import describe_slope, one_sided_slopes, samples_on_kinks
from backproof.netcheck.samples import draw_rows
from backproof.nn.derivation import build_pass
from backproof.nn.functions import dphi, features_first, phi, stacked_targets
from backproof.nn.mlp import MLP, Pass
from backproof.nn.objective import DataLoss, PenaltyTerm

#: Typical and large pre-activations, and offsets from a kink.
TYPICAL, LARGE = np.linspace(-6.01, 6.02, 101), np.array([-31.7, -15.3, -9.1, 9.3, 15.1, 31.9])
KINK_OFFSETS = (-1e-3, -1e-6, 1e-6, 1e-3)
#: Standard deviations of the logits at which a loss is checked.
LOGIT_SCALES = (0.1, 1.0, 10.0)
#: The name of the tensor of slopes of φ at its kinks, and the error of the slopes on the two sides.
ON_KINKS, SIDE_ERROR = "φ'(a) on kinks", 1e-5


class ComponentChecks:
    """Checks of the components of a network in float64, on samples X (N, D), y (N, K).

    Only the first member of theta (R, P) and of the penalty is checked.
    """

    def __init__(
        self, net: MLP, X: Array, y: Array, penalty: Penalty, theta: Array, options: CheckOptions, seed: int
    ) -> None:
        self.net, self.penalty, self.options, self.seed = net, PenaltyTerm(penalty, net.layout), options, seed
        rows = draw_rows(len(X), options, seed)
        self.X, self.y = X[rows].astype(np.float64), y[rows].astype(np.float64)
        self.theta = theta[0].astype(np.float64)

    def section(self, names: Sequence[str]) -> Section:
        """Check these components, in the order of `COMPONENTS`."""
        return _merged([check(self) for name, check in COMPONENTS.items() if name in names])

    def check_activation(self) -> Section:
        """Check φ' from `backward` at typical and large pre-activations, near kinks and on them."""
        activation = self.net.activation
        with np.errstate(all="ignore"):
            large = LARGE[np.abs(phi(activation, LARGE)) < 1e12]
        kinks = np.array(activation.kinks)
        points = {
            "φ'(a)": np.concatenate([_without_kinks(TYPICAL, kinks), large]),
            "φ'(a) near kinks": np.ravel(kinks[:, None] + np.array(KINK_OFFSETS)),
            ON_KINKS: kinks,
        }
        points = {name: values for name, values in points.items() if len(values)}

        def value(a: Array) -> Array:
            return phi(activation, a).sum(axis=-1)

        def gradient(a: Array) -> Array:
            return dphi(activation, a)

        section = self._check_function("activation", value, gradient, points, activation.complex_step)
        slopes = gradient(kinks) if len(kinks) else kinks
        sides = [one_sided_slopes(activation, kink) for kink in kinks]
        between = [
            low - SIDE_ERROR <= slope <= high + SIDE_ERROR
            for slope, (low, high) in zip(slopes, sides, strict=True)
        ]
        notes = tuple(
            describe_slope(kink, slope, *side, between=inside)
            for kink, slope, side, inside in zip(kinks, slopes, sides, between, strict=True)
        )
        # A slope of zero has no size to compare with; the slopes on the two sides of the kink bound it instead.
        results = tuple(
            dataclasses.replace(result, status=PASSED, note="between the slopes on the two sides")
            if result.tensor == ON_KINKS and result.status == UNTESTED and all(between)
            else result
            for result in section.results
        )
        return dataclasses.replace(section, results=results, notes=notes)

    def check_loss(self) -> Section:
        """Check ∂Err/∂z of `gradient` at random logits of several scales."""
        loss, (N, K) = self.net.loss, self.y.shape
        y = stacked_targets(self.y, np.float64)
        rng = np.random.default_rng((self.seed, 7))

        def value(z: Array) -> Array:
            return loss.value(features_first(z.reshape(-1, N, K)), y)

        def gradient(z: Array) -> Array:
            logits = features_first(z.reshape(1, N, K))
            grad = np.empty_like(logits)
            loss.gradient(logits, y, grad)
            return grad.reshape(-1)

        sections: list[Section] = []
        for scale in LOGIT_SCALES:
            points = {f"∂Err/∂z, z ~ {scale:g}": scale * rng.standard_normal((N, K))}
            sections.append(self._check_function("loss", value, gradient, points, loss.complex_step))
        return _merged(sections)

    def check_penalty(self) -> Section:
        """Check ∂Ω/∂θ tensor by tensor; nothing if there is no penalty."""
        plugin = self.penalty.penalty
        if plugin.null:
            return Section(ALONE, (), notes=("there is no penalty to check (penalty=none)",))
        part = Part("penalty", self.penalty.value, self.penalty.gradient, plugin.complex_step)
        return self._check(part, self.theta, self.net.layout.indices)

    def check_inputs(self) -> Section:
        """Check ∂Err/∂x of the network's own backward pass on samples that do not lie on a kink."""
        X, y, notes = self._samples_off_kinks()
        if not len(X):
            return Section(ALONE, (), notes=notes)
        net = dataclasses.replace(self.net, derivation=None)
        shape, theta = X.shape, self.theta[None]
        value = _LossOfInputs(net, y, theta)

        def gradient(inputs: Array) -> Array:
            return DataLoss(net, inputs.reshape(shape), y).input_gradient(theta)[0].reshape(-1)

        part = Part("inputs", value, gradient, self._complex_step)
        section = self._check(part, X.reshape(-1), {"∂Err/∂x": np.arange(X.size).reshape(shape)})
        return dataclasses.replace(section, notes=notes)

    def check_hessian(self) -> Section:
        """Check Hessian-vector products of the gradient; that of the derivation if there is one."""
        X, y, notes = self._samples_off_kinks()
        if not len(X):
            return Section(ALONE, (), notes=notes)
        # Separate buffers: value and gradient calls interleave.
        value, gradient = DataLoss(self.net, X, y), DataLoss(self.net, X, y)
        results = check_products(
            value.value,
            lambda theta: gradient.gradient(theta[None])[0].copy(),
            self.theta,
            self.net.layout.indices,
            self.options,
            complex_values=self._complex_step,
            seed=self.seed,
        )
        return Section(ALONE, tuple(results), notes=notes)

    @property
    def _complex_step(self) -> bool:
        return self.net.activation.complex_step and self.net.loss.complex_step

    def _samples_off_kinks(self) -> tuple[Array, Array, tuple[str, ...]]:
        """Return the samples that do not lie on a kink, and a note about the others."""
        on_kink = samples_on_kinks(self.net, self.X, self.y, self.theta)
        count = f"{on_kink.sum()} of {len(on_kink)} samples"
        note = f"{count} lie on a kink of φ and are excluded from inputs and hessian"
        return self.X[~on_kink], self.y[~on_kink], (note,) if on_kink.any() else ()

    def _check_function(
        self,
        name: str,
        value: Callable[[Array], Array],
        gradient: Callable[[Array], Array],
        points: dict[str, Array],
        complex_step: bool,
    ) -> Section:
        """Check an elementwise function at named arrays of points."""
        tensors: dict[str, Array] = {}
        start = 0
        for tensor, values in points.items():
            tensors[tensor] = np.arange(start, start + values.size).reshape(values.shape)
            start += values.size
        flat = np.concatenate([values.ravel() for values in points.values()])
        section = self._check(Part(name, value, gradient, complex_step), flat, tensors)
        results = tuple(_with_location(result, points[result.tensor]) for result in section.results)
        return dataclasses.replace(section, results=results)

    def _check(self, part: Part, theta: Array, tensors: dict[str, Array]) -> Section:
        return check_parts([part], theta, tensors, self.options, moment=ALONE, seed=self.seed)


#: The check of each component, by its name on the command line.
COMPONENTS: dict[str, Callable[[ComponentChecks], Section]] = {
    "activation": ComponentChecks.check_activation,
    "loss": ComponentChecks.check_loss,
    "penalty": ComponentChecks.check_penalty,
    "inputs": ComponentChecks.check_inputs,
    "hessian": ComponentChecks.check_hessian,
}


class _InputBuffers(NamedTuple):
    """Buffers for S sets of inputs of one dtype."""

    S: int
    network_pass: Pass
    z: Array  # (1, K, S·N)


class _LossOfInputs:
    """The loss (S,) as a function of the inputs (S, N·D), at theta (1, P). All S·N samples form one batch."""

    def __init__(self, net: MLP, y: Array, theta: Array) -> None:
        self.net, self.theta = net, theta
        self.y = stacked_targets(y, np.float64)
        self._last: _InputBuffers | None = None

    def __call__(self, inputs: Array) -> Array:
        S, N, K = len(inputs), self.y.shape[1], self.net.sizes[-1]
        network_pass, z = self._buffers(S, inputs)
        x = with_ones(inputs.reshape(S * N, -1), inputs.dtype)
        network_pass.forward(x[None].swapaxes(1, 2), z)
        return self.net.loss.value(z.reshape(K, S, N).transpose(1, 2, 0), self.y)

    def _buffers(self, S: int, inputs: Array) -> tuple[Pass, Array]:
        last = self._last
        if last is None or last.S != S or last.z.dtype != inputs.dtype:
            batch = S * self.y.shape[1]
            network_pass = build_pass(self.net, self.theta.astype(inputs.dtype), None, batch)
            last = _InputBuffers(S, network_pass, np.empty((1, self.net.sizes[-1], batch), inputs.dtype))
            self._last = last
        return last.network_pass, last.z


def _merged(sections: Iterable[Section]) -> Section:
    """Merge sections: all results, each note once, and all preconditions."""
    sections = list(sections)
    return Section(
        ALONE,
        tuple(result for section in sections for result in section.results),
        notes=tuple(dict.fromkeys(note for section in sections for note in section.notes)),
        preconditions=tuple(condition for section in sections for condition in section.preconditions),
    )


def _with_location(result: TensorResult, points: Array) -> TensorResult:
    """Return the result with a note that names the point of its worst entry."""
    if result.worst is None:
        return result
    note = f"at {points[result.worst.index]:.6g}"
    return dataclasses.replace(result, note="; ".join(filter(None, (note, result.note))))


def _without_kinks(a: Array, kinks: Array) -> Array:
    return a[(np.abs(a[:, None] - kinks) > 1e-6).all(axis=1)]
