"""Little of SVG: elements, scales, ticks. What is drawn here needs no library and no network."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

from backproof.render.text import MISSING
from backproof.sweeps.varying import in_order, number

#: Up to so many different values a number is drawn at places of equal distance, each with its tick.
PLACES = 8


def text(value: object) -> str:
    """Escaped, for the body of an element and for an attribute."""
    return html.escape(str(value))


def element(tag: str, *body: str, **attributes: object) -> str:
    """`<tag a="1">body</tag>`; `class_` for class, `stroke_width` for stroke-width. The body is markup already."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_attribute(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{tag}{given}>{''.join(body)}</{tag}>"


def _attribute(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else text(value)


def drawing(width: float, height: float, *body: str, what: str, class_: str = "") -> str:
    """An <svg> that is as wide as its place allows."""
    return element(
        "svg",
        *body,
        viewBox=f"0 0 {width:g} {height:g}",
        class_=class_ or None,
        role="img",
        aria_label=what,
        style=f"max-width:{width:g}px",
    )


def label(x: float, y: float, words: str, class_: str = "", anchor: str = "middle") -> str:
    """Text at a point."""
    return element("text", text(words), x=x, y=y, class_=class_ or None, text_anchor=anchor)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> str:
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def path(points: Sequence[tuple[float, float]]) -> str:
    """The `d` of a polyline."""
    return "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in points)


@dataclass(frozen=True)
class Scale:
    """A place in pixels for every value from low to high."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    @classmethod
    def over(cls, values: Sequence[float], start: float, end: float, *, log: bool = False) -> Scale:
        """Over all finite values, with a little room at both ends."""
        known = [math.log10(v) if log else v for v in values if math.isfinite(v) and (v > 0 or not log)]
        low, high = (min(known), max(known)) if known else (0.0, 1.0)
        room = 0.04 * (high - low) or 0.02 * abs(high) or 0.5
        return cls(low - room, high + room, start, end, log)

    def __call__(self, value: float) -> float:
        if self.log:
            value = math.log10(value) if value > 0 else self.low
        share = (value - self.low) / (self.high - self.low)
        # What lies outside is drawn at the end.
        return self.start + min(1.0, max(0.0, share)) * (self.end - self.start)

    def ticks(self, count: int = 5) -> list[tuple[float, str]]:
        """Round values inside, each with its text."""
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


@dataclass(frozen=True)
class CategoricalScale:
    """A hyperparameter's values along an axis: words and few numbers at places of equal distance, many numbers by
    size (logarithmic where they span more than a factor of 30), and a missing value at a place of its own."""

    levels: list[str | None]
    scale: Scale | None
    start: float
    end: float

    @classmethod
    def over(cls, values: Sequence[str | None], start: float, end: float) -> CategoricalScale:
        levels = in_order(values)
        numbers = [number(level) for level in levels if level is not None]
        known = [value for value in numbers if value is not None and math.isfinite(value)]
        if len(levels) <= PLACES or len(known) < len(numbers):
            return cls(levels, None, start, end)
        log = min(known) > 0 and max(known) > 30 * min(known)
        if None in levels:
            # The last tenth is for what does not have it.
            inner = start + 0.1 * (end - start) if start > end else start
            outer = end if start > end else end - 0.1 * (end - start)
            return cls(levels, Scale.over(known, inner, outer, log=log), start, end)
        return cls(levels, Scale.over(known, start, end, log=log), start, end)

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
        """Places in pixels and what to write there."""
        if self.scale is not None:
            shown = [(self.scale(value), words) for value, words in self.scale.ticks()]
            return [*shown, *([(self(None), MISSING)] if None in self.levels else [])]
        every = -(-len(self.levels) // 16)
        return [(self(level), MISSING if level is None else level) for level in self.levels[::every]]
