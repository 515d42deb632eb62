"""The contract of a schedule: the step size over time."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from backproof.contracts.base import Plugin


@dataclass(frozen=True)
class Schedule(Plugin):
    """Multiplies the step size as training goes on."""

    kind: ClassVar[str] = "schedule"

    @abstractmethod
    def factor(self, t: int, total: int) -> float:
        """The factor for step t (counted from 0) of `total` steps; `total` >= 1."""
