# Matplotlib's types leave its keyword arguments open.
# pyright: reportUnknownMemberType=false
"""Plots of a run, as PNG bytes. Matplotlib is imported where it is used, without pyplot: no window and no global
state, so that threads can draw at the same time."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from backproof.contracts import Array
from backproof.render import svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 110
#: A part of the data has one colour in all plots.
COLOURS: dict[str, str] = dict(zip(("train", "val", "test"), svg.COLOURS, strict=False))
OTHERS = svg.COLOURS[3:]
INK, FAINT = "#333333", "#DDDDDD"
#: Up to this many classes, a confusion matrix shows the counts.
ANNOTATED = 25

Curve = Sequence[tuple[float, float | None]]


def learning_curves(history: Mapping[str, Curve]) -> bytes:
    """Draw losses and metrics by epoch, one panel for each (`train/loss` and `val/loss` share one).

    A curve is one (mean, standard deviation or None) per epoch; the deviation is drawn as a band.
    """
    panels: dict[str, dict[str, Curve]] = {}
    for name, curve in history.items():
        part, _, metric = name.rpartition("/")
        panels.setdefault(metric, {})[part] = curve
    order = sorted(panels, key=lambda metric: metric != "loss")
    figure, grid = _panels(max(1, len(order)), width=4.6, height=3.2)
    for axes, metric in zip(grid, order, strict=False):
        for index, (part, curve) in enumerate(panels[metric].items()):
            _curve(axes, curve, part, COLOURS.get(part, OTHERS[index % len(OTHERS)]))
        axes.set_title(metric.replace("_", " "), loc="left")
        axes.set_xlabel("epoch")
        axes.margins(x=0.01)
        if max(map(len, panels[metric].values())) < 2:
            axes.set_xlim(0, 2)
        _whole_numbers(axes)
        if metric == "loss" and _wide(panels[metric]):
            axes.set_yscale("log")
        if any(panels[metric]):
            axes.legend(frameon=False, labelcolor=INK)
    return _png(figure)


def _curve(axes: Axes, curve: Curve, label: str, colour: str) -> None:
    mean = _drawable([point[0] for point in curve])
    std = np.array([np.nan if point[1] is None else point[1] for point in curve], float)
    epochs = np.arange(1, len(mean) + 1)
    marker = "o" if len(mean) < 2 else None
    axes.plot(epochs, mean, color=colour, linewidth=1.7, label=label or None, marker=marker)
    if np.isfinite(std).any():
        axes.fill_between(epochs, mean - std, mean + std, color=colour, alpha=0.18, linewidth=0)


def _drawable(values: Sequence[float]) -> Array:
    """Return values in a range that Matplotlib can draw: a diverging run exceeds it."""
    return np.clip(np.array(values, float), -1e100, 1e100)


def _wide(curves: Mapping[str, Curve]) -> bool:
    """Return whether a loss falls so far that it needs a logarithmic scale."""
    values = _drawable([point[0] for curve in curves.values() for point in curve])
    values = values[np.isfinite(values)]
    return len(values) > 0 and values.min() > 1e-100 and values.max() > 50 * values.min()


def confusion_matrix(matrix: Array, names: Sequence[str]) -> bytes:
    """Draw counts (C, C) of true (rows) and predicted (columns) classes, coloured by their share of the row."""
    matrix = np.asarray(matrix)
    C = len(names)
    if matrix.shape != (C, C):
        raise ValueError(f"a confusion matrix of {C} names must be {(C, C)}, got {matrix.shape}")
    side = float(np.clip(0.5 * C, 3.2, 10 if C <= ANNOTATED else 9))
    figure = _figure(side + 1.8, side + 1.1, square=True)
    axes = figure.add_subplot()
    totals = matrix.sum(axis=1, keepdims=True)
    share = matrix / np.maximum(totals, 1)
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1, aspect="equal")
    if C <= ANNOTATED:
        _annotate(axes, matrix, share, size=float(np.clip(72 * side / C * 0.26, 5, 11)))
    _name_classes(axes, names)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    right = np.trace(matrix) / max(1, matrix.sum())
    axes.set_title(f"{right:.1%} of {matrix.sum():,} right", loc="left")
    for side_of in axes.spines.values():
        side_of.set_visible(False)
    axes.tick_params(length=0)
    bar = figure.colorbar(image, ax=axes, fraction=0.046, pad=0.03, ticks=[0, 0.5, 1], format="{x:.0%}")
    bar.outline.set_visible(False)  # type: ignore[operator]
    bar.ax.tick_params(length=0)
    bar.set_label("share of the true class")
    return _png(figure)


def _annotate(axes: Axes, matrix: Array, share: Array, size: float) -> None:
    for (row, column), count in np.ndenumerate(matrix):
        if count:
            colour = "white" if share[row, column] > 0.55 else INK
            axes.text(column, row, f"{count}", ha="center", va="center", color=colour, fontsize=size)


def _name_classes(axes: Axes, names: Sequence[str]) -> None:
    """Label the axes with all names, or with every k-th if there is no room."""
    every = -(-len(names) // 40)
    shown = range(0, len(names), every)
    labels = [_short(names[index], 16) for index in shown]
    size = 9 if len(shown) <= 25 else 7
    upright = max(map(len, labels)) > (4 if len(names) > 6 else 10) or len(labels) > 25
    axes.set_xticks(list(shown), labels, fontsize=size, rotation=60 if upright else 0)
    if upright:
        for label in axes.get_xticklabels():
            label.set_horizontalalignment("right")
            label.set_rotation_mode("anchor")
    axes.set_yticks(list(shown), labels, fontsize=size)


def residuals(prediction: Array, truth: Array, names: Sequence[str]) -> bytes:
    """Draw predicted against true values (N, T) in original units, one panel for each of up to six targets."""
    shown = min(6, len(names))
    figure, grid = _panels(shown, width=3.7, height=3.5, square=True)
    for axes, target in zip(grid, range(shown), strict=True):
        x, y = truth[:, target], prediction[:, target]
        fits = np.isfinite(x) & np.isfinite(y)
        x, y = x[fits], y[fits]
        # Many points are small and pale, so that dense regions show.
        few = len(x) < 500
        axes.scatter(x, y, s=16 if few else 6, alpha=0.6 if few else 0.25, color=COLOURS["train"], linewidths=0)
        if len(x):
            ends = [min(x.min(), y.min()), max(x.max(), y.max())]
            room = 0.04 * (ends[1] - ends[0]) or 1
            limits = (ends[0] - room, ends[1] + room)
            axes.plot(limits, limits, color=INK, linewidth=1, linestyle=(0, (4, 3)), zorder=0)
            axes.set_xlim(limits)
            axes.set_ylim(limits)
        axes.set_aspect("equal", adjustable="box")
        title = _short(names[target], 30)
        error = f"   RMSE {np.sqrt(np.mean((y - x) ** 2)):.3g}" if len(x) else ""
        axes.set_title(title + error, loc="left")
        axes.set_xlabel("true")
        axes.set_ylabel("predicted")
    if len(names) > shown:
        figure.supxlabel(f"the first {shown} of {len(names)} targets", fontsize=9, color=INK)
    return _png(figure)


def label_rates(prediction: Array, truth: Array, names: Sequence[str]) -> bytes:
    """Draw for each label, of (N, L) with 0 or 1, the true positives, false negatives and false positives."""
    positive, holds = np.asarray(prediction) > 0.5, np.asarray(truth) > 0.5
    shown = min(40, len(names))
    counts = {
        "true positives": ((positive & holds).sum(0), COLOURS["test"]),
        "false negatives": ((~positive & holds).sum(0), OTHERS[2]),
        "false positives": ((positive & ~holds).sum(0), COLOURS["val"]),
    }
    figure = _figure(6.4, 1.2 + 0.32 * shown)
    axes = figure.add_subplot()
    _plain(axes)
    rows, left = np.arange(shown), np.zeros(shown)
    for label, (count, colour) in counts.items():
        axes.barh(rows, count[:shown], left=left, color=colour, height=0.7, label=label)
        left = left + count[:shown]
    axes.set_yticks(rows, [_short(name, 24) for name in names[:shown]])
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(f"samples (of {len(holds):,})")
    _whole_numbers(axes)
    axes.legend(frameon=False, ncols=3, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2)
    return _png(figure)


def error_maps(errors: Mapping[str, Array]) -> bytes:
    """Draw the relative error of every entry on a logarithmic scale, a panel per tensor; vectors are one row."""
    shapes = [np.atleast_2d(values).shape for values in errors.values()]
    tallest = max(min(shape[0], 40) for shape in shapes)
    figure, grid = _panels(len(errors), width=3.6, height=1.3 + 0.08 * tallest)
    picture = None
    for axes, (name, values) in zip(grid, errors.items(), strict=True):
        with np.errstate(divide="ignore", invalid="ignore"):
            shown = np.log10(np.atleast_2d(values))
        shown = np.clip(np.nan_to_num(shown, nan=2, posinf=2, neginf=-17), -17, 2)
        picture = axes.imshow(shown, vmin=-17, vmax=0, cmap="inferno", aspect="auto", interpolation="nearest")
        axes.grid(visible=False)
        axes.set_title(name, loc="left")
        _whole_numbers(axes)
        if values.ndim == 1 or len(values) < 2:
            axes.set_yticks([])
        else:
            axes.set_yticks(np.unique(np.linspace(0, len(values) - 1, 5).round()))
    if picture is not None:
        bar = figure.colorbar(picture, ax=grid, shrink=0.9)
        bar.set_label("log10 of the relative error")
    return _png(figure)


def _figure(width: float, height: float, *, square: bool = False) -> Figure:
    """Return a figure, sized in inches. Square axes need another layout, or their labels would be cut off."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    layout = "compressed" if square else "constrained"
    figure = Figure(figsize=(width, height), dpi=DPI, layout=layout, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _panels(count: int, width: float, height: float, *, square: bool = False) -> tuple[Figure, list[Axes]]:
    """Return a figure with `count` panels, up to three in a row."""
    columns = 2 if count == 4 else min(3, count)
    rows = -(-count // columns)
    figure = _figure(width * columns, height * rows, square=square)
    grid = [figure.add_subplot(rows, columns, index + 1) for index in range(count)]
    for axes in grid:
        _plain(axes)
    return figure, grid


def _plain(axes: Axes) -> None:
    """Style the axes: no frame above and to the right, a faint grid behind the data."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#999999")
    axes.grid(color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(color="#999999", labelcolor=INK, labelsize=9)


def _whole_numbers(axes: Axes) -> None:
    """Put the ticks of the horizontal axis at whole numbers."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(nbins="auto", steps=[1, 2, 5, 10], integer=True))


def _short(name: str, length: int) -> str:
    # Matplotlib would read a formula between two dollar signs.
    name = name.replace("$", r"\$")
    return name if len(name) <= length else name[: length - 1] + "…"


def _png(figure: Figure) -> bytes:
    buffer: Any = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
