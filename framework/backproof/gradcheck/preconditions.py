"""Conditions under which a gradient check can detect a mistake, and whether they are met."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Precondition:
    """One condition at one point."""

    name: str  # the condition in words
    met: bool
    detail: str = ""  # the actual state
    #: Whether it must hold at every point. If not, one point where it holds is enough to detect a mistake.
    everywhere: bool = False


def of_values(loss_repeats: bool, gradient_repeats: bool, finite: bool) -> tuple[Precondition, ...]:
    """Return what must hold of any loss and gradient at every point."""
    return (
        Precondition("the loss repeats bit for bit", loss_repeats, everywhere=True),
        Precondition("the gradient repeats bit for bit", gradient_repeats, everywhere=True),
        Precondition("loss and gradient are finite", finite, everywhere=True),
    )


@dataclass(frozen=True)
class Summary:
    """One precondition over all points of a check."""

    name: str
    met: bool
    detail: str

    def __str__(self) -> str:
        return self.name + (f" ({self.detail})" if self.detail else "")


def summarised(points: Sequence[tuple[str, Sequence[Precondition]]]) -> list[Summary]:
    """Return a summary of each precondition, from those of all points (moment, preconditions)."""
    by_name: dict[str, list[tuple[str, Precondition]]] = {}
    for moment, preconditions in points:
        for condition in preconditions:
            by_name.setdefault(condition.name, []).append((moment, condition))
    return [_summary(name, conditions) for name, conditions in by_name.items()]


def _summary(name: str, conditions: list[tuple[str, Precondition]]) -> Summary:
    unmet_at = [moment for moment, condition in conditions if not condition.met]
    met_at = [moment for moment, condition in conditions if condition.met]
    met = not unmet_at if conditions[0][1].everywhere else bool(met_at)
    details = [condition.detail for _, condition in conditions if condition.met == met and condition.detail]
    detail = details[0] if details else ""
    if unmet_at and met_at:
        where = f"at: {', '.join(met_at)}" if len(met_at) < len(unmet_at) else f"not at: {', '.join(unmet_at)}"
        detail = f"{detail}; {where}" if detail else where
    return Summary(name, met, detail)
