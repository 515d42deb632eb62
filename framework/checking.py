"""Floor 3: the gradient check of a network: its loss, its penalty, and its float32 arithmetic."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from framework.gradcheck import (
    CheckOptions,
    Part,
    Section,
    TaylorTest,
    check_parts,
    compare_dtypes,
    taylor_test,
)
from framework.kinds import Array, Penalty
from framework.mlp import MLP, Objective
from framework.training import rows_of


def notes_on(net: MLP, X: Array, theta: Array) -> tuple[str, ...]:
    """What in the point and the sizes could hide a mistake; nothing where all is as it should be."""
    N, K = len(X), net.sizes[-1]
    notes: list[str] = []
    if N == 1:
        notes.append("N = 1: a sum and a mean over samples are the same")
    if K == 1:
        notes.append("K = 1: a missing sum over outputs does not show")
    elif K == 2 and net.loss.prediction == "probability":
        notes.append("K = 2: p − y of one is that of the other with its sign changed")
    if net.sizes[0] == 1:
        notes.append("D = 1: a missing sum over inputs does not show")
    same = [size for size in dict.fromkeys(net.sizes) if size > 1 and net.sizes.count(size) > 1]
    if same:
        notes.append(
            f"layers of the same size, {', '.join(map(str, same))}: a transposed tensor has the same shape"
        )
    biases = net.layout.mask(np.float64, biases=True) - net.layout.mask(np.float64, biases=False)
    if not theta[biases > 0].any():
        notes.append("all biases are zero: where one is used wrongly does not show")
    return tuple(notes)


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

        A sample that puts a pre-activation on a kink of φ is left out, if others are left: any slope between those
        on either side is right there, and the check must neither reject one nor learn from it.
        """
        low = theta.dtype
        given = (self.X[samples], self.y[samples], theta)
        X, y, stack = (each.astype(low).astype(np.float64) for each in given)
        on_kink = self._on_kink(X, y, stack[:1])
        kept = ~on_kink | on_kink.all()
        notes = notes_on(self.net, X[kept], stack[0])
        if not kept.all():
            notes = (*notes, f"{on_kink.sum()} of {len(on_kink)} samples lie on a kink of φ and are left out")
        elif on_kink.any():
            notes = (
                *notes,
                "every sample lies on a kink of φ: its convention there is compared with forward's branch",
            )
        objective = Objective(self.net, X[kept], y[kept])

        def gradient(at: Array) -> Array:
            stack[0] = at
            return objective.gradient(stack)[0].copy()

        own = stack[0].copy()
        parts = [Part("loss", objective.value, gradient, self._complex(self.net.activation, self.net.loss))]
        parts += self._penalty_part(own)
        section = check_parts(parts, own, self.net.layout.indices, self.options, moment=moment, seed=self.seed)
        section = dataclasses.replace(section, taylor=self._taylor(objective, gradient, own), notes=notes)
        if low == np.float64:
            return section
        low_gradient = Objective(self.net, X[kept], y[kept], low).gradient(theta)[0]
        compared = compare_dtypes(low_gradient, gradient, own, section, self.net.layout.indices, low, self.seed)
        return dataclasses.replace(section, results=(*section.results, *compared))

    def _on_kink(self, X: Array, y: Array, theta: Array) -> Array:
        """Which samples (N,) have a pre-activation on a kink, to rounding."""
        found = np.zeros(len(X), dtype=bool)
        kinks = self.net.activation.kinks
        if kinks:
            for a in Objective(self.net, X, y).preactivations(theta):
                for kink in kinks:
                    found |= (np.abs(a[0] - kink) <= 1e-12 * max(1.0, abs(kink))).any(axis=0)
        return found

    def _taylor(self, objective: Objective, gradient: Callable[[Array], Array], theta: Array) -> TaylorTest:
        """The remainder test of the data loss along a random direction, of the size of the parameters."""
        size = float(np.sqrt(np.mean(theta**2))) or 1.0
        direction = np.random.default_rng(self.seed).normal(0, size, theta.shape)

        def value(at: Array) -> float:
            return float(objective.value(at[None])[0])

        with np.errstate(all="ignore"):
            return taylor_test(value, gradient(theta), theta, direction)

    def _complex(self, *plugins: object) -> bool:
        return all(getattr(plugin, "complex_step", True) for plugin in plugins)

    def _penalty_part(self, theta: Array) -> list[Part]:
        """The penalty as a part of its own; none where it is zero with a zero gradient, as without a penalty."""
        penalty = rows_of(self.penalty, slice(0, 1))
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
