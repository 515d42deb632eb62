"""What `backproof runs` prints: a table that fits the terminal, or TSV, CSV and JSON for programs."""

from __future__ import annotations

import csv
import json
import math
import os
import shlex
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TextIO, cast

from backproof.render.text import MISSING, duration, elide_middle, number, one_line, pad, shorten
from backproof.sweeps.recorded import (
    RecordedSweep,
    command_words,
    objective_of,
    point_command,
    read,
    result_of,
    state_of,
)
from backproof.sweeps.result import Objective, Point, SweepResult, greater_is_better
from backproof.sweeps.varying import brief, short, varying
from backproof.tracking import Store, TrackingError
from backproof.tracking.query import RunRecord, find, members, runs
from backproof.tracking.schema import Metric, is_check_metric

TABLE, TSV, CSV, JSON = "table", "tsv", "csv", "json"
FORMATS = (TABLE, TSV, CSV, JSON)
#: Rows of a table without --limit; the other formats have all.
LIMIT = 20
#: Columns for parameters in a table on a terminal.
KEYS = 6
ERROR, SHORTEST_ERROR = "error", 16
#: Names that are longer are elided where other columns need the room.
NAME_WIDTH = 24


def find_sweep(store: Store, given: str) -> RunRecord:
    """Return the parent run of the sweep that is meant. Raise TrackingError for a run that is not a sweep."""
    run = find(runs(store), given)
    if run.is_sweep:
        return run
    hint = f"it is a point of the sweep {run.parent[:8]}" if run.parent else "it was trained alone"
    raise TrackingError(f"{given!r} is the run {run.name} ({run.id[:8]}), not a sweep: {hint}")


def list_runs(
    store: Store,
    sweep: str | None,
    *,
    form: str | None = None,
    limit: int | None = None,
    sort: str | None = None,
) -> None:
    """Print the runs of a sweep, those of the best point first; or all sweeps and single runs, the newest first."""
    form = form or default_format()
    recorded = read(store, find_sweep(store, sweep).id) if sweep is not None else None
    if recorded is not None:
        shown, objective, keys = recorded.ranked_runs, recorded.objective, recorded.over
    else:
        everything = runs(store)
        ids = {run.id for run in everything}
        shown = [run for run in everything if run.parent not in ids]
        alone = [run for run in shown if not run.is_sweep]
        objective, keys = objective_of(alone), varying([run.params for run in alone])
    if sort:
        by = _metric_to_sort_by(sort, shown)
        shown = sorted(shown, key=lambda run: by.cost(_value(run, by)))
    limit = limit if limit is not None else LIMIT if form == TABLE else 0
    listed = shown[:limit] if limit else shown
    parent = recorded.parent if recorded is not None else None
    if form != TABLE:
        _write([_record(run, keys, parent) for run in listed], form)
        return
    terminal = sys.stdout.isatty()
    columns = columns_of(listed, keys[:KEYS] if terminal else keys, objective, recorded)
    lines = table(columns, shutil.get_terminal_size().columns if terminal else None)
    if terminal and "NO_COLOR" not in os.environ:
        lines[0] = f"\x1b[1m{lines[0]}\x1b[0m"
    print("\n".join(lines))
    if len(listed) < len(shown) and terminal:
        print(f"{len(shown) - len(listed)} more: --limit 0", file=sys.stderr)


def show_best(store: Store, sweep: str | None, *, form: str | None = None, sort: str | None = None) -> bool:
    """Print the best point of a sweep, or of all runs, and the command that runs it again.

    Of several objectives, print the Pareto front. Return False if no point has a finite objective.
    """
    result = read(store, find_sweep(store, sweep).id).result if sweep is not None else _all_runs(store)
    if sort:
        records = [run.record for point in result.ranked for run in point.done if run.record is not None]
        result = SweepResult(result.swept, result.runs, (_metric_to_sort_by(sort, records),))
    if result.best is None:
        return False
    points = result.front or [result.best]
    form = form or default_format()
    if form == TABLE:
        for point in points:
            values = "  ".join(f"{each.name} {point.stat(each.name)}" for each in result.objectives)
            print(" ".join(filter(None, [values, point.seed_text])) + f"  {point_command(point)}")
        return True
    records = [_point_record(point, result.objective) for point in points]
    if form == JSON:
        front = {"front": records} if result.front else {}
        print(json.dumps(_point_record(result.best, result.objective) | front, indent=2, ensure_ascii=False))
    else:
        _write(records, form)
    return True


def default_format() -> str:
    """Return the format without --format: a table on a terminal, TSV in a pipe or a file."""
    return TABLE if sys.stdout.isatty() else TSV


def _all_runs(store: Store) -> SweepResult:
    """Return all finished runs as one result. Raise TrackingError if they are on different datasets."""
    done = [run for run in runs(store) if not run.is_sweep and run.finished]
    datasets = sorted({run.params.get("dataset", "?") for run in done})
    if len(datasets) > 1:
        raise TrackingError(
            f"the runs are of {len(datasets)} datasets ({', '.join(datasets)}) and cannot be compared\n"
            "Name a sweep, as in: backproof runs last --best"
        )
    return result_of(done[::-1], {run.id: members(store, run) for run in done}, objective_of(done))


def _value(run: RunRecord, objective: Objective) -> float:
    return run.metrics.get(objective.name, math.nan) if run.finished else math.nan


def _metric_to_sort_by(metric: str, among: Sequence[RunRecord]) -> Objective:
    """Return the metric as an objective. Raise TrackingError for one that no run has."""
    known = {name for run in among for name in run.metrics}
    if metric not in known:
        listed = ", ".join(sorted(name for name in known if not is_check_metric(name)))
        raise TrackingError(f"no run has the metric {metric!r}\nThere are: {listed or 'none'}")
    return Objective(metric, greater_is_better(metric))


# Records for programs


def _record(run: RunRecord, keys: Sequence[str], parent: RunRecord | None) -> dict[str, Any]:
    return {
        "id": run.id,
        "name": run.name,
        "kind": "sweep" if run.is_sweep else "run",
        "status": state_of(run, parent),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(run.started)),
        "seconds": None if run.seconds is None else round(run.seconds, 3),
        "gradcheck": run.gradcheck or None,
        "differs": {key: run.params.get(key) for key in keys},
        "metrics": {name: _finite(value) for name, value in sorted(run.metrics.items())},
        "error": run.error or None,
        "command": run.command if run.is_sweep else shlex.join(command_words(run)),
    }


def _point_record(point: Point, objective: Objective) -> dict[str, Any]:
    stat = point.stat(objective.name)
    names = dict.fromkeys(name for run in point.done for name in run.metrics if not name.endswith("_std"))
    return {
        "objective": objective.name,
        "value": _finite(stat.mean),
        "std": _finite(stat.std),
        "seeds": sorted({seed for run in point.done for seed in run.planned.all_seeds}),
        "planned_seeds": point.planned_seeds,
        "params": point.choices,
        "metrics": {name: _finite(point.stat(name).mean) for name in names},
        "gradcheck": point.gradcheck,
        "best_run": point.representative(objective).run_id,
        "runs": [run.run_id for run in point.done],
        "command": point_command(point),
    }


def _write(records: Sequence[dict[str, Any]], form: str) -> None:
    if form == JSON:
        print(json.dumps(records, indent=2, ensure_ascii=False))
        return
    rows = [_flat(record) for record in records]
    heads = list(dict.fromkeys(key for row in rows for key in row))
    table = [heads, *([row.get(head, "") for head in heads] for row in rows)]
    if form == CSV:
        csv.writer(sys.stdout, lineterminator="\n").writerows(table)
    else:
        _write_tsv(table, sys.stdout)


def _write_tsv(table: Sequence[Sequence[object]], out: TextIO) -> None:
    """Write lines without quoting, so that cut and awk can read them; a tab or a line break becomes a space."""
    for row in table:
        cells = ("" if cell is None else str(cell) for cell in row)
        out.write("\t".join(" ".join(cell.splitlines()).replace("\t", " ") for cell in cells) + "\n")


def _flat(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record as columns: parameters and metrics under their own names, without the check's metrics."""
    flat: dict[str, Any] = {}
    for key, value in record.items():
        if isinstance(value, dict):
            items = cast("dict[str, Any]", value).items()
            flat |= {name: item for name, item in items if not is_check_metric(name) or name == Metric.CHECK}
        elif isinstance(value, list):
            flat[key] = " ".join(map(str, cast("list[Any]", value)))
        else:
            flat[key] = value
    return flat


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


# The table


@dataclass(frozen=True)
class Column:
    """A column: it is left out where there is no room for it, unless its priority is 0."""

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
        # Each may have another objective: one column, with its name beside the number.
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
