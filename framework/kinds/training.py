"""Kinds that move the parameters: optimizer and schedule."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from framework.kinds.base import Array, Plugin, hyper


@dataclass(frozen=True)
class Optimizer(Plugin):
    """One update rule. State is passed in as arrays, one (R, P) array per name in `slots`."""

    kind: ClassVar[str] = "optimizer"
    #: Names of the state arrays, in the order in which `step` receives them; shown in checkpoints.
    slots: ClassVar[tuple[str, ...]] = ()

    lr: float = hyper(0.01, "step size", gt=0)

    def initial(self, slot: str) -> float:
        """The number a state array starts with."""
        return 0.0

    @abstractmethod
    def step(
        self, theta: Array, grad: Array, state: tuple[Array, ...], t: int, lr: float | Array, work: Array
    ) -> None:
        """Update theta and the state in place.

        theta, grad and each state array are (R, P), or a contiguous block of it that stays in cache: the rule
        must work element by element. `grad` and `work`, of the same shape, may be overwritten, so that no step
        allocates. `t` counts steps from 1. `lr` is the step size after the schedule; it and the hyperparameters
        may be (R, 1) arrays (see `like`).
        """


@dataclass(frozen=True)
class Schedule(Plugin):
    """Multiplies the step size as training goes on."""

    kind: ClassVar[str] = "schedule"

    @abstractmethod
    def factor(self, t: int, total: int) -> float:
        """The factor for step t (counted from 0) of `total` steps; `total` >= 1."""
