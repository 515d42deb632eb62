"""The table of `backproof runs`: a line for each run, as many columns as the terminal has room for."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from backproof.render.text import MISSING, duration, elide_middle, number, one_line, pad, shorten
from backproof.sweeps.objective import Objective
from backproof.sweeps.recorded import RecordedSweep, objective_of, state_of
from backproof.sweeps.varying import brief, short
from backproof.tracking.query import RunRecord
from backproof.tracking.schema import Metric

ERROR, SHORTEST_ERROR = "error", 16
#: Names that are longer are elided where other columns need the room.
NAME_WIDTH = 24


@dataclass(frozen=True)
class Column:
    """A column, which is omitted if there is no room for it, unless its priority is 0."""

    head: str
    cells: list[str]
    priority: int = 0

    @property
    def width(self) -> int:
        return max(pad(cell)[1] for cell in (self.head, *self.cells))


def columns_of(
    shown: Sequence[RunRecord], keys: Sequence[str], objective: Objective, sweep: RecordedSweep | None
) -> list[Column]:
    """Return all columns in their order."""
    parent = sweep.parent if sweep is not None else None
    columns = [
        Column("run", [run.id[:8] for run in shown], 1),
        Column("name", [one_line(run.name) for run in shown]),
    ]
    columns += [
        Column(short(key, keys), [one_line(brief(run.params.get(key, MISSING))) for run in shown], 4 + position)
        for position, key in enumerate(keys)
    ]
    if any(run.is_sweep for run in shown):
        # Sweeps may have different objectives: one column, with the name next to the value.
        columns.append(Column("best", [_best(run) for run in shown]))
    else:
        names = dict.fromkeys([objective.name, f"test/{objective.name.rpartition('/')[2]}", "val/loss"])
        columns += [
            Column(name, [_metric(run, name) for run in shown], 0 if name == objective.name else 2)
            for name in names
            if name == objective.name or any(name in run.metrics for run in shown)
        ]
    times = [time.localtime(run.started) for run in shown]
    year = time.localtime().tm_year
    full = not sys.stdout.isatty() or any(when.tm_year != year for when in times)
    columns += [
        Column("check", [run.gradcheck or MISSING for run in shown]),
        Column("status", [_status(run, parent) for run in shown]),
        Column("when", [time.strftime("%Y-%m-%d %H:%M" if full else "%m-%d %H:%M", when) for when in times]),
        Column("took", [duration(run.seconds) for run in shown], 3),
    ]
    if any(run.error for run in shown):
        columns.append(Column(ERROR, [one_line(run.error.partition("\n")[0]) for run in shown], 99))
    return columns


def table(columns: Sequence[Column], room: int | None) -> list[str]:
    """Return aligned lines, at most `room` wide: columns are left out by priority, then names are elided.

    The column of errors takes the room that the others leave.
    """
    chosen = list(columns) if room is None else _fitting(columns, room)
    lines = [
        "  ".join(pad(cell, column.width)[0] for cell, column in zip(row, chosen, strict=True)).rstrip()
        for row in zip(*([column.head, *column.cells] for column in chosen), strict=True)
    ]
    return lines if room is None else [pad(line, room, cut=True)[0].rstrip() for line in lines]


def _fitting(columns: Sequence[Column], room: int) -> list[Column]:
    """Return the columns that there is room for, with names elided in the middle."""
    # A long name makes room for other columns, and takes what they leave.
    known = {column.head: column for column in columns}
    known["name"] = _elided(known["name"], max(NAME_WIDTH, room // 3))
    chosen = [column for column in known.values() if column.priority == 0]
    optional = [column for column in known.values() if column.priority]
    for column in sorted(optional, key=lambda column: column.priority):
        if _total([*chosen, column]) <= room:
            chosen.append(column)
        elif column.head == ERROR and (left := room - _total(chosen) - 2) >= SHORTEST_ERROR:
            chosen.append(Column(ERROR, [shorten(cell, left) for cell in column.cells], column.priority))
    width = known["name"].width + room - _total(chosen)
    heads = [column.head for column in columns]
    fitting = sorted(chosen, key=lambda column: heads.index(column.head))
    name = next(column for column in columns if column.head == "name")
    return [_elided(name, max(8, width)) if column.head == "name" else column for column in fitting]


def _elided(column: Column, width: int) -> Column:
    return Column(column.head, [elide_middle(cell, width) for cell in column.cells], column.priority)


def _total(columns: Sequence[Column]) -> int:
    return sum(column.width + 2 for column in columns) - 2


def _metric(run: RunRecord, name: str) -> str:
    std = run.metrics.get(f"{name}_std")
    return number(run.metrics.get(name)) + (f" ± {number(std, 2)}" if std is not None else "")


def _best(run: RunRecord) -> str:
    """Return a run's objective; of a sweep that of its best point."""
    if not run.is_sweep:
        name = objective_of([run]).name
        return f"{name} {_metric(run, name)}" if name in run.metrics else MISSING
    best = [(name, value) for name, value in run.metrics.items() if name.startswith(Metric.BEST)]
    return ", ".join(f"{name.removeprefix(Metric.BEST)} {number(value)}" for name, value in best) or MISSING


def _status(run: RunRecord, parent: RunRecord | None) -> str:
    # Sweeps of earlier versions counted their runs as points.
    count = run.metrics.get(Metric.RUNS, run.metrics.get(Metric.POINTS))
    return state_of(run, parent) + (f", {count:g} runs" if run.is_sweep and count else "")
