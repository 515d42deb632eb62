"""Floor 3: the gradient check of a network: its loss, its penalty, and its float32 arithmetic."""

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
    check_parts,
    compare_dtypes,
    taylor_test,
)
from backproof.gradcheck.differences import FIRST
from backproof.netcheck.kinks import Convention, KinkLinearisation, samples_near_kinks, samples_on_kinks
from backproof.nn.mlp import MLP, Objective
from backproof.nn.training import slice_members

#: The part of the check that is made of samples on kinks.
ON_KINKS = "kinks"


def preconditions(net: MLP, N: int, theta: Array) -> tuple[Precondition, ...]:
    """What in the point and the sizes could hide a mistake, of N samples at theta (P,)."""
    D, K = net.sizes[0], net.sizes[-1]
    enough = K >= 3 or (K == 2 and net.loss.prediction != "value")
    sizes = (N, *net.sizes)
    same = [size for size in dict.fromkeys(sizes) if sizes.count(size) > 1]
    listed = f"N = {N}, {'-'.join(map(str, net.sizes))}"
    biases = net.layout.mask(np.float64, biases=True) - net.layout.mask(np.float64, biases=False)
    tensors = net.layout.tensors(theta)
    zero = [name for name in tensors if name.startswith("b") and not tensors[name].any()]
    return (
        Precondition("N ≥ 2 samples", N >= 2, f"N = {N}" if N >= 2 else _hides("N = 1", "a sum is a mean")),
        Precondition("a batch of one sample too", N == 1),
        Precondition(
            "K ≥ 3 outputs, 2 for two classes",
            enough,
            f"K = {K}" if enough else _hides(f"K = {K}", "a missing sum over outputs does not show"),
        ),
        Precondition(
            "D ≥ 2 inputs",
            D >= 2,
            f"D = {D}" if D >= 2 else _hides("D = 1", "a missing sum over inputs does not show"),
        ),
        Precondition(
            "no size is another's",
            not same,
            _hides(listed, "a transposed tensor has the same shape") if same else listed,
        ),
        Precondition(
            "biases that are not zero",
            bool(theta[biases > 0].any()) and not zero,
            _hides(
                f"{', '.join(zero)} are zero" if len(zero) > 1 else f"{zero[0]} is zero", "a wrong use hides"
            )
            if zero
            else "",
        ),
    )


def _hides(found: str, what: str) -> str:
    return f"{found}: {what}"


def odd_sizes(net: MLP, y: Array, seed: int) -> tuple[MLP, Array, Array, Array]:
    """A network of the same plugins and depth whose sizes are odd and differ from one another and from the number
    of samples, so that a transposed tensor fits nowhere; with random X (N, D) and theta (1, P), and y from that
    given. The outputs stay as many as there are."""
    K, rng = net.sizes[-1], np.random.default_rng((seed, 5))
    *inner, N = [size for size in range(5, 2 * len(net.sizes) + 9, 2) if size != K][: len(net.sizes)]
    odd = dataclasses.replace(net, sizes=(*rng.permutation(inner).tolist(), K))
    theta = np.empty((1, odd.layout.P))
    for name, tensor in odd.layout.tensors(theta).items():
        tensor[...] = rng.normal(0, 0.5 if name.startswith("b") else tensor.shape[-1] ** -0.5, tensor.shape)
    rows = np.resize(rng.permutation(len(y)), N)
    return odd, rng.standard_normal((N, odd.sizes[0])), y[rows], theta


class NetworkCheck:
    """Compares the hand-derived gradients of a network with its loss, on some samples of the training part.

    X (N, D) scaled features, y (N, K) encoded targets. The samples are drawn once, so that a check after
    training sees those of the check before.
    """

    def __init__(
        self, net: MLP, X: Array, y: Array, penalty: Penalty, options: CheckOptions, seed: int
    ) -> None:
        self.net, self.penalty, self.options, self.seed = net, penalty, options, seed
        count = len(X) if options.samples is None else min(options.samples, len(X))
        rows = np.random.default_rng(seed).permutation(len(X))[:count]
        self.X, self.y = X[rows], y[rows]

    def section(self, theta: Array, moment: str, samples: slice = slice(None)) -> Section:
        """The check at theta (R, P). The first member's gradient, taken from the pass of the whole stack, is
        the one that is checked: the others are the same code on other numbers.

        A float32 network is checked in float64 at the same parameters and samples, and its float32 gradient is
        compared with the float64 one.

        A sample that puts a pre-activation on a kink of φ is left out, and checked by itself: any slope between
        those on either side is right there, and which one the gradient takes is found out and said.
        """
        low = theta.dtype
        given = (self.X[samples], self.y[samples], theta)
        X, y, stack = (each.astype(low).astype(np.float64) for each in given)
        own = stack[0].copy()
        on_kink = samples_on_kinks(self.net, X, y, own)
        off = ~on_kink
        parts = [*self._loss_part(X[off], y[off], stack), *self._penalty_part(own)]
        notes: tuple[str, ...] = ()
        if on_kink.any():
            part, found = self._kink_part(X[on_kink], y[on_kink], stack)
            parts.append(part)
            notes = (f"{on_kink.sum()} of {len(on_kink)} samples lie on a kink of φ: {found}",)
        elif not self._exact:
            notes = self._near(X, y, own)
        section = check_parts(parts, own, self.net.layout.indices, self.options, moment=moment, seed=self.seed)
        section = dataclasses.replace(
            section,
            taylor=self._taylor(parts[0], own),
            notes=notes,
            preconditions=(*section.preconditions, *preconditions(self.net, len(X), own)),
        )
        if low == np.float64:
            return section
        kept = off | on_kink.all()
        low_gradient = Objective(self.net, X[kept], y[kept], low).gradient(theta)[0]
        wide = self._gradient(Objective(self.net, X[kept], y[kept]), stack)
        compared = compare_dtypes(low_gradient, wide, own, section, self.net.layout.indices, low, self.seed)
        return dataclasses.replace(section, results=(*section.results, *compared))

    @property
    def _exact(self) -> bool:
        return self._complex(self.net.activation, self.net.loss)

    def _gradient(self, objective: Objective, stack: Array) -> Callable[[Array], Array]:
        """The first member's gradient from the pass of the whole stack (R, P)."""
        stack = stack.copy()

        def gradient(at: Array) -> Array:
            stack[0] = at
            return objective.gradient(stack)[0].copy()

        return gradient

    def _loss_part(self, X: Array, y: Array, stack: Array) -> list[Part]:
        """The data loss; none without samples."""
        if not len(X):
            return []
        objective = Objective(self.net, X, y)
        return [Part("loss", objective.value, self._gradient(objective, stack), self._exact)]

    def _kink_part(self, X: Array, y: Array, stack: Array) -> tuple[Part, Convention]:
        """The data loss of samples on kinks, with the slope there that the gradient takes, if it may."""
        gradient = self._gradient(Objective(self.net, X, y), stack)
        at_kinks = KinkLinearisation(self.net, X, y, stack[0].copy())
        with np.errstate(all="ignore"):
            found = at_kinks.convention(gradient(stack[0]))
        slopes = at_kinks.slopes(found.nearest)
        return Part(ON_KINKS, lambda theta: at_kinks.value(theta, slopes), gradient, self._exact), found

    def _near(self, X: Array, y: Array, theta: Array) -> tuple[str, ...]:
        """What central differences meet, whose first step is FIRST of a parameter's size."""
        near = samples_near_kinks(self.net, X, y, theta, FIRST)
        if not near.any():
            return ()
        return (
            f"{near.sum()} of {len(X)} samples lie within the differences' first step of a kink of φ: smaller "
            "steps are taken there",
        )

    def _taylor(self, part: Part, theta: Array) -> TaylorTest:
        """The remainder test of the data loss along a random direction, of the size of the parameters."""
        size = float(np.sqrt(np.mean(theta**2))) or 1.0
        direction = np.random.default_rng(self.seed).normal(0, size, theta.shape)

        def value(at: Array) -> float:
            return float(part.value(at[None])[0])

        with np.errstate(all="ignore"):
            return taylor_test(value, part.gradient(theta), theta, direction)

    def _complex(self, *plugins: object) -> bool:
        return all(getattr(plugin, "complex_step", True) for plugin in plugins)

    def _penalty_part(self, theta: Array) -> list[Part]:
        """The penalty as a part of its own; none where it is zero with a zero gradient, as without a penalty."""
        penalty = slice_members(self.penalty, slice(0, 1))
        mask = self.net.layout.mask(np.float64, biases=penalty.biases)

        def value(at: Array) -> Array:
            return penalty.value(at, mask)

        def gradient(at: Array) -> Array:
            grad = np.zeros((1, len(at)))
            penalty.gradient(at[None], mask, grad, np.empty_like(grad))
            return grad[0]

        if not np.any(value(theta[None])) and not gradient(theta).any():
            return []
        return [Part("penalty", value, gradient, self._complex(penalty))]
