"""Axes for hyperparameters: numbers, words and missing values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from backproof.render.svg import Scale
from backproof.render.text import MISSING
from backproof.sweeps.varying import in_order, number

#: Up to this many different values, numbers are equally spaced and each has a tick.
LEVELS = 8


@dataclass(frozen=True)
class CategoricalScale:
    """A hyperparameter's values along an axis.

    Words and few numbers are equally spaced, many numbers by size (logarithmic if they span more than a factor of
    30); a missing value has a separate position.
    """

    levels: list[str | None]
    scale: Scale | None
    start: float
    end: float

    @classmethod
    def over(cls, values: Sequence[str | None], start: float, end: float) -> CategoricalScale:
        levels = in_order(values)
        numbers = [number(level) for level in levels if level is not None]
        known = [value for value in numbers if value is not None and math.isfinite(value)]
        if len(levels) <= LEVELS or len(known) < len(numbers):
            return cls(levels, None, start, end)
        log = min(known) > 0 and max(known) > 30 * min(known)
        # A tenth is for runs without the parameter.
        room = 0.1 * (end - start) if None in levels else 0.0
        ends = (start + room, end) if start > end else (start, end - room)
        return cls(levels, Scale.over(known, *ends, log=log), start, end)

    def __call__(self, value: str | None) -> float:
        if self.scale is not None:
            size = number(value)
            missing = self.start if self.start > self.end else self.end
            return missing if size is None else self.scale(size)
        if len(self.levels) == 1:
            return (self.start + self.end) / 2
        room = 0.06 * (self.end - self.start)
        share = self.levels.index(value) / (len(self.levels) - 1)
        return self.start + room + share * (self.end - self.start - 2 * room)

    def ticks(self) -> list[tuple[float, str]]:
        """Return positions in pixels and their labels."""
        if self.scale is not None:
            shown = [(self.scale(value), text) for value, text in self.scale.ticks()]
            return [*shown, *([(self(None), MISSING)] if None in self.levels else [])]
        every = -(-len(self.levels) // 16)
        return [(self(level), MISSING if level is None else level) for level in self.levels[::every]]
