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
    """All preconditions of points (moment, what was found there), each once: whether it is met, and where not."""
    found: dict[str, list[tuple[str, Precondition]]] = {}
    for moment, each in points:
        for condition in each:
            found.setdefault(condition.name, []).append((moment, condition))
    return [_summary(name, each) for name, each in found.items()]


def _summary(name: str, found: list[tuple[str, Precondition]]) -> Summary:
    missing = [moment for moment, each in found if not each.met]
    held = [moment for moment, each in found if each.met]
    met = not missing if found[0][1].everywhere else bool(held)
    details = list(dict.fromkeys(each.detail for _, each in found if each.met == met and each.detail))
    detail = details[0] if details else ""
    if missing and held:
        where = f"at: {', '.join(held)}" if len(held) < len(missing) else f"not at: {', '.join(missing)}"
        detail = f"{detail}; {where}" if detail else where
    return Summary(name, met, detail)
