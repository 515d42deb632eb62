"""Scales, ticks and coordinates of SVG charts, which `templates/svg.html` draws without a library."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

#: The colours of Okabe and Ito (2008), which colour-blind people can distinguish too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")


def px(value: float) -> str:
    """Return a coordinate with at most two decimals."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def polyline(points: Sequence[tuple[float, float]]) -> str:
    """Return the `d` of a path through these points."""
    return "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y, *_ in points)


@dataclass(frozen=True)
class Scale:
    """A position in pixels for every value from low to high."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    @classmethod
    def over(cls, values: Sequence[float], start: float, end: float, *, log: bool = False) -> Scale:
        """Return a scale over all finite values, with a little room at both ends."""
        known = [math.log10(v) if log else v for v in values if math.isfinite(v) and (v > 0 or not log)]
        low, high = (min(known), max(known)) if known else (0.0, 1.0)
        room = 0.04 * (high - low) or 0.02 * abs(high) or 0.5
        return cls(low - room, high + room, start, end, log)

    def __call__(self, value: float) -> float:
        if self.log:
            value = math.log10(value) if value > 0 else self.low
        share = (value - self.low) / (self.high - self.low)
        # Values outside are drawn at the ends.
        return self.start + min(1.0, max(0.0, share)) * (self.end - self.start)

    def ticks(self, count: int = 5) -> list[tuple[float, str]]:
        """Return round values inside, each with its text."""
        if self.log:
            whole = range(math.ceil(self.low), math.floor(self.high) + 1)
            if len(whole) >= 2:
                every = -(-len(whole) // (count + 1))
                return [(10.0**k, f"{10.0**k:g}" if -4 < k < 6 else f"1e{k}") for k in whole[::every]]
            values = [
                m * 10.0**k for k in range(math.floor(self.low), math.ceil(self.high) + 1) for m in (1, 2, 5)
            ]
            return [(v, f"{v:g}") for v in values if self.low <= math.log10(v) <= self.high]
        span = self.high - self.low
        step = 10.0 ** math.floor(math.log10(span / count))
        step *= next(m for m in (1, 2, 5, 10) if span / (step * m) <= count)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [(k * step, f"{k * step:.10g}") for k in range(first, last + 1)]
