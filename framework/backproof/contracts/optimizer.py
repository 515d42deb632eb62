"""The contract of an optimizer: one update rule."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from backproof.contracts.base import Array, Plugin
from backproof.contracts.fields import hyper


@dataclass(frozen=True)
class Optimizer(Plugin):
    """One update rule. Its state is passed in, one (R, P) array per name in `slots`."""

    kind: ClassVar[str] = "optimizer"
    #: Names of the state arrays, in the order in which `step` receives them; shown in checkpoints.
    slots: ClassVar[tuple[str, ...]] = ()

    lr: float = hyper(0.01, "step size", gt=0)

    def initial(self, slot: str) -> float:
        """Return the number that a state array starts with."""
        return 0.0

    @abstractmethod
    def step(
        self, theta: Array, grad: Array, state: tuple[Array, ...], t: int, lr: float | Array, work: Array
    ) -> None:
        """Update theta and the state in place.

        theta, grad and each state array are (R, P), or a contiguous block of that which stays in cache: the rule
        must work element by element. `grad` and `work` may be overwritten, so that no step allocates.
        `t` counts steps from 1. `lr` is the step size after the schedule; it and the hyperparameters
        may be (R, 1) arrays (see `as_dtype_of`).
        """
