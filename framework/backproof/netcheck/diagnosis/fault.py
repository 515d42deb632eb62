"""The ledger: every mistake that can be named, each as the numbers that it would give.

A backward pass is a row of places, and each place is either right or holds one mistake of the ledger:

    seed     ∂Err/∂z                                  back     Σ_k δ_k W_kh, what comes back to h
    classes  which outputs count in ∂Err/∂z           slope    φ'(a)
    samples  which samples count in ∂Err/∂z
    sign, mean, size, factor   of δ = ∂Err/∂a         penalty  the penalty's gradient, not the loss's
    weights     δ hᵀ, the gradient of W; then weights_samples, weights_sign and so on, weights_units
                and weights_end, which are done with the finished gradient
    biases      Σ_n δ_n, the gradient of b; then biases_samples and so on

Some are not in the ledger but fitted: an unknown factor, what is added, a single entry. See fits.py.

Not in the ledger: what needs an earlier step to be known, as momentum that was mixed into the gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from backproof.contracts import Array, Trace


@dataclass(frozen=True)
class Context:
    """Where a mistake works: one layer l of one case."""

    trace: Trace
    layer: int
    #: δ of layer l for `weights` and `biases`; of layer l + 1, from which it comes back, for `back`.
    delta: Array
    #: δ of the layer above that one, where there is one.
    above: Array | None
    expected: Mapping[str, Array]
    penalty: Mapping[str, Array]


#: Numbers in the place of the right ones; None where the mistake cannot be made, as for want of a shape that fits.
Apply = Callable[[Context], "Array | float | None"]


@dataclass(frozen=True)
class Fault:
    """One mistake at one place of the backward pass."""

    kind: str  # of the place
    layer: int
    name: str
    says: str = field(compare=False)
    apply: Apply = field(compare=False, repr=False)
    #: The piece of the formula as it stands with the mistake; empty where it has no index form.
    form: str = field(default="", compare=False)
    #: The one unit (layer, index) that stands where a sum over units belongs.
    unit: tuple[int, int | str] | None = field(default=None, compare=False)
    #: The only tensor that it can be made in, where that is less than all below.
    only: str = field(default="", compare=False)
    #: What was fitted, where something was.
    number: str = ""
    #: The place in words, where it is not that of its kind.
    at: str = field(default="", compare=False)

    @property
    def place(self) -> tuple[str, int]:
        """A place holds one mistake at most."""
        return self.kind, self.layer

    @property
    def order(self) -> tuple[int, str, str, str]:
        """From the loss down, the same in every run: sets of strings have no order of their own."""
        places = ("seed", "classes", "samples", "sign", "mean", "size", "factor", "back", "slope")
        place = str(places.index(self.kind)) if self.kind in places else self.kind
        return -self.layer, place, self.name, self.number

    @property
    def group(self) -> object:
        """The same for what counts as one mistake: made in a loop over the layers, or with one strength."""
        return (self.name, self.number) if self.kind.endswith("_added") else (self.kind, self.name, self.number)

    def scope(self, depth: int) -> tuple[str, ...]:
        """The tensors whose gradients pass this place, if the rest of the pass builds on it."""
        if self.only:
            return (self.only,)
        if self.kind.startswith("weights"):
            return (f"W{self.layer}",)
        if self.kind.startswith("biases"):
            return (f"b{self.layer}",)
        upto = depth if self.kind == "penalty" else self.layer
        return tuple(f"{letter}{layer}" for layer in range(1, upto + 1) for letter in "Wb")

    @property
    def where(self) -> str:
        """The place in words, as a derivative."""
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
    """The index letter of each layer's units: d of the inputs, k of the outputs, h, i, j, ... between."""
    hidden = "hijlmqrstuvw"
    between = {layer: hidden[layer - 1] if layer <= len(hidden) else f"h{layer}" for layer in range(1, depth)}
    return {0: "d", **between, depth: "k"}
