"""What a conformance check is: a function of one plugin instance that raises ConformanceError."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from backproof.contracts import Plugin
from backproof.contracts.errors import FAILED, BackproofError

Check = Callable[[Plugin], None]


class ConformanceError(BackproofError, AssertionError):
    """A plugin does not keep its kind's contract; the message says what was given and what was expected."""

    exit_code = FAILED


def require(condition: object, message: str) -> None:
    """Raise ConformanceError with `message` unless the condition holds."""
    if not condition:
        raise ConformanceError(message)


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
