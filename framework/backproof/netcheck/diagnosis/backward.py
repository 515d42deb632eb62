"""The backward pass with mistakes in it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from backproof.contracts import Array, Trace
from backproof.netcheck.diagnosis.case import Case
from backproof.netcheck.diagnosis.fault import Context, Fault
from backproof.netcheck.diagnosis.faults_hidden import backs, slopes
from backproof.netcheck.diagnosis.faults_output import samples, seeds, sizes
from backproof.netcheck.diagnosis.faults_parameters import biases, ends, penalties, weights

Mistakes = frozenset[Fault]
NONE: Mistakes = frozenset()


def ledger(trace: Trace, *, penalty: bool) -> list[Fault]:
    """Every mistake that a network of this depth and these shapes leaves room for."""
    depth = len(trace.W)
    found = seeds(trace, depth) + samples("samples", depth, "∂Err/∂z")
    for layer in range(depth, 0, -1):
        if layer < depth:
            found += backs(trace, layer, depth) + slopes(trace, layer, depth)
        found += sizes("", layer, "∂Err/∂z" if layer == depth else f"∂Err/∂a{layer}")
        W, b = f"the gradient of W{layer}", f"the gradient of b{layer}"
        found += (
            weights(trace, layer)
            + ends("weights", layer, W)
            + samples("weights_samples", layer, W)
            + sizes("weights_", layer, W)
        )
        found += (
            biases(trace, layer)
            + ends("biases", layer, b)
            + samples("biases_samples", layer, b)
            + sizes("biases_", layer, b)
        )
    return found + (penalties(depth) if penalty else [])


class Backward:
    """The gradients of one case under mistakes. What several of them share is computed once."""

    def __init__(self, case: Case) -> None:
        self.case, self.trace, self.depth = case, case.trace, case.depth
        self._deltas: dict[tuple[int, Mistakes], Array | None] = {}
        self._slopes: dict[tuple[int, Mistakes], Array | None] = {}
        self._seed = case.trace.dloss()

    def gradient(self, tensor: str, mistakes: Mistakes) -> Array | None:
        """The tensor's gradient with these mistakes; None where one cannot be made here."""
        layer = int(tensor[1:])
        delta = self.delta(layer, mistakes)
        if delta is None:
            return None
        kind = "weights" if tensor[0] == "W" else "biases"
        own = {each.kind: each for each in mistakes if each.layer == layer and each.kind.startswith(kind)}
        if delta.ndim == 3 and (tensor[0] == "b" or kind in own):
            return None
        above = self.delta(layer + 1, mistakes)
        here = self._here(layer, delta, above)
        if kind + "_samples" in own:
            kept: Array = np.asarray(own[kind + "_samples"].apply(here))
            here = self._here(layer, delta * kept.reshape(-1, *[1] * (delta.ndim - 1)), above)
        gradient = np.asarray(own[kind].apply(here)) if kind in own else self._product(tensor, here)
        if gradient.dtype == object or gradient.shape != self.case.expected[tensor].shape:
            return None
        for part in ("_sign", "_mean", "_size", "_factor"):
            if kind + part in own:
                gradient = gradient * np.asarray(own[kind + part].apply(here))
        for part in ("_units", "_end"):
            if kind + part in own:
                gradient = np.asarray(own[kind + part].apply(self._here(layer, gradient)))
        if kind + "_added" in own:
            gradient = gradient + np.asarray(own[kind + "_added"].apply(here))
        if kind + "_entry" in own:
            # Numbers where an entry is replaced, NaN elsewhere.
            entry = np.asarray(own[kind + "_entry"].apply(here))
            gradient = np.where(np.isnan(entry), gradient, entry)
        return self._penalised(tensor, gradient, mistakes, here)

    def _product(self, tensor: str, here: Context) -> Array:
        """δ hᵀ, or the sum of δ over the samples."""
        if tensor[0] == "b":
            return here.delta.sum(0)
        below = self.trace.h[here.layer - 1]
        if here.delta.ndim == 3:
            return np.einsum("nhd,nd->hd", here.delta, below)
        return here.delta.T @ below

    def _penalised(self, tensor: str, gradient: Array, mistakes: Mistakes, here: Context) -> Array:
        for each in mistakes:
            if each.kind == "penalty" and tensor in self.case.penalty and tensor in each.scope(self.depth):
                gradient = gradient + np.asarray(each.apply(here)) * self.case.penalty[tensor]
        return gradient

    def delta(self, layer: int, mistakes: Mistakes) -> Array | None:
        """∂Err/∂a of a layer, (N, H), or (N, H, D) where the slope differs by input; None where it cannot be."""
        if layer > self.depth:
            return None
        own = frozenset(each for each in mistakes if each.kind in _DELTA and each.layer >= layer)
        key = layer, own
        if key not in self._deltas:
            self._deltas[key] = self._delta(layer, own)
        return self._deltas[key]

    def _delta(self, layer: int, mistakes: Mistakes) -> Array | None:
        here = {each.kind: each for each in mistakes if each.layer == layer}
        delta = self._start(here) if layer == self.depth else self._back(layer, mistakes, here)
        if delta is None:
            return None
        for part in ("sign", "mean", "size", "factor"):
            if part in here:
                delta = delta * np.asarray(here[part].apply(self._here(layer, delta)))
        return delta

    def _start(self, own: dict[str, Fault]) -> Array | None:
        here = self._here(self.depth, self._seed)
        delta = np.asarray(own["seed"].apply(here)) if "seed" in own else self._seed
        if not np.isfinite(delta).all():
            return None
        for part in ("classes", "samples"):
            if part in own:
                delta = delta * np.asarray(own[part].apply(here))
        return delta

    def _back(self, layer: int, mistakes: Mistakes, own: dict[str, Fault]) -> Array | None:
        upper = self.delta(layer + 1, mistakes)
        if upper is None or upper.ndim == 3:
            return None
        here = self._here(layer, upper, self.delta(layer + 2, mistakes))
        back = own["back"].apply(here) if "back" in own else upper @ self.trace.W[layer + 1]
        slope = self._slope(layer, own.get("slope"))
        if back is None or slope is None or np.shape(back) != slope.shape[:2]:
            return None
        return np.asarray(back).reshape(*slope.shape[:2], *[1] * (slope.ndim - 2)) * slope

    def slope(self, layer: int, mistakes: Mistakes) -> Array | None:
        """φ'(a) of a hidden layer, (N, H), or (N, H, D) where it differs by input."""
        return self._slope(layer, next((m for m in mistakes if m.place == ("slope", layer)), None))

    def _slope(self, layer: int, mistake: Fault | None) -> Array | None:
        key = layer, NONE if mistake is None else frozenset((mistake,))
        if key not in self._slopes:
            a = self.trace.a[layer]
            slope = self.trace.dphi(a) if mistake is None else mistake.apply(self._here(layer, a))
            fine = slope is not None and bool(np.isfinite(slope).all())
            self._slopes[key] = np.asarray(slope) if fine else None
        return self._slopes[key]

    def _here(self, layer: int, delta: Array, above: Array | None = None) -> Context:
        return Context(self.trace, layer, delta, above, self.case.expected, self.case.penalty)


_DELTA = {"seed", "classes", "samples", "back", "slope", "sign", "mean", "size", "factor"}


def plain_gradients(trace: Trace) -> dict[str, Array]:
    """The right backward pass, from the plugins' own ∂Err/∂z and φ', apart from the network's."""
    shapes = {f"W{layer}": np.zeros_like(W) for layer, W in trace.W.items()}
    shapes |= {f"b{layer}": np.zeros_like(b) for layer, b in trace.b.items()}
    own = Backward(Case(trace, shapes, shapes))
    return {tensor: gradient for tensor in shapes if (gradient := own.gradient(tensor, NONE)) is not None}


class Evaluator:
    """Whether mistakes give the numbers of a tensor, at every case."""

    def __init__(self, cases: Iterable[Case]) -> None:
        # The smallest case that has a sum over samples goes first: most mistakes are out after it.
        ordered = sorted(cases, key=lambda case: (case.trace.N < 3, case.trace.N))
        self.passes = [Backward(case) for case in ordered]
        self._said: dict[tuple[str, Mistakes], bool] = {}
        self.right = {tensor: all(case.right(tensor) for case in ordered) for tensor in ordered[0].expected}

    @property
    def cases(self) -> list[Case]:
        return [each.case for each in self.passes]

    def explains(self, tensor: str, mistakes: Mistakes) -> bool:
        """Whether these mistakes, and no others, give the tensor's gradient."""
        key = tensor, mistakes
        if key not in self._said:
            self._said[key] = all(self._explained(each, tensor, mistakes) for each in self.passes)
        return self._said[key]

    def _explained(self, each: Backward, tensor: str, mistakes: Mistakes) -> bool:
        gradient = each.gradient(tensor, mistakes)
        return gradient is not None and each.case.explained(tensor, gradient)

    def harmless(self, tensor: str, mistakes: Mistakes) -> bool:
        """Whether the tensor's gradient is right with these mistakes, as with φ' at h for ReLU."""
        for each in self.passes:
            gradient = each.gradient(tensor, mistakes)
            if gradient is None or not np.allclose(gradient, each.case.expected[tensor], 1e-9, 1e-13):
                return False
        return True

    def first(self, tensor: str, mistakes: Mistakes) -> Array | None:
        """The tensor's gradient with these mistakes at the first case."""
        return self.passes[0].gradient(tensor, mistakes)

    def numbers(self, tensor: str, mistakes: Mistakes) -> list[Array] | None:
        """The tensor's gradient with these mistakes at each case."""
        found: list[Array] = []
        for each in self.passes:
            gradient = each.gradient(tensor, mistakes)
            if gradient is None:
                return None
            found.append(gradient)
        return found
