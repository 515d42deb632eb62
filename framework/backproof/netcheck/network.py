"""The gradient check of a network at one point: its loss, its penalty, and its float32 arithmetic."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from backproof.contracts import Array, Penalty
from backproof.gradcheck import (
    CheckOptions,
    Part,
    Precondition,
    Section,
    TaylorTest,
    TensorResult,
    check_parts,
    taylor_test,
)
from backproof.gradcheck.differences import FIRST
from backproof.netcheck.kinks import Convention, KinkLinearisation, samples_near_kinks, samples_on_kinks
from backproof.netcheck.samples import draw_rows
from backproof.nn.mlp import MLP
from backproof.nn.objective import DataLoss, PenaltyTerm

#: The name of the part of the check that covers samples on kinks.
ON_KINKS = "kinks"


def preconditions(net: MLP, N: int, theta: Array) -> tuple[Precondition, ...]:
    """Return the conditions on the sizes, the N samples and theta (P,) under which no mistake is hidden."""
    D, K = net.sizes[0], net.sizes[-1]
    enough_outputs = K >= 3 or (K == 2 and net.loss.prediction != "value")
    return (
        Precondition("N ≥ 2 samples", N >= 2, f"N = {N}" if N >= 2 else "N = 1: a sum equals a mean"),
        Precondition("a batch of one sample too", N == 1),
        Precondition(
            "K ≥ 3 outputs, 2 for two classes",
            enough_outputs,
            f"K = {K}" + ("" if enough_outputs else ": a missing sum over outputs does not show"),
        ),
        Precondition(
            "D ≥ 2 inputs",
            D >= 2,
            f"D = {D}" + ("" if D >= 2 else ": a missing sum over inputs does not show"),
        ),
        _distinct_sizes(net, N),
        _nonzero_biases(net, theta),
    )


def _distinct_sizes(net: MLP, N: int) -> Precondition:
    distinct = len({N, *net.sizes}) == 1 + len(net.sizes)
    sizes = f"N = {N}, {'-'.join(map(str, net.sizes))}"
    detail = sizes if distinct else f"{sizes}: a transposed tensor has the same shape"
    return Precondition("all sizes differ", distinct, detail)


def _nonzero_biases(net: MLP, theta: Array) -> Precondition:
    tensors = net.layout.tensors(theta)
    zero = [name for name, tensor in tensors.items() if name.startswith("b") and not tensor.any()]
    detail = f"{', '.join(zero)} {'are' if len(zero) > 1 else 'is'} zero: a wrong use hides" if zero else ""
    return Precondition("biases that are not zero", not zero, detail)


def odd_sizes(net: MLP, y: Array, seed: int) -> tuple[MLP, Array, Array, Array]:
    """Return a network of the same plugins and depth with other sizes, and random X (N, D), y (N, K), theta (1, P).

    The sizes and N are odd and all differ, so that no transposed tensor fits; K is unchanged. y is drawn from the
    original targets.
    """
    K, rng = net.sizes[-1], np.random.default_rng((seed, 5))
    *inner, N = [size for size in range(5, 2 * len(net.sizes) + 9, 2) if size != K][: len(net.sizes)]
    odd_net = dataclasses.replace(net, sizes=(*rng.permutation(inner).tolist(), K))
    theta = np.empty((1, odd_net.layout.P))
    for name, tensor in odd_net.layout.tensors(theta).items():
        tensor[...] = rng.normal(0, 0.5 if name.startswith("b") else tensor.shape[-1] ** -0.5, tensor.shape)
    rows = np.resize(rng.permutation(len(y)), N)
    return odd_net, rng.standard_normal((N, odd_net.sizes[0])), y[rows], theta


class NetworkCheck:
    """Compare the hand-derived gradients of a network with its loss, on some samples of the training part.

    X (N, D) scaled features, y (N, K) encoded targets. The samples are drawn once, so that a check after
    training uses the same samples as the check before it.
    """

    def __init__(
        self, net: MLP, X: Array, y: Array, penalty: Penalty, options: CheckOptions, seed: int
    ) -> None:
        self.net, self.penalty, self.options, self.seed = net, PenaltyTerm(penalty, net.layout), options, seed
        rows = draw_rows(len(X), options, seed)
        self.X, self.y = X[rows], y[rows]

    def section(self, theta: Array, moment: str, samples: slice = slice(None)) -> Section:
        """Check at theta (R, P).

        Only the first member's gradient, from a pass of the whole stack, is compared: the other members run the
        same code on other numbers.

        A float32 network is checked in float64 at the same parameters and samples, and its float32 gradient is
        compared with the float64 one.

        A sample that puts a pre-activation on a kink of φ is checked separately: any slope between the one-sided
        slopes is right there, and the one that the gradient takes is determined and reported.
        """
        dtype = theta.dtype
        X, y, stack = (
            array.astype(dtype).astype(np.float64) for array in (self.X[samples], self.y[samples], theta)
        )
        member = stack[0].copy()
        on_kink = samples_on_kinks(self.net, X, y, member)
        parts = [*self._loss_part(X[~on_kink], y[~on_kink], stack), *self._penalty_part(member)]
        notes: tuple[str, ...] = ()
        if on_kink.any():
            part, convention = self._kink_part(X[on_kink], y[on_kink], stack)
            parts.append(part)
            notes = (f"{on_kink.sum()} of {len(on_kink)} samples lie on a kink of φ: {convention}",)
        elif not self._complex_step:
            notes = self._note_near_kinks(X, y, member)
        section = check_parts(
            parts, member, self.net.layout.indices, self.options, moment=moment, seed=self.seed
        )
        section = dataclasses.replace(
            section,
            taylor=self._taylor(parts[0], member),
            notes=notes,
            preconditions=(*section.preconditions, *preconditions(self.net, len(X), member)),
        )
        if dtype == np.float64:
            return section
        rows = ~on_kink | on_kink.all()
        results = self._compare_dtypes(X[rows], y[rows], theta, section)
        return dataclasses.replace(section, results=(*section.results, *results))

    @property
    def _complex_step(self) -> bool:
        return self.net.activation.complex_step and self.net.loss.complex_step

    def _compare_dtypes(self, X: Array, y: Array, theta: Array, section: Section) -> list[TensorResult]:
        """Compare the gradient in theta's dtype with the float64 gradient at the same parameters and samples."""
        from backproof.gradcheck.precision import compare_dtypes

        stack = theta.astype(np.float64)
        low = DataLoss(self.net, X, y, theta.dtype).gradient(theta)[0]
        wide = self._gradient(DataLoss(self.net, X, y), stack)
        indices = self.net.layout.indices
        return compare_dtypes(low, wide, stack[0].copy(), section, indices, theta.dtype, self.seed)

    def _gradient(self, loss: DataLoss, stack: Array) -> Callable[[Array], Array]:
        """Return the first member's gradient as a function of its theta, from a pass of the whole stack (R, P)."""
        stack = stack.copy()

        def gradient(theta: Array) -> Array:
            stack[0] = theta
            return loss.gradient(stack)[0].copy()

        return gradient

    def _loss_part(self, X: Array, y: Array, stack: Array) -> list[Part]:
        """Return the data loss as a part; none without samples."""
        if not len(X):
            return []
        loss = DataLoss(self.net, X, y)
        return [Part("loss", loss.value, self._gradient(loss, stack), self._complex_step)]

    def _kink_part(self, X: Array, y: Array, stack: Array) -> tuple[Part, Convention]:
        """Return the data loss of samples on kinks, with the subgradient nearest to the gradient's slope there."""
        gradient = self._gradient(DataLoss(self.net, X, y), stack)
        linearisation = KinkLinearisation(self.net, X, y, stack[0].copy())
        with np.errstate(all="ignore"):
            convention = linearisation.convention(gradient(stack[0]))
        slopes = linearisation.slopes(convention.nearest_subgradient)

        def value(theta: Array) -> Array:
            return linearisation.value(theta, slopes)

        return Part(ON_KINKS, value, gradient, self._complex_step), convention

    def _note_near_kinks(self, X: Array, y: Array, theta: Array) -> tuple[str, ...]:
        """Return a note on samples that the first, relative step of central differences moves across a kink."""
        near = samples_near_kinks(self.net, X, y, theta, FIRST)
        if not near.any():
            return ()
        return (
            f"{near.sum()} of {len(X)} samples lie within the first step of the central differences from a kink "
            "of φ: smaller steps are used there",
        )

    def _taylor(self, part: Part, theta: Array) -> TaylorTest:
        """Return the remainder test of the data loss along a random direction of the size of the parameters."""
        size = float(np.sqrt(np.mean(theta**2))) or 1.0
        direction = np.random.default_rng(self.seed).normal(0, size, theta.shape)

        def value(point: Array) -> float:
            return float(part.value(point[None])[0])

        with np.errstate(all="ignore"):
            return taylor_test(value, part.gradient(theta), theta, direction)

    def _penalty_part(self, theta: Array) -> list[Part]:
        """Return the penalty as a part; none if it is zero with a zero gradient, as without a penalty."""
        term = self.penalty
        if not np.any(term.value(theta[None])) and not term.gradient(theta).any():
            return []
        return [Part("penalty", term.value, term.gradient, term.penalty.complex_step)]
