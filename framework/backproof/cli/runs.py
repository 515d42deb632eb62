"""Floor 5: `backproof runs` and `backproof report`: what is recorded, on the terminal, for pipes, and as a page."""

from __future__ import annotations

import argparse
import csv
import json
import math
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

from backproof.app.config import OutputOptions
from backproof.cli.main import complain
from backproof.contracts.errors import TrackingError
from backproof.report import Objective, Point, Stat, Sweep, objective_of, varying
from backproof.report.build import build, read
from backproof.report.page import duration, state_of
from backproof.report.points import greater_is_better, group, own_words
from backproof.report.svg import MISSING, figure, shorter
from backproof.report.varying import SEED, brief, short
from backproof.tracking import Store, TrackingOptions
from backproof.tracking.query import RunRecord, find, members, runs

FORMATS = ("table", "json", "csv")
#: Lines of a table, unless told otherwise; pipes of JSON and CSV get all.
LIMIT = 20
#: Columns that a narrow terminal does without, these first.
DISPENSABLE = ("took", "when", "val/loss", "check", "name")
SWEEP_HELP = "a sweep: its id, the beginning of one, its name, or `last`"


def list_runs(args: list[str]) -> int:
    """`backproof runs`."""
    parser = argparse.ArgumentParser(
        "backproof runs",
        description="The runs that are recorded, the newest first; of a sweep its points, the best first.",
        epilog="backproof runs last --best; backproof runs last --format json | jq '.[].metrics'",
    )
    parser.add_argument("sweep", nargs="?", metavar="SWEEP", help=f"{SWEEP_HELP}; without it sweeps and runs")
    parser.add_argument(
        "--best", action="store_true", help="the best point alone, and the command to run it again"
    )
    parser.add_argument("--format", choices=FORMATS, default="table")
    parser.add_argument("--limit", type=_count, metavar="N", help=f"at most N (a table: {LIMIT}; 0: all)")
    parser.add_argument("--sort", metavar="METRIC", help="by this metric, as val/loss, the best first")
    _place(parser)
    given = parser.parse_args(args)
    return _told(lambda: _list(given))


def report(args: list[str]) -> int:
    """`backproof report`."""
    parser = argparse.ArgumentParser(
        "backproof report", description="One HTML page on a sweep; it needs no network."
    )
    parser.add_argument("sweep", nargs="?", default="last", metavar="SWEEP", help=f"{SWEEP_HELP} (the default)")
    parser.add_argument("--out", metavar="FILE", help="the file; default: report-ID.html")
    _place(parser)
    given = parser.parse_args(args)
    return _told(lambda: _report(given))


def _place(parser: argparse.ArgumentParser) -> None:
    outputs = OutputOptions().outputs
    parser.add_argument(
        "--outputs", default=outputs, metavar="DIR", help="the folder that runs were written to"
    )
    parser.add_argument(
        "--uri", help="another MLflow store; default: MLFLOW_TRACKING_URI, or that of the folder"
    )
    parser.add_argument("--experiment", default=TrackingOptions().experiment, metavar="NAME")


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 on")
    return int(text)


def _told(action: Callable[[], int]) -> int:
    try:
        return action()
    except TrackingError as error:
        return complain(str(error))


def _open(given: argparse.Namespace) -> Store:
    return Store.find(TrackingOptions(uri=given.uri, experiment=given.experiment), Path(given.outputs))


def _sweep(store: Store, given: str) -> RunRecord:
    """The parent run that is meant. Raises TrackingError for a run that is no sweep."""
    run = find(runs(store), given)
    if run.is_sweep:
        return run
    hint = f"it is a point of the sweep {run.parent[:8]}" if run.parent else "it was trained alone"
    raise TrackingError(f"{given!r} is the run {run.name} ({run.id[:8]}), not a sweep: {hint}")


def _report(given: argparse.Namespace) -> int:
    store = _open(given)
    parent = _sweep(store, given.sweep)
    file = Path(given.out or f"report-{parent.id[:8]}.html")
    text = build(store, parent.id)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        return complain(f"{file} cannot be written: {error.strerror or error}\nName another: --out FILE.html")
    print(f"{file}  ({parent.name}, {len(text) / 1000:.0f} kB)")
    return 0


def _list(given: argparse.Namespace) -> int:
    store = _open(given)
    if given.sweep is not None:
        sweep = read(store, _sweep(store, given.sweep).id)
        shown, objective = (
            [*(run for point in sweep.points for run in point.runs), *sweep.unfinished],
            sweep.objective,
        )
        shown.sort(key=lambda run: objective.key(_value(run, objective)))
        keys = sweep.over
        if given.best:
            best = _best_of(sweep.points, objective, given.sort)
            return _nothing(given) if best is None else _show_best(best, given.format)
    else:
        everything = runs(store)
        if given.best:
            return _best_of_all(store, [run for run in everything if not run.is_sweep], given)
        ids = {run.id for run in everything}
        shown = [run for run in everything if run.parent not in ids]
        alone = [run for run in shown if not run.is_sweep]
        objective, keys, sweep = objective_of(alone), varying([run.params for run in alone]), None
    if given.sort:
        by = _chosen(given.sort, shown)
        shown.sort(key=lambda run: by.key(_value(run, by)))
    limit = given.limit if given.limit is not None else LIMIT if given.format == "table" else 0
    kept = shown[:limit] if limit else shown
    if given.format == "table":
        _table(kept, keys, objective, sweep)
        if len(kept) < len(shown) and sys.stdout.isatty():
            print(f"{len(shown) - len(kept)} more: --limit 0")
    else:
        _write([_record(run, keys, sweep) for run in kept], given.format)
    return 0


def _value(run: RunRecord, objective: Objective) -> float:
    done = run.status == "FINISHED" and not run.pruned
    return run.metrics.get(objective.name, math.nan) if done else math.nan


def _chosen(metric: str, among: Sequence[RunRecord]) -> Objective:
    """A metric to sort by. Raises TrackingError for one that no run has."""
    known = sorted({name for run in among for name in run.metrics if not name.startswith("gradcheck/")})
    if metric not in {name for run in among for name in run.metrics}:
        raise TrackingError(f"no run has the metric {metric!r}\nThere are: {', '.join(known) or 'none'}")
    return Objective(metric, greater_is_better(metric))


def _best_of(points: Sequence[Point], objective: Objective, sort: str | None) -> tuple[Point, Objective] | None:
    """The point with the best mean."""
    if sort:
        objective = _chosen(sort, [run for point in points for run in point.runs])
    ranked = sorted(points, key=lambda point: objective.key(point.stat(objective.name).mean))
    if not ranked or math.isnan(ranked[0].stat(objective.name).mean):
        return None
    return ranked[0], objective


def _best_of_all(store: Store, everything: Sequence[RunRecord], given: argparse.Namespace) -> int:
    """The best of all runs, where they can be compared."""
    done = [run for run in everything if run.status == "FINISHED" and not run.pruned]
    datasets = sorted({run.params.get("dataset", "?") for run in done})
    if len(datasets) > 1:
        raise TrackingError(
            f"the runs are of {len(datasets)} datasets ({', '.join(datasets)}) and cannot be compared\n"
            "Name a sweep, as in: backproof runs last --best"
        )
    over = [key for key in varying([run.params for run in done]) if key != SEED]
    points = group(done, over, {run.id: members(store, run) for run in done})
    best = _best_of(points, objective_of(done), given.sort)
    return _nothing(given) if best is None else _show_best(best, given.format)


def _nothing(given: argparse.Namespace) -> int:
    which = f" of {given.sweep}" if given.sweep else ""
    return complain(f"no run{which} has finished with a number to rank by", 1)


def _show_best(best: tuple[Point, Objective], form: str) -> int:
    point, objective = best
    stat = point.stat(objective.name)
    if form == "table":
        seeds = f" over {stat.n} seeds" if stat.n > 1 else ""
        print(f"{objective.name} {_stat(stat)}{seeds}  {point.command}")
        return 0
    names = list(dict.fromkeys(name for own in point.seeds.values() for name in own)) or [objective.name]
    record = {
        "objective": objective.name,
        "value": _json_number(stat.mean),
        "std": _json_number(stat.std),
        "seeds": sorted(point.seeds),
        "params": point.choices,
        "metrics": {name: _json_number(point.stat(name).mean) for name in names},
        "gradcheck": point.gradcheck,
        "runs": [run.id for run in point.runs],
        "command": point.command,
    }
    _write([record], form, alone=True)
    return 0


def _record(run: RunRecord, keys: Sequence[str], sweep: Sweep | None) -> dict[str, Any]:
    """All of a run, for pipes."""
    return {
        "id": run.id,
        "name": run.name,
        "kind": "sweep" if run.is_sweep else "run",
        "status": state_of(run, sweep),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(run.started)),
        "seconds": None if run.seconds is None else round(run.seconds, 3),
        "gradcheck": run.gradcheck or None,
        "differs": {key: run.params.get(key) for key in keys},
        "metrics": {name: _json_number(value) for name, value in sorted(run.metrics.items())},
        "error": run.error or None,
        "command": run.command if run.is_sweep else shlex.join(own_words(run)),
    }


def _write(records: list[dict[str, Any]], form: str, *, alone: bool = False) -> None:
    if form == "json":
        print(json.dumps(records[0] if alone else records, indent=2, ensure_ascii=False))
        return
    rows = [dict(_flat(record)) for record in records]
    heads = list(dict.fromkeys(key for row in rows for key in row))
    out = csv.DictWriter(sys.stdout, heads, restval="", lineterminator="\n")
    out.writeheader()
    out.writerows(rows)


def _flat(record: dict[str, Any]) -> list[tuple[str, Any]]:
    """A record as columns: parameters and metrics under their own names, those of the check left out."""
    found: list[tuple[str, Any]] = []
    for key, value in record.items():
        if isinstance(value, dict):
            items = cast("dict[str, Any]", value).items()
            found += [(name, each) for name, each in items if not name.startswith("gradcheck/")]
        elif isinstance(value, list):
            found.append((key, " ".join(map(str, cast("list[Any]", value)))))
        else:
            found.append((key, value))
    return found


def _table(shown: Sequence[RunRecord], keys: Sequence[str], objective: Objective, sweep: Sweep | None) -> None:
    """Aligned columns; on a terminal with a head that stands out, and cut to its width."""
    metrics = [objective.name, f"test/{objective.name.rpartition('/')[2]}", "val/loss"]
    metrics = [name for name in dict.fromkeys(metrics) if any(name in run.metrics for run in shown)]
    if any(run.is_sweep for run in shown):
        metrics = []  # Each may have another objective: one column, with the name beside the number.
    terminal = sys.stdout.isatty()
    keys = list(keys)[: 6 if terminal else None]
    heads = ["run", *([] if sweep else ["name"]), *(short(key, keys) for key in keys), *(metrics or ["best"])]
    heads += ["check", "status", "when", "took"]
    if any(run.error for run in shown):
        heads.append("error")
    rows = [_row(run, keys, metrics, sweep)[: len(heads)] for run in shown]
    lines = _aligned([heads, *rows], shutil.get_terminal_size().columns if terminal else None)
    if terminal:
        lines[0] = f"\x1b[1m{lines[0]}\x1b[0m"
    print("\n".join(lines))


def _aligned(rows: Sequence[Sequence[str]], room: int | None) -> list[str]:
    """Lines of a table whose first row is the head. Where there is no room the less important columns are left out,
    and what is then still too long is cut."""
    columns = [list(column) for column in zip(*rows, strict=True)]
    widths = [max(map(len, column)) for column in columns]
    kept = list(range(len(columns)))
    for head in DISPENSABLE if room is not None else ():
        if sum(widths[index] + 2 for index in kept) - 2 > (room or 0):
            kept = [index for index in kept if columns[index][0] != head]
    lines = ["  ".join(row[index].ljust(widths[index]) for index in kept).rstrip() for row in rows]
    return [shorter(line, room) if room is not None else line for line in lines]


def _row(run: RunRecord, keys: Sequence[str], metrics: Sequence[str], sweep: Sweep | None) -> list[str]:
    cells = [run.id[:8], *([] if sweep else [run.name])]
    cells += [brief(run.params.get(key, MISSING)) for key in keys]
    cells += [_metric(run, name) for name in metrics] or [_own(run)]
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(run.started))
    cells += [run.gradcheck or MISSING, _status(run, sweep), when, duration(run.seconds)]
    return [*cells, run.error.partition("\n")[0]]


def _metric(run: RunRecord, name: str) -> str:
    return _stat(Stat(run.metrics.get(name, math.nan), run.metrics.get(f"{name}_std")))


def _own(run: RunRecord) -> str:
    """A run's own objective; of a sweep that of its best point."""
    if not run.is_sweep:
        name = objective_of([run]).name
        return f"{name} {_metric(run, name)}" if name in run.metrics else MISSING
    best = [(name, value) for name, value in run.metrics.items() if name.startswith("best/")]
    return ", ".join(f"{name.removeprefix('best/')} {figure(value)}" for name, value in best) or MISSING


def _status(run: RunRecord, sweep: Sweep | None) -> str:
    points = run.metrics.get("sweep/points")
    return state_of(run, sweep) + (f", {points:g} points" if run.is_sweep and points else "")


def _stat(stat: Stat) -> str:
    return figure(stat.mean) + (f" ± {figure(stat.std, 2)}" if stat.std is not None else "")


def _json_number(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
