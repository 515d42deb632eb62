"""What a conformance check is: a function of one plugin instance that raises ConformanceError."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from backproof.contracts import Plugin
from backproof.contracts.errors import ConformanceError, require

__all__ = ["Check", "ConformanceError", "Outcome", "require"]

Check = Callable[[Plugin], None]


@dataclass(frozen=True)
class Outcome:
    """The result of one check on one plugin with one set of hyperparameters."""

    check: str
    params: dict[str, object]
    error: str | None

    @property
    def passed(self) -> bool:
        """Whether the check raised nothing."""
        return self.error is None
