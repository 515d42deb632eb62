"""Faults: every mistake that can be named, as a function that computes the gradient it would give.

A backward pass is a sequence of steps. Each is right or contains one mistake:

    seed     ∂Err/∂z                                  back     Σ_k δ_k W_kh, the gradient with respect to h
    classes  which outputs count in ∂Err/∂z           slope    φ'(a)
    samples  which samples count in ∂Err/∂z
    sign, mean, size, factor   of δ = ∂Err/∂a         penalty  the penalty's gradient in place of the loss's
    weights     δ hᵀ, the gradient of W; then weights_samples, weights_sign and so on, weights_units
                and weights_end, which change the finished gradient
    biases      Σ_n δ_n, the gradient of b; then biases_samples and so on

Some have a fitted number: an unknown factor, an added term, a single entry (fitted.py). Mistakes that
depend on an earlier call, such as momentum mixed into the gradient, are in stateful.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from backproof.contracts import Array, Trace


@dataclass(frozen=True)
class Context:
    """The data that a mistake is computed from: layer l of one case."""

    trace: Trace
    layer: int
    #: δ of layer l for `weights` and `biases`; of layer l + 1 for `back`.
    delta: Array
    #: δ of the layer above that, if there is one.
    above: Array | None
    expected: Mapping[str, Array]
    penalty: Mapping[str, Array]


#: Computes the wrong numbers; None if the mistake cannot be made, for example because shapes do not fit.
Apply = Callable[[Context], "Array | float | None"]


@dataclass(frozen=True)
class Fault:
    """One mistake in one step of the backward pass."""

    kind: str  # of the step: seed, back, slope, weights, ...
    layer: int
    name: str
    sentence: str = field(compare=False)
    apply: Apply = field(compare=False, repr=False)
    #: The part of the formula with the mistake; empty if it has no index form.
    form: str = field(default="", compare=False)
    #: The one unit (layer, index) that replaces a sum over units.
    unit: tuple[int, int | str] | None = field(default=None, compare=False)
    #: The only tensor it affects, if that is not every tensor below.
    only: str = field(default="", compare=False)
    #: The fitted number, if there is one.
    number: str = ""
    #: The wrong quantity in words, if it does not follow from `kind`.
    at: str = field(default="", compare=False)

    @property
    def step(self) -> tuple[str, int]:
        """Return the step, which contains at most one mistake."""
        return self.kind, self.layer

    @property
    def order(self) -> tuple[int, str, str, str]:
        """Return a sort key, from the loss down, that is the same in every run."""
        kinds = ("seed", "classes", "samples", "sign", "mean", "size", "factor", "back", "slope")
        position = str(kinds.index(self.kind)) if self.kind in kinds else self.kind
        return -self.layer, position, self.name, self.number

    @property
    def group(self) -> object:
        """Return a key shared by faults that count as one mistake, for example made in a loop over layers."""
        return (self.name, self.number) if self.kind.endswith("_added") else (self.kind, self.name, self.number)

    def scope(self, depth: int) -> tuple[str, ...]:
        """Return the tensors whose gradients depend on this step, if the rest of the pass builds on it."""
        if self.only:
            return (self.only,)
        if self.kind.startswith("weights"):
            return (f"W{self.layer}",)
        if self.kind.startswith("biases"):
            return (f"b{self.layer}",)
        top = depth if self.kind == "penalty" else self.layer
        return tuple(f"{letter}{layer}" for layer in range(1, top + 1) for letter in "Wb")

    @property
    def where(self) -> str:
        """Return the wrong quantity, as a derivative or a tensor."""
        if self.at:
            return self.at
        names = {"seed": "∂Err/∂z", "classes": "∂Err/∂z", "samples": "∂Err/∂z", "back": f"∂Err/∂h{self.layer}"}
        names |= {"slope": f"φ'(a{self.layer})", "penalty": "penalty"}
        if self.kind.startswith("weights"):
            return f"W{self.layer}"
        if self.kind.startswith("biases"):
            return f"b{self.layer}"
        return names.get(self.kind, f"∂Err/∂a{self.layer}")


def letters(depth: int) -> dict[int, str]:
    """Return the index letter of each layer's units: d for the inputs, k for the outputs, h, i, j, ... between."""
    hidden = "hijlmqrstuvw"
    between = {layer: hidden[layer - 1] if layer <= len(hidden) else f"h{layer}" for layer in range(1, depth)}
    return {0: "d", **between, depth: "k"}
