"""Kinds that make up the network and its objective: activation, loss, initializer, penalty."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import DTypeLike

from framework.kinds.base import Array, Plugin, hyper


@dataclass(frozen=True)
class Activation(Plugin):
    """h = φ(a), element by element."""

    kind: ClassVar[str] = "activation"
    #: False where φ has no complex form: it is then checked by central differences instead of the complex step.
    complex_step: ClassVar[bool] = True

    @property
    def kinks(self) -> tuple[float, ...]:
        """The points where φ is not differentiable. The convention taken there stands in the docstring of
        `backward`, and must be a subgradient: between the one-sided derivatives."""
        return ()

    @abstractmethod
    def forward(self, a: Array, out: Array) -> None:
        """Write φ(a) into `out` (any shape; float32, float64 or complex128; `out` never overlaps `a`)."""

    @abstractmethod
    def backward(self, a: Array, h: Array, grad: Array, work: tuple[Array, Array]) -> None:
        """Multiply `grad` by φ'(a) in place, given h = φ(a).

        `work` is two arrays of the same shape and dtype that may be overwritten, so that no step allocates;
        `a` and `h` must be left as they are.
        """


@dataclass(frozen=True)
class Loss(Plugin):
    """Err(y, z) as the mean over B samples, fused with its link function on the logits z."""

    kind: ClassVar[str] = "loss"
    #: The tasks it can be trained on.
    tasks: ClassVar[tuple[str, ...]]
    #: The tasks for which it is taken where the user names no loss.
    default_for: ClassVar[tuple[str, ...]] = ()
    #: What `link` gives: "probability", "score" (a higher one means more likely) or "value".
    prediction: ClassVar[str] = "value"
    complex_step: ClassVar[bool] = True

    def outputs(self, task: str, targets: int) -> int:
        """K, the network's outputs for `targets` classes (classification), labels or real targets.

        Raises ValueError, saying what is expected, where the loss cannot serve that number.
        """
        return targets

    @abstractmethod
    def encode(self, y: Array, K: int, dtype: DTypeLike) -> Array:
        """Targets as the dataset has them -> (N, K) numbers as `value` and `gradient` want them, once, before
        training. Raises ValueError for targets it cannot take."""

    @abstractmethod
    def value(self, z: Array, y: Array) -> Array:
        """The loss of each member, (R,), from logits z (R, B, K) and encoded targets y (R or 1, B, K).

        Its gradient with respect to z must be `gradient`. z may be complex128, y is real.
        """

    @abstractmethod
    def gradient(self, z: Array, y: Array, grad: Array) -> None:
        """Write ∂Err/∂z, the 1/B of the mean included, into `grad` (R, B, K); z is left as it is."""

    @abstractmethod
    def link(self, z: Array, out: Array) -> None:
        """Logits -> what a person reads (probabilities, scores or values), both (R, B, K)."""


@dataclass(frozen=True)
class Initializer(Plugin):
    """Fills a weight matrix before training. Biases start at zero."""

    kind: ClassVar[str] = "initializer"

    @abstractmethod
    def fill(self, W: Array, rng: np.random.Generator) -> None:
        """Fill W (out, in) of one member in place, drawing only from `rng`, the member's own. Draw in float64
        whatever W's dtype, so that float32 and float64 runs start from the same numbers."""


@dataclass(frozen=True)
class Penalty(Plugin):
    """A term on the parameters, added to the loss. `strength` and other numbers may be (R, 1) arrays."""

    kind: ClassVar[str] = "penalty"
    biases: bool = hyper(False, "penalise biases too")
    complex_step: ClassVar[bool] = True
    #: True for a term that is always 0: training then leaves it out.
    null: ClassVar[bool] = False

    @abstractmethod
    def value(self, theta: Array, mask: Array) -> Array:
        """The term for each member, (R,), from theta (R, P) and mask (P,): 1 where penalised, else 0."""

    @abstractmethod
    def gradient(self, theta: Array, mask: Array, grad: Array, work: Array) -> None:
        """Add its gradient to `grad` (R, P). `work` (R, P) may be overwritten. Element by element: it is
        called on blocks of the parameters that stay in cache."""
