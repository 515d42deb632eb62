"""The report page of a sweep: the values that its template shows, and the charts."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from backproof.render.svg import COLOURS
from backproof.render.templates import render, verbatim
from backproof.render.text import MISSING, duration
from backproof.report.charts import PlottedRun, check_panel, curve_panel, effect_panel, parallel
from backproof.report.compare import LEVEL, PAIRED, Comparison, compare_points
from backproof.report.effects import effect
from backproof.sweeps.planned import SEED
from backproof.sweeps.recorded import LOST, RecordedSweep, point_command, state_of
from backproof.sweeps.result import RUNNING, STOPPED, Point, SweepResult
from backproof.sweeps.stat import Stat
from backproof.sweeps.varying import brief, short
from backproof.tracking.query import RunRecord
from backproof.tracking.schema import Metric, Status, Tag, Verdict

#: By metric, the curves of the best points by epoch.
Curves = dict[str, list[dict[int, Stat]]]
#: The most leaderboard rows shown at first, axes of the parallel coordinates, and panels of effects.
ROWS, AXES, PANELS = 20, 9, 9
TEMPLATES = Path(__file__).with_name("templates")
WHY = {
    LOST: "its process ended without a trace: killed, or out of memory",
    STOPPED: "stopped by Ctrl-C or SIGTERM",
    RUNNING: "",
}


def page(sweep: RecordedSweep, curves: Curves) -> str:
    """Return the page: one file, with a policy that forbids the browser to load anything else."""
    runs = plotted(sweep)
    return render(
        TEMPLATES,
        "report.html",
        sweep=sweep,
        objective=sweep.objective,
        test_name=_test_name(sweep),
        style=verbatim(TEMPLATES, "report.css"),
        script=verbatim(TEMPLATES, "report.js"),
        **_head(sweep),
        **_leaderboard(sweep),
        **_parallel(sweep, runs),
        effects=_effects(sweep, runs),
        **_curves(sweep, curves),
        **_checks(sweep, runs),
        **_failures(sweep),
    )


def label(point: Point) -> str:
    """Return what distinguishes a point, with shortened numbers."""
    choices = [f"{key}={brief(value)}" for key, value in point.choices.items() if value is not None]
    return " ".join(choices) or "all seeds"


def plotted(sweep: RecordedSweep) -> dict[str, PlottedRun]:
    """Return the runs by id as the charts draw them; in the order of their start."""
    rank = {run.run_id: index for index, point in enumerate(sweep.points) for run in point.done}
    name = sweep.objective.name
    return {
        run.id: PlottedRun(
            rank.get(run.id),
            " ".join(f"{key}={brief(run.params[key])}" for key in sweep.over if key in run.params) or run.name,
            {key: run.params.get(key) for key in sweep.over},
            run.metrics.get(name, math.nan) if run.finished else math.nan,
        )
        for run in sorted((*sweep.runs, *sweep.unfinished), key=lambda run: run.started)
    }


def _head(sweep: RecordedSweep) -> dict[str, Any]:
    total = len(sweep.runs) + len(sweep.unfinished)
    version = sweep.parent.tags.get(Tag.VERSION)
    facts = [
        time.strftime("%Y-%m-%d %H:%M", time.localtime(sweep.started)),
        f"{total} runs in {duration(sweep.ended - sweep.started)}",
        f"ranked by {sweep.objective.description}",
        f"run {sweep.parent.id[:8]}",
        *([f"backproof {version}"] if version else []),
    ]
    states = Counter(state_of(run, sweep.parent) for run in sweep.unfinished)
    return {
        "facts": facts,
        "total": total,
        "best_label": _best_label(sweep.result),
        "best_command": point_command(sweep.best) if sweep.best else "",
        "unfinished_counts": ", ".join(f"{count} {state}" for state, count in states.items()),
    }


def _best_label(result: SweepResult) -> str:
    if result.best is None:
        return ""
    return ", ".join(filter(None, [label(result.best), result.tie_text(result.best)]))


def _leaderboard(sweep: RecordedSweep) -> dict[str, Any]:
    points, objective = sweep.points, sweep.objective
    comparisons = compare_points(points, objective)
    tested = [comparison for comparison in comparisons if comparison is not None and comparison.test]
    names = [*(objective.name for objective in sweep.result.objectives), _test_name(sweep), "val/loss"]
    metrics = [name for name in dict.fromkeys(names) if any(point.stat(name).n for point in points)]
    front = {id(point) for point in sweep.result.front}
    keys = list(points[0].choices) if points else []
    rows = [
        {
            "point": point,
            "best": point is sweep.best,
            "star": id(point) in front,
            "css": " ".join(["best"] * (point is sweep.best) + ["more"] * (rank >= ROWS)),
            "choices": [
                (value, MISSING if value is None else brief(value)) for value in point.choices.values()
            ],
            "stats": [point.stat(name) for name in metrics],
            "comparison": None if comparison is None else _comparison(comparison),
        }
        for rank, (point, comparison) in enumerate(zip(points, comparisons, strict=True))
    ]
    return {
        "rows": rows,
        "shown_rows": ROWS,
        "keys": [short(key, keys) for key in keys],
        "metrics": metrics,
        "seeds": any(point.planned_seeds > 1 for point in points),
        "alike": sum(comparison.alike for comparison in comparisons if comparison is not None),
        "tests": " and ".join(sorted({comparison.test for comparison in tested if comparison.test})),
        "paired": any(comparison.test == PAIRED for comparison in tested),
        "compared": len(tested),
        "few": min((comparison.n for comparison in tested), default=0),
        "level": LEVEL,
    }


def _comparison(comparison: Comparison) -> dict[str, Any]:
    difference = comparison.difference
    shown = (
        f"{difference:{'+' if difference else ''}.2g}".replace("-", "−")
        if math.isfinite(difference)
        else MISSING
    )
    undefined = math.isnan(comparison.p)
    return {"shown": shown, "p": comparison.p, "worse": comparison.worse, "undefined": undefined}


def _parallel(sweep: RecordedSweep, runs: Mapping[str, PlottedRun]) -> dict[str, Any]:
    # The seed comes last, next to the objective: the lines between these two axes show chance.
    keys = sorted(sweep.over, key=lambda key: key == SEED)[:AXES]
    drawn = sweep.over and sum(math.isfinite(run.value) for run in runs.values()) > 1
    chart = parallel([*runs.values()], keys, sweep.objective) if drawn else None
    left_out = f" The first {AXES} of {len(sweep.over)} parameters." if len(sweep.over) > AXES else ""
    return {"parallel": chart, "axes_left_out": left_out}


def _effects(sweep: RecordedSweep, runs: Mapping[str, PlottedRun]) -> list[tuple[str, float, dict[str, Any]]]:
    """Return key, share of the variance, and chart of each hyperparameter, the greatest share first."""
    finished = [(run_id, run) for run_id, run in runs.items() if run.point is not None]
    effects = [
        effect(key, [(run.params[key], run.value, run_id) for run_id, run in finished]) for key in sweep.over
    ]
    effects = [shown for shown in effects if len(shown.levels) > 1]
    effects.sort(key=lambda shown: 1.0 if math.isnan(shown.share) else -shown.share)
    bounds = [value for shown in effects for _, value, _ in shown.pairs]
    return [
        (shown.key, shown.share, effect_panel(shown, runs, sweep.objective, bounds))
        for shown in effects[:PANELS]
    ]


def _curves(sweep: RecordedSweep, curves: Curves) -> dict[str, Any]:
    count = max((len(drawn) for drawn in curves.values()), default=0)
    names = [label(point) for point in sweep.points[:count]]
    return {
        "curves": [(name, curve_panel(name, drawn, names)) for name, drawn in curves.items()],
        "legend": [(name, COLOURS[index % len(COLOURS)]) for index, name in enumerate(names)],
        "bands": any(
            stat.std is not None for drawn in curves.values() for curve in drawn for stat in curve.values()
        ),
    }


def _checks(sweep: RecordedSweep, runs: Mapping[str, PlottedRun]) -> dict[str, Any]:
    everything = [*sweep.runs, *sweep.unfinished]
    checks = Counter(run.gradcheck or "unknown" for run in everything)
    other_checks = {state: n for state, n in checks.items() if state != Verdict.FAILED}
    if not checks[Verdict.FAILED]:
        other_checks.pop(Verdict.PASSED, None)
    rows: dict[str, list[tuple[PlottedRun, float, str]]] = {}
    for run in everything:
        for name, error in _errors(run).items():
            rows.setdefault(name, []).append((runs[run.id], error, run.gradcheck))
    return {
        "wrong": checks[Verdict.FAILED],
        "right": checks[Verdict.PASSED],
        "checks": {state: count for state, count in checks.items() if count},
        "other_checks": ", ".join(f"{count} {state}" for state, count in other_checks.items()),
        "check_panel": check_panel(dict(sorted(rows.items()))) if rows else None,
    }


def _errors(run: RunRecord) -> dict[str, float]:
    """Return the relative error of a run's check; for runs of earlier versions, that of each tensor."""
    if Metric.CHECK in run.metrics:
        return {"largest": 10 ** run.metrics[Metric.CHECK]}
    prefix, suffix = "gradcheck/", "/relative_error"
    return {
        name.removeprefix(prefix).removesuffix(suffix): error
        for name, error in run.metrics.items()
        if name.startswith(prefix) and name.endswith(suffix) and math.isfinite(error)
    }


def _failures(sweep: RecordedSweep) -> dict[str, Any]:
    failures: list[dict[str, Any]] = []
    for run in sweep.unfinished:
        state = state_of(run, sweep.parent)
        name = " ".join(f"{key}={run.params[key]}" for key in sweep.over if key in run.params) or run.name
        failures.append({"run": run, "state": state, "name": name, "why": run.error or WHY.get(state, "")})
    recorded = sum(run.status == Status.FAILED for run in sweep.unfinished)
    return {"failures": failures, "unrecorded": int(sweep.parent.metrics.get(Metric.FAILED, 0)) - recorded}


def _test_name(sweep: RecordedSweep) -> str:
    return f"test/{sweep.objective.name.rpartition('/')[2]}"
