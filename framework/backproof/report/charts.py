"""The charts of the report: what `templates/charts.html` draws."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backproof.render.svg import COLOURS, Scale
from backproof.render.text import number as format_number
from backproof.report.effects import Effect
from backproof.report.scales import CategoricalScale
from backproof.sweeps.objective import Objective
from backproof.sweeps.stat import Stat
from backproof.sweeps.varying import number

#: From worst to best, light to dark, so that good runs also stand out in grey.
SHADES = ("#f2d7a0", "#e3a35f", "#c66a5a", "#8b4376", "#3b2a74")


@dataclass(frozen=True)
class PlottedRun:
    """A run as the charts draw it."""

    point: int | None  # the rank of its point, from 0; None if it is not ranked
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


def parallel(runs: Sequence[PlottedRun], keys: Sequence[str], objective: Objective) -> dict[str, Any]:
    """Return parallel coordinates: an axis for each parameter and one for the objective, a line for each run."""
    step, top, bottom, left = max(118.0, min(440.0, 1000 / max(1, len(keys)))), 44.0, 340.0, 108.0
    columns = [CategoricalScale.over([run.params.get(key) for run in runs], bottom, top) for key in keys]
    values = Scale.over([run.value for run in runs], *((bottom, top) if objective.greater else (top, bottom)))
    places = [left + step * index for index in range(len(keys) + 1)]
    lines: list[tuple[float, dict[str, Any]]] = []
    for run, good in zip(runs, goodness([run.value for run in runs], objective), strict=True):
        # Lines through the same value are drawn side by side, the better ones above.
        aside = 0.0 if math.isnan(good) else 8 * (1 - 2 * good)
        heights = [
            scale(run.params.get(key)) + (aside if scale.scale is None else 0.0)
            for key, scale in zip(keys, columns, strict=True)
        ]
        heights.append(values(run.value) if math.isfinite(run.value) else bottom + 16)
        drawn: dict[str, Any] = {
            "point": run.point,
            "points": [*zip(places, heights, strict=True)],
            "shade": shade(good),
            "tip": _tip(run, run.value, objective),
        }
        lines.append((-1.0 if math.isnan(good) else good, drawn))
    axes = [
        {"x": x, "name": key, "ticks": column.ticks(), "label_x": x - 8, "anchor": "end"}
        for x, key, column in zip(places, keys, columns, strict=False)
    ]
    x, ticks = places[-1], [(values(value), words) for value, words in values.ticks(7)]
    axes.append({"x": x, "name": objective.name, "ticks": ticks, "label_x": x + 9, "anchor": "start"})
    # The best are drawn last, on top.
    lines.sort(key=lambda line: line[0])
    size = {"width": places[-1] + 70, "top": top, "bottom": bottom}
    return {**size, "lines": [drawn for _, drawn in lines], "axes": axes}


def effect_panel(
    effect: Effect, runs: Mapping[str, PlottedRun], objective: Objective, bounds: Sequence[float]
) -> dict[str, Any]:
    """Return the objective by one parameter: a dot for each run, a line through the means."""
    panel = _panel(bounds, 190.0)
    left, right, up = panel["left"], panel["right"], panel["up"]
    across = CategoricalScale.over([value for value, _, _ in effect.pairs], left + 6, right - 6)
    ticks = across.ticks()
    dots: list[dict[str, Any]] = []
    for index, (value, y, run_id) in enumerate(effect.pairs):
        run = runs[run_id]
        # Spread the runs of one value, in a reproducible way.
        aside = 0.0 if effect.many else _spread(index) * min(34.0, 160 / max(1, len(across.levels)))
        dots.append(
            {"x": across(value) + aside, "y": up(y), "point": run.point, "tip": _tip(run, y, objective)}
        )
    means = [] if effect.many else effect.means()
    ordered = len(means) > 1 and all(number(level) is not None for level, _ in means)
    return {
        **panel,
        "title": f"{objective.name} by {effect.key}",
        "ticks": ticks,
        "tilt": len(ticks) > 1 and max(len(words) for _, words in ticks) * 6.4 > (right - left) / len(ticks),
        "dots": dots,
        "joined": [(across(level), up(mean)) for level, mean in means] if ordered else [],
        "means": [
            {"x": across(level), "y": up(mean), "tip": f"{level}: mean {format_number(mean)}"}
            for level, mean in means
        ],
    }


def curve_panel(name: str, curves: Sequence[Mapping[int, Stat]], names: Sequence[str]) -> dict[str, Any]:
    """Return a metric by epoch: a line for each point, and a band of one standard deviation over its seeds."""
    means = [stat.mean for curve in curves for stat in curve.values()]
    low, high = min(means), max(means)
    log = low > 0 and high > 20 * low
    ends = [] if log else [s.mean + k * (s.std or 0) for c in curves for s in c.values() for k in (-1, 1)]
    # So that one outlying seed does not flatten the other curves.
    span = (high - low) or abs(high) or 1.0
    inside = [end for end in ends if low - span / 2 <= end <= high + span / 2]
    panel = _panel([*means, *inside], 230.0, log=log)
    up, epochs = panel["up"], [step for curve in curves for step in curve]
    first, last = min(epochs), max(max(epochs), min(epochs) + 1)
    across = Scale(first, last, panel["left"] + 4, panel["right"] - 4)
    drawn: list[dict[str, Any]] = []
    for index, curve in enumerate(curves):
        banded = [
            (step, s.mean, s.std) for step, s in curve.items() if s.std is not None and math.isfinite(s.std)
        ]
        band = [(across(step), up(mean + std)) for step, mean, std in banded]
        band += [(across(step), up(mean - std)) for step, mean, std in reversed(banded)]
        final = format_number([*curve.values()][-1].mean) if curve else ""
        drawn.append(
            {
                "point": index,
                "colour": COLOURS[index % len(COLOURS)],
                "band": band,
                "points": [(across(step), up(stat.mean)) for step, stat in curve.items()],
                "tip": f"{names[index]}\n{name} {final} at the end",
            }
        )
    return {**panel, "title": f"{name} by epoch", "across": across, "curves": drawn}


def check_panel(tensors: Mapping[str, Sequence[tuple[PlottedRun, float, str]]]) -> dict[str, Any]:
    """Return the relative errors of the gradient checks: a row for each tensor, a dot for each run."""
    left, right, height, top = 96.0, 880.0, 26.0, 12.0
    across = Scale(-17.5, 1.0, left, right)
    rows: list[dict[str, Any]] = []
    for index, (tensor, runs) in enumerate(tensors.items()):
        y = top + height * (index + 0.5)
        dots = [
            {
                "x": across(math.log10(error) if error > 0 else -17.5),
                "y": y + _spread(at) * height * 0.6,
                "verdict": "wrong" if state == "failed" else "right",
                "point": run.point,
                "tip": f"{run.name}\n{tensor}: relative error {error:.1e}, check {state}",
            }
            for at, (run, error, state) in enumerate(runs)
        ]
        rows.append({"y": y, "tensor": tensor, "dots": dots})
    size = {"left": left, "right": right, "top": top, "bottom": top + height * len(tensors)}
    return {**size, "across": across, "rows": rows}


def _panel(values: Sequence[float], bottom: float, *, log: bool = False) -> dict[str, Any]:
    """Return the size of one of several charts next to each other, and its vertical scale."""
    up = Scale.over(values, bottom, 16.0, log=log)
    return {"width": 370.0, "left": 52.0, "right": 364.0, "bottom": bottom, "up": up}


def _spread(index: int) -> float:
    """Return numbers between -1/2 and 1/2 that are spread evenly, for dots that would hide each other."""
    return (index * 0.618) % 1 - 0.5


def _tip(run: PlottedRun, value: float, objective: Objective) -> str:
    return f"{run.name}\n{objective.name} {format_number(value)}"
