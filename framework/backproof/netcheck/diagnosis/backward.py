"""The backward pass with mistakes in it, and whether these mistakes explain a gradient."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from backproof.contracts import Array, Trace
from backproof.netcheck.diagnosis.case import Case
from backproof.netcheck.diagnosis.fault import Context, Fault
from backproof.netcheck.diagnosis.faults_hidden import back_faults, slope_faults
from backproof.netcheck.diagnosis.faults_output import sample_faults, seed_faults, size_faults
from backproof.netcheck.diagnosis.faults_parameters import (
    bias_faults,
    finish_faults,
    penalty_faults,
    weight_faults,
)

Mistakes = frozenset[Fault]
NONE: Mistakes = frozenset()


def ledger(trace: Trace, *, penalty: bool) -> list[Fault]:
    """Return every mistake that can be made in a network of this depth and these shapes."""
    depth = len(trace.W)
    faults = seed_faults(trace, depth) + sample_faults("samples", depth, "∂Err/∂z")
    for layer in range(depth, 0, -1):
        if layer < depth:
            faults += back_faults(trace, layer, depth) + slope_faults(trace, layer, depth)
        faults += size_faults("", layer, "∂Err/∂z" if layer == depth else f"∂Err/∂a{layer}")
        W, b = f"the gradient of W{layer}", f"the gradient of b{layer}"
        faults += (
            weight_faults(trace, layer)
            + finish_faults("weights", layer, W)
            + sample_faults("weights_samples", layer, W)
            + size_faults("weights_", layer, W)
        )
        faults += (
            bias_faults(trace, layer)
            + finish_faults("biases", layer, b)
            + sample_faults("biases_samples", layer, b)
            + size_faults("biases_", layer, b)
        )
    return faults + (penalty_faults(depth) if penalty else [])


class Backward:
    """The gradients of one case with mistakes. Intermediate results that sets of mistakes share are cached."""

    def __init__(self, case: Case) -> None:
        self.case, self.trace, self.depth = case, case.trace, case.depth
        self._deltas: dict[tuple[int, Mistakes], Array | None] = {}
        self._slopes: dict[tuple[int, Mistakes], Array | None] = {}
        self._seed = case.trace.dloss()

    def gradient(self, tensor: str, mistakes: Mistakes) -> Array | None:
        """Return the tensor's gradient with these mistakes; None if one of them cannot be made in this case."""
        layer = int(tensor[1:])
        delta = self.delta(layer, mistakes)
        if delta is None:
            return None
        kind = "weights" if tensor[0] == "W" else "biases"
        # The mistakes in this tensor alone, by the rest of their kind: "" (the product), samples, sign, mean, ...
        in_tensor = {
            mistake.kind.removeprefix(kind).removeprefix("_"): mistake
            for mistake in mistakes
            if mistake.layer == layer and mistake.kind.startswith(kind)
        }
        if delta.ndim == 3 and (tensor[0] == "b" or "" in in_tensor):
            return None
        above = self.delta(layer + 1, mistakes)
        context = self._context(layer, delta, above)
        if "samples" in in_tensor:
            weights: Array = np.asarray(in_tensor["samples"].apply(context))
            context = self._context(layer, delta * weights.reshape(-1, *[1] * (delta.ndim - 1)), above)
        gradient = self._product(tensor, context, in_tensor.get(""))
        if gradient.dtype == object or gradient.shape != self.case.expected[tensor].shape:
            return None
        gradient = self._postprocess(gradient, in_tensor, context)
        return self._add_penalty(tensor, gradient, mistakes, context)

    def _product(self, tensor: str, context: Context, mistake: Fault | None) -> Array:
        """Return δ hᵀ for weights or the sum of δ over the samples for biases, or what a mistake makes of it."""
        if mistake is not None:
            return np.asarray(mistake.apply(context))
        if tensor[0] == "b":
            return context.delta.sum(0)
        below = self.trace.h[context.layer - 1]
        if context.delta.ndim == 3:
            return np.einsum("nhd,nd->hd", context.delta, below)
        return context.delta.T @ below

    def _postprocess(self, gradient: Array, in_tensor: dict[str, Fault], context: Context) -> Array:
        """Apply the mistakes that change the finished product."""
        for kind in ("sign", "mean", "size", "factor"):
            if kind in in_tensor:
                gradient = gradient * np.asarray(in_tensor[kind].apply(context))
        for kind in ("units", "end"):
            if kind in in_tensor:
                gradient = np.asarray(in_tensor[kind].apply(self._context(context.layer, gradient)))
        if "added" in in_tensor:
            gradient = gradient + np.asarray(in_tensor["added"].apply(context))
        if "entry" in in_tensor:
            # NaN except where an entry is replaced.
            entry = np.asarray(in_tensor["entry"].apply(context))
            gradient = np.where(np.isnan(entry), gradient, entry)
        return gradient

    def _add_penalty(self, tensor: str, gradient: Array, mistakes: Mistakes, context: Context) -> Array:
        for mistake in mistakes:
            if (
                mistake.kind == "penalty"
                and tensor in self.case.penalty
                and tensor in mistake.scope(self.depth)
            ):
                gradient = gradient + np.asarray(mistake.apply(context)) * self.case.penalty[tensor]
        return gradient

    def delta(self, layer: int, mistakes: Mistakes) -> Array | None:
        """Return ∂Err/∂a of a layer, (N, H), or (N, H, D) if the slope differs by input; None if impossible."""
        if layer > self.depth:
            return None
        relevant = frozenset(
            mistake for mistake in mistakes if mistake.kind in _DELTA_KINDS and mistake.layer >= layer
        )
        key = layer, relevant
        if key not in self._deltas:
            self._deltas[key] = self._delta(layer, relevant)
        return self._deltas[key]

    def _delta(self, layer: int, mistakes: Mistakes) -> Array | None:
        in_layer = {mistake.kind: mistake for mistake in mistakes if mistake.layer == layer}
        delta = self._start(in_layer) if layer == self.depth else self._back(layer, mistakes, in_layer)
        if delta is None:
            return None
        for kind in ("sign", "mean", "size", "factor"):
            if kind in in_layer:
                delta = delta * np.asarray(in_layer[kind].apply(self._context(layer, delta)))
        return delta

    def _start(self, in_layer: dict[str, Fault]) -> Array | None:
        context = self._context(self.depth, self._seed)
        delta = np.asarray(in_layer["seed"].apply(context)) if "seed" in in_layer else self._seed
        if not np.isfinite(delta).all():
            return None
        for kind in ("classes", "samples"):
            if kind in in_layer:
                delta = delta * np.asarray(in_layer[kind].apply(context))
        return delta

    def _back(self, layer: int, mistakes: Mistakes, in_layer: dict[str, Fault]) -> Array | None:
        upper = self.delta(layer + 1, mistakes)
        if upper is None or upper.ndim == 3:
            return None
        context = self._context(layer, upper, self.delta(layer + 2, mistakes))
        back = in_layer["back"].apply(context) if "back" in in_layer else upper @ self.trace.W[layer + 1]
        slope = self._slope(layer, in_layer.get("slope"))
        if back is None or slope is None or np.shape(back) != slope.shape[:2]:
            return None
        return np.asarray(back).reshape(*slope.shape[:2], *[1] * (slope.ndim - 2)) * slope

    def slope(self, layer: int, mistakes: Mistakes) -> Array | None:
        """Return φ'(a) of a hidden layer, (N, H), or (N, H, D) if it differs by input."""
        return self._slope(layer, next((m for m in mistakes if m.step == ("slope", layer)), None))

    def _slope(self, layer: int, mistake: Fault | None) -> Array | None:
        key = layer, NONE if mistake is None else frozenset((mistake,))
        if key not in self._slopes:
            a = self.trace.a[layer]
            slope = self.trace.dphi(a) if mistake is None else mistake.apply(self._context(layer, a))
            usable = slope is not None and bool(np.isfinite(slope).all())
            self._slopes[key] = np.asarray(slope) if usable else None
        return self._slopes[key]

    def _context(self, layer: int, delta: Array, above: Array | None = None) -> Context:
        return Context(self.trace, layer, delta, above, self.case.expected, self.case.penalty)


_DELTA_KINDS = {"seed", "classes", "samples", "back", "slope", "sign", "mean", "size", "factor"}


def plain_gradients(trace: Trace) -> dict[str, Array]:
    """Return the gradients of a plain backward pass, computed from the plugins' ∂Err/∂z and φ'."""
    shapes = {f"W{layer}": np.zeros_like(W) for layer, W in trace.W.items()}
    shapes |= {f"b{layer}": np.zeros_like(b) for layer, b in trace.b.items()}
    backward = Backward(Case(trace, shapes, shapes))
    return {tensor: gradient for tensor in shapes if (gradient := backward.gradient(tensor, NONE)) is not None}


class Evaluator:
    """Decides whether mistakes give the gradient of a tensor in every case."""

    def __init__(self, cases: Iterable[Case]) -> None:
        # The smallest case with a sum over samples goes first: it rules out most mistakes.
        ordered = sorted(cases, key=lambda case: (case.trace.N < 3, case.trace.N))
        self.passes = [Backward(case) for case in ordered]
        self._explains: dict[tuple[str, Mistakes], bool] = {}
        self.right = {tensor: all(case.right(tensor) for case in ordered) for tensor in ordered[0].expected}

    @property
    def cases(self) -> list[Case]:
        return [backward.case for backward in self.passes]

    def explains(self, tensor: str, mistakes: Mistakes) -> bool:
        """Return whether these mistakes, and no others, give the tensor's gradient."""
        key = tensor, mistakes
        if key not in self._explains:
            self._explains[key] = all(self._explained(backward, tensor, mistakes) for backward in self.passes)
        return self._explains[key]

    def _explained(self, backward: Backward, tensor: str, mistakes: Mistakes) -> bool:
        gradient = backward.gradient(tensor, mistakes)
        return gradient is not None and backward.case.explained(tensor, gradient)

    def harmless(self, tensor: str, mistakes: Mistakes) -> bool:
        """Return whether these mistakes leave the tensor's gradient right, as φ' at h does for ReLU."""
        for backward in self.passes:
            gradient = backward.gradient(tensor, mistakes)
            if gradient is None or not np.allclose(gradient, backward.case.expected[tensor], 1e-9, 1e-13):
                return False
        return True

    def first(self, tensor: str, mistakes: Mistakes) -> Array | None:
        """Return the tensor's gradient with these mistakes in the first case."""
        return self.passes[0].gradient(tensor, mistakes)

    def numbers(self, tensor: str, mistakes: Mistakes) -> list[Array] | None:
        """Return the tensor's gradient with these mistakes in each case; None if one of them cannot be made."""
        gradients: list[Array] = []
        for backward in self.passes:
            gradient = backward.gradient(tensor, mistakes)
            if gradient is None:
                return None
            gradients.append(gradient)
        return gradients
