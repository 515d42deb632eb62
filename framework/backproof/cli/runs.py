"""`backproof runs` and `backproof report`: recorded runs as a table, TSV, CSV or JSON; a sweep as an HTML page."""

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
from pathlib import Path
from typing import Any, cast

from backproof.cli.run_table import columns_of, table
from backproof.cli.store_options import location
from backproof.render.console import print_error
from backproof.sweeps.objective import Objective, greater_is_better
from backproof.sweeps.recorded import command_words, objective_of, point_command, read, result_of, state_of
from backproof.sweeps.result import Point, SweepResult
from backproof.sweeps.varying import varying
from backproof.tracking import Store, TrackingError
from backproof.tracking.query import LAST, RunRecord, find, members, runs
from backproof.tracking.schema import Metric, is_check_metric

TABLE, TSV, CSV, JSON = "table", "tsv", "csv", "json"
#: Rows of a table without --limit; the other formats have all.
LIMIT = 20
#: Columns for parameters in a table on a terminal.
KEYS = 6


def list_runs(
    sweep: str | None, *, best: bool, form: str | None, limit: int | None, sort: str | None, **where: str | None
) -> int:
    """Run `backproof runs` and return the exit code."""
    store = Store.find(*location(**where))
    form = form or (TABLE if sys.stdout.isatty() else TSV)
    if not best:
        print_runs(store, sweep, form, limit, sort)
    elif not print_best(store, sweep, form, sort):
        which = f" of {sweep}" if sweep else ""
        return print_error(f"no run{which} has finished with a number to rank by", 1)
    return 0


def report(sweep: str, *, out: str | None, **where: str | None) -> int:
    """Run `backproof report` and return the exit code."""
    from backproof.report.build import build

    store = Store.find(*location(**where))
    parent = find_sweep(store, sweep)
    file = Path(out or f"report-{parent.id[:8]}.html")
    text = build(store, parent.id)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        return print_error(
            f"{file} cannot be written: {error.strerror or error}\nName another: --out FILE.html"
        )
    print(f"{file}  ({parent.name}, {len(text) / 1000:.0f} kB)")
    return 0


def find_sweep(store: Store, name: str) -> RunRecord:
    """Return the parent run of a sweep, by its id, name, or `last`. Raise TrackingError for another run."""
    recorded = runs(store)
    run = find(recorded, name)
    if run.is_sweep:
        newest = recorded[0]
        if name == LAST and not newest.is_sweep and not newest.parent:
            print(
                f"last is the sweep {run.name} ({run.id[:8]}); the single run {newest.name} is newer",
                file=sys.stderr,
            )
        return run
    hint = f"it is a point of the sweep {run.parent[:8]}" if run.parent else "it was trained alone"
    raise TrackingError(f"{name!r} is the run {run.name} ({run.id[:8]}), not a sweep: {hint}")


def print_runs(
    store: Store, sweep: str | None, form: str, limit: int | None = None, sort: str | None = None
) -> None:
    """Print the runs of a sweep, those of the best point first; or all sweeps and single runs, the newest first."""
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
        shown = sorted(
            shown, key=lambda run: by.cost(run.metrics.get(by.name, math.nan) if run.finished else math.nan)
        )
    limit = limit if limit is not None else LIMIT if form == TABLE else 0
    listed = shown[:limit] if limit else shown
    if form != TABLE:
        parent = recorded.parent if recorded is not None else None
        _write([_run_as_dict(run, keys, parent) for run in listed], form)
        return
    terminal = sys.stdout.isatty()
    columns = columns_of(listed, keys[:KEYS] if terminal else keys, objective, recorded)
    lines = table(columns, shutil.get_terminal_size().columns if terminal else None)
    if terminal and "NO_COLOR" not in os.environ:
        lines[0] = f"\x1b[1m{lines[0]}\x1b[0m"
    print("\n".join(lines))
    if len(listed) < len(shown) and terminal:
        print(f"{len(shown) - len(listed)} more: --limit 0", file=sys.stderr)


def print_best(store: Store, sweep: str | None, form: str, sort: str | None = None) -> bool:
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
    if form == TABLE:
        for point in points:
            print(f"{result.figures(point)}  {point_command(point)}")
        return True
    records = [_point_as_dict(point, result) for point in points]
    if form == JSON:
        front = {"front": records} if result.front else {}
        _write(_point_as_dict(result.best, result) | front, form)
    else:
        _write(records, form)
    return True


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


def _metric_to_sort_by(metric: str, among: Sequence[RunRecord]) -> Objective:
    """Return the metric as an objective. Raise TrackingError for one that no run has."""
    known = {name for run in among for name in run.metrics}
    if metric not in known:
        listed = ", ".join(sorted(name for name in known if not is_check_metric(name)))
        raise TrackingError(f"no run has the metric {metric!r}\nThere are: {listed or 'none'}")
    return Objective(metric, greater_is_better(metric))


def _run_as_dict(run: RunRecord, keys: Sequence[str], parent: RunRecord | None) -> dict[str, Any]:
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


def _point_as_dict(point: Point, result: SweepResult) -> dict[str, Any]:
    objective = result.objective
    stat = point.stat(objective.name)
    names = dict.fromkeys(name for run in point.done for name in run.metrics if not name.endswith("_std"))
    return {
        "objective": objective.name,
        "value": _finite(stat.mean),
        "std": _finite(stat.std),
        "seeds": sorted({seed for run in point.done for seed in run.planned.all_seeds}),
        "planned_seeds": point.planned_seeds,
        "tied_points": len(result.tied) if point in result.tied else 1,
        "params": point.choices,
        "metrics": {name: _finite(point.stat(name).mean) for name in names},
        "gradcheck": point.gradcheck,
        "best_run": point.representative(objective).run_id,
        "runs": [run.run_id for run in point.done],
        "command": point_command(point),
    }


def _finite(value: float | None) -> float | None:
    """Return the value, or None (JSON's null) for NaN and infinity."""
    return value if value is not None and math.isfinite(value) else None


def _write(records: Any, form: str) -> None:
    """Write records as JSON, CSV or TSV. TSV has no quotes, so that cut and awk can read it."""
    if form == JSON:
        print(json.dumps(records, indent=2, ensure_ascii=False))
        return
    rows = [_flat(record) for record in records]
    dialect: dict[str, Any] = {}
    if form == TSV:
        rows = [
            {key: " ".join(str(cell).splitlines()).replace("\t", " ") for key, cell in row.items()}
            for row in rows
        ]
        dialect = {"delimiter": "\t", "quoting": csv.QUOTE_NONE, "quotechar": None}
    heads = list(dict.fromkeys(key for row in rows for key in row))
    writer = csv.DictWriter(sys.stdout, heads, lineterminator="\n", **dialect)
    writer.writeheader()
    writer.writerows(rows)


def _flat(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record as columns: parameters and metrics under their own names, without the check's metrics."""
    flat: dict[str, Any] = {}
    for key, value in record.items():
        if isinstance(value, dict):
            items = cast("dict[str, Any]", value).items()
            flat |= {name: item for name, item in items if not is_check_metric(name) or name == Metric.CHECK}
        else:
            flat[key] = " ".join(map(str, cast("list[Any]", value))) if isinstance(value, list) else value
    return {key: "" if value is None else value for key, value in flat.items()}
