"""The contract of a space: a search space in which one choice decides which others exist."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, TypeVar

from backproof.contracts.base import Plugin

#: What a value of the config may be.
Scalar = str | int | float | bool | None
Value = Scalar | Sequence[Scalar]
Choice = TypeVar("Choice", str, int, float, bool, None)


class Suggest(Protocol):
    """The source of a point's values. A name must always denote the same range or list of choices.

    Each method raises InvalidValue for an empty range.
    """

    def suggest_float(
        self, name: str, low: float, high: float, *, log: bool = False, step: float | None = None
    ) -> float:
        """Return a number from low to high, both included; uniform in its logarithm with `log`, or in steps."""
        ...

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False, step: int = 1) -> int:
        """Return a whole number from low to high, both included."""
        ...

    def suggest_categorical(self, name: str, choices: Sequence[Choice]) -> Choice:
        """Return one of the choices."""
        ...


@dataclass(frozen=True)
class Space(Plugin):
    """A search space for `sweep.space=NAME`: what is suggested may depend on what was suggested before."""

    kind: ClassVar[str] = "space"

    @abstractmethod
    def overrides(self, trial: Suggest) -> Mapping[str, Value]:
        """Return a point: values by config key, as {"optimizer": "adam", "optimizer.lr": 0.01}.

        It must depend on what `trial` suggests alone: a point is rebuilt from its suggestions.
        """
