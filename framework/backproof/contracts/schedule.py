"""The contract of a schedule: the step size over time."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from backproof.contracts.base import Plugin


@dataclass(frozen=True)
class Schedule(Plugin):
    """A factor of the step size that changes during training."""

    kind: ClassVar[str] = "schedule"

    @abstractmethod
    def factor(self, t: int, total: int) -> float:
        """Return the factor for step t (counted from 0) of `total` >= 1 steps."""
