"""The charts of the report, as SVG. Elements carry the number of their point, by which the page's script highlights
them together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from backproof.render.svg import (
    Scale,
    drawing,
    element,
    label,
    line,
    path,
    text,
)
from backproof.render.text import number as format_number
from backproof.render.text import shorten
from backproof.report.effects import Effect
from backproof.report.scales import CategoricalScale
from backproof.sweeps.objective import Objective
from backproof.sweeps.result import Stat
from backproof.sweeps.varying import number

#: The colours of Okabe and Ito, which colour-blind people can distinguish too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
#: From worst to best, light to dark, so that good runs also stand out in grey.
SHADES = ("#f2d7a0", "#e3a35f", "#c66a5a", "#8b4376", "#3b2a74")


@dataclass(frozen=True)
class PlottedRun:
    """A run as the charts draw it."""

    point: int  # the rank of its point, from 0
    name: str
    params: Mapping[str, str | None]
    value: float  # the objective


def shade(share: float) -> str:
    """Return the colour of a share from 0 (worst) to 1 (best); grey for NaN."""
    if math.isnan(share):
        return "#bbbbbb"
    position = min(1.0, max(0.0, share)) * (len(SHADES) - 1)
    low = min(int(position), len(SHADES) - 2)
    parts = [
        round(
            int(SHADES[low][i : i + 2], 16) * (low + 1 - position)
            + int(SHADES[low + 1][i : i + 2], 16) * (position - low)
        )
        for i in (1, 3, 5)
    ]
    return "#" + "".join(f"{channel:02x}" for channel in parts)


def goodness(values: Sequence[float], objective: Objective) -> list[float]:
    """Return each run's rank as a share from 0 (worst) to 1. Ranks keep an outlier from taking up the colours."""
    order = sorted({value for value in values if math.isfinite(value)}, reverse=not objective.greater)
    rank = {value: index / (len(order) - 1) if len(order) > 1 else 1.0 for index, value in enumerate(order)}
    return [rank.get(value, math.nan) for value in values]


def parallel(runs: Sequence[PlottedRun], keys: Sequence[str], objective: Objective) -> str:
    """Draw parallel coordinates: an axis for each parameter and one for the objective, a line for each run."""
    step, top, bottom = max(118.0, min(440.0, 1000 / max(1, len(keys)))), 44.0, 340.0
    left = 108.0
    width = left + step * len(keys) + 70
    columns = [CategoricalScale.over([run.params.get(key) for run in runs], bottom, top) for key in keys]
    values = Scale.over([run.value for run in runs], *((bottom, top) if objective.greater else (top, bottom)))
    lines: list[tuple[float, str]] = []
    for run, good in zip(runs, goodness([run.value for run in runs], objective), strict=True):
        # Lines through the same value are drawn side by side, the better ones above.
        aside = 0.0 if math.isnan(good) else 8 * (1 - 2 * good)
        heights = [
            scale(run.params.get(key)) + (aside if scale.scale is None else 0.0)
            for key, scale in zip(keys, columns, strict=True)
        ]
        heights.append(values(run.value) if math.isfinite(run.value) else bottom + 16)
        d = path([(left + step * index, y) for index, y in enumerate(heights)])
        drawn_run = element(
            "path",
            d=d,
            stroke=shade(good),
            class_="run",
            data_p=run.point if run.point >= 0 else None,
            data_y=" ".join(f"{y:.1f}" for y in heights),
            data_tip=f"{run.name}\n{objective.name} {format_number(run.value)}",
        )
        lines.append((-1.0 if math.isnan(good) else good, drawn_run))
    axes: list[str] = []
    for index, name in enumerate([*keys, objective.name]):
        x = left + step * index
        last = index == len(keys)
        ticks = [(values(v), words) for v, words in values.ticks(7)] if last else columns[index].ticks()
        side = (x + 9, "start") if last else (x - 8, "end")
        axes += [
            line(x, top, x, bottom, "axis"),
            label(x, top - 20, shorten(name, 22), "name"),
            *(line(x - 3, y, x + 3, y, "axis") for y, _ in ticks),
            *(label(side[0], y + 4, shorten(words, 14), "tick halo", side[1]) for y, words in ticks),
            element(
                "rect", x=x - 12, y=top - 6, width=24, height=bottom - top + 12, class_="grip", data_axis=index
            ),
            element("rect", x=x - 7, y=0, width=14, height=0, class_="chosen", data_axis=index),
        ]
    # The best are drawn last, on top.
    drawn = element("g", *(drawn_run for _, drawn_run in sorted(lines)), class_="lines")
    return drawing(width, bottom + 24, drawn, *axes, what="Parallel coordinates of all runs", class_="parallel")


def effect_panel(
    shown: Effect, runs: Mapping[str, PlottedRun], objective: Objective, bounds: Sequence[float]
) -> str:
    """Draw the objective by one parameter: a dot for each run, a line through the means."""
    width, left, right, top, bottom = 370.0, 52.0, 364.0, 16.0, 190.0
    across = CategoricalScale.over([value for value, _, _ in shown.pairs], left + 6, right - 6)
    up = Scale.over(bounds, bottom, top)
    parts = _frame(up, left, right, bottom)
    ticks = across.ticks()
    tilt = len(ticks) > 1 and max(len(words) for _, words in ticks) * 6.4 > (right - left) / len(ticks)
    for x, words in ticks:
        if tilt:
            turned = f"rotate(-32 {x:.1f} {bottom + 14})"
            parts.append(
                element(
                    "text",
                    text(shorten(words, 16)),
                    x=x,
                    y=bottom + 14,
                    class_="tick",
                    text_anchor="end",
                    transform=turned,
                )
            )
        else:
            parts.append(label(x, bottom + 16, shorten(words, 16), "tick"))
    for index, (value, y, run_id) in enumerate(shown.pairs):
        run = runs[run_id]
        # Spread the runs of one value, in a reproducible way.
        aside = 0.0 if shown.many else ((index * 0.618) % 1 - 0.5) * min(34.0, 160 / max(1, len(across.levels)))
        parts.append(
            element(
                "circle",
                cx=across(value) + aside,
                cy=up(y),
                r=3,
                class_="dot",
                data_p=run.point,
                data_tip=f"{run.name}\n{objective.name} {format_number(y)}",
            )
        )
    means = [] if shown.many else shown.means()
    ordered = means and all(number(level) is not None for level, _ in means)
    at = [(across(level), up(mean)) for level, mean in means]
    if ordered and len(at) > 1:
        parts.append(element("path", d=path(at), class_="means"))
    parts += [
        element(
            "path",
            d=path([(x - 13, y), (x + 13, y)]),
            class_="mean",
            data_tip=f"{level}: mean {format_number(mean)}",
        )
        for (x, y), (level, mean) in zip(at, means, strict=True)
    ]
    return drawing(width, bottom + (62 if tilt else 28), *parts, what=f"{objective.name} by {shown.key}")


def curve_panel(name: str, curves: Sequence[Mapping[int, Stat]], names: Sequence[str]) -> str:
    """Draw a metric by epoch: a line for each point, and a band of one standard deviation over its seeds."""
    width, left, right, top, bottom = 370.0, 52.0, 364.0, 16.0, 230.0
    means = [stat.mean for curve in curves for stat in curve.values()]
    low, high = min(means), max(means)
    log = low > 0 and high > 20 * low
    ends = [] if log else [s.mean + k * (s.std or 0) for c in curves for s in c.values() for k in (-1, 1)]
    # So that one outlying seed does not flatten the other curves.
    span = (high - low) or abs(high) or 1.0
    up = Scale.over(
        [*means, *(e for e in ends if low - span / 2 <= e <= high + span / 2)], bottom, top, log=log
    )
    epochs = [step for curve in curves for step in curve]
    across = Scale(min(epochs), max(max(epochs), min(epochs) + 1), left + 4, right - 4)
    parts = _frame(up, left, right, bottom)
    parts += [label(across(v), bottom + 16, words, "tick") for v, words in across.ticks(6) if v == int(v)]
    parts.append(label((left + right) / 2, bottom + 32, "epoch", "tick"))
    for index in reversed(range(len(curves))):
        colour, curve = COLOURS[index % len(COLOURS)], curves[index]
        banded = [
            (step, s.mean, s.std) for step, s in curve.items() if s.std is not None and math.isfinite(s.std)
        ]
        if banded:
            edge = [(across(step), up(mean + std)) for step, mean, std in banded]
            edge += [(across(step), up(mean - std)) for step, mean, std in reversed(banded)]
            parts.append(element("path", d=path(edge) + "Z", fill=colour, class_="band", data_p=index))
        points = [(across(step), up(stat.mean)) for step, stat in curve.items()]
        if not points:
            continue
        last = format_number([*curve.values()][-1].mean)
        tip = f"{names[index]}\n{name} {last} at the end"
        if len(points) == 1:
            parts.append(element("circle", cx=points[0][0], cy=points[0][1], r=4, fill=colour, data_tip=tip))
        else:
            parts.append(
                element("path", d=path(points), stroke=colour, class_="curve", data_p=index, data_tip=tip)
            )
    return drawing(width, bottom + 40, *parts, what=f"{name} by epoch")


def check_panel(tensors: Mapping[str, Sequence[tuple[PlottedRun, float, str]]]) -> str:
    """Draw the relative errors of the gradient checks: a row for each tensor, a dot for each run."""
    left, right, row, top = 96.0, 880.0, 26.0, 12.0
    bottom = top + row * len(tensors)
    across = Scale(-17.5, 1.0, left, right)
    parts: list[str] = []
    for power in range(-16, 2, 2):
        parts += [
            line(across(power), top, across(power), bottom, "grid"),
            label(across(power), bottom + 16, f"1e{power}" if power else "1", "tick"),
        ]
    for index, (tensor, dots) in enumerate(tensors.items()):
        y = top + row * (index + 0.5)
        parts.append(label(left - 10, y + 4, shorten(tensor, 14), "tick", "end"))
        for at, (run, error, state) in enumerate(dots):
            parts.append(
                element(
                    "circle",
                    cx=across(math.log10(error) if error > 0 else -17.5),
                    cy=y + ((at * 0.618) % 1 - 0.5) * row * 0.6,
                    r=2.6,
                    class_=f"check {'wrong' if state == 'failed' else 'right'}",
                    data_p=run.point if run.point >= 0 else None,
                    data_tip=f"{run.name}\n{tensor}: relative error {error:.1e}, check {state}",
                )
            )
    return drawing(right + 20, bottom + 26, *parts, what="Relative errors of the gradient checks")


def _frame(up: Scale, left: float, right: float, bottom: float) -> list[str]:
    """Draw grid lines with their values on the left, and the lower axis."""
    parts = [line(left, bottom, right, bottom, "axis")]
    for value, words in up.ticks():
        parts += [
            line(left, up(value), right, up(value), "grid"),
            label(left - 7, up(value) + 4, words, "tick", "end"),
        ]
    return parts
