"""The space kind: a search space in which one choice decides what else there is to choose."""

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
    """Where a point gets its values from. A name stands for one range or one list of choices, whenever it is asked
    for; raises InvalidValue for a range that is empty."""

    def suggest_float(
        self, name: str, low: float, high: float, *, log: bool = False, step: float | None = None
    ) -> float:
        """A number from low to high, both included; evenly in its logarithm, or in steps, if that is asked for."""
        ...

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False, step: int = 1) -> int:
        """A whole number from low to high, both included."""
        ...

    def suggest_categorical(self, name: str, choices: Sequence[Choice]) -> Choice:
        """One of the choices."""
        ...


@dataclass(frozen=True)
class Space(Plugin):
    """Points for `sweep.space=NAME`: what is suggested may depend on what was suggested before."""

    kind: ClassVar[str] = "space"

    @abstractmethod
    def overrides(self, trial: Suggest) -> Mapping[str, Value]:
        """A point: values by the keys of the config, as {"optimizer": "adam", "optimizer.lr": 0.01}.

        It depends on what `trial` suggests and on nothing else: a point is made again from its suggestions.
        """
