"""The contract of a penalty: a term on the parameters."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from backproof.contracts.base import Array, Plugin
from backproof.contracts.fields import hyper


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
        """Return the term of each member, (R,), from theta (R, P) and mask (P,): 1 where penalised, else 0."""

    @abstractmethod
    def gradient(self, theta: Array, mask: Array, grad: Array, work: Array) -> None:
        """Add its gradient to `grad` (R, P). `work` (R, P) may be overwritten.

        It must work element by element: it is called on blocks of the parameters that stay in cache.
        """
