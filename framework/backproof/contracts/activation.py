"""The contract of an activation: h = φ(a) and its derivative."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from backproof.contracts.base import Array, Plugin


@dataclass(frozen=True)
class Activation(Plugin):
    """A function h = φ(a), applied element by element."""

    kind: ClassVar[str] = "activation"
    #: False where φ has no complex form: it is then checked by central differences instead of the complex step.
    complex_step: ClassVar[bool] = True

    @property
    def kinks(self) -> tuple[float, ...]:
        """The points where φ is not differentiable.

        There `backward` must take a subgradient, between the one-sided derivatives; its docstring says which.
        """
        return ()

    @abstractmethod
    def forward(self, a: Array, out: Array) -> None:
        """Write φ(a) into `out` (any shape; float32, float64 or complex128; `out` never overlaps `a`)."""

    @abstractmethod
    def backward(self, a: Array, h: Array, grad: Array, work: tuple[Array, Array]) -> None:
        """Multiply `grad` by φ'(a) in place, given h = φ(a).

        `work` is two arrays of the same shape and dtype that may be overwritten, so that no step allocates.
        `a` and `h` must not be changed.
        """
