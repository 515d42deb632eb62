"""The page: sections of HTML around the charts. One file; its policy forbids the browser to ask for anything."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from backproof.report.charts import COLOURS, PlottedRun, check_panel, curve_panel, effect_panel, parallel
from backproof.report.compare import LEVEL, PAIRED
from backproof.report.effects import Effect, effect
from backproof.report.points import Point, Stat, Sweep
from backproof.report.svg import MISSING, figure, shorter, text
from backproof.report.varying import SEED, brief, short
from backproof.tracking.query import RunRecord

#: By metric, the curve of each of the best points by epoch.
Curves = dict[str, list[dict[int, Stat]]]
#: Rows of the leaderboard that are shown at first, axes of the parallel coordinates, panels of effects.
ROWS, AXES, PANELS = 20, 9, 9
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def page(sweep: Sweep, curves: Curves) -> str:
    """All of it."""
    runs = drawn(sweep)
    sections = [
        _head(sweep),
        _reproduce(sweep),
        _leaderboard(sweep),
        _parallel(sweep, runs),
        _effects(sweep, runs),
        _curves(sweep, curves),
        _checks(sweep, runs),
        _failures(sweep),
        _command(sweep),
    ]
    style, script = (Path(__file__).with_name(f"report.{kind}").read_text() for kind in ("css", "js"))
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f'<meta name="viewport" content="width=device-width"><title>{text(sweep.parent.name)}</title>\n'
        f'<link rel="icon" href="data:,"><style>\n{style}</style></head>\n<body>\n'
        + "\n".join(filter(None, sections))
        + f'\n<div id="tip"></div>\n<script>\n{script}</script>\n</body></html>\n'
    )


def drawn(sweep: Sweep) -> dict[str, PlottedRun]:
    """By id, what the charts need of each run; runs that belong to no point have the rank -1."""
    rank = {run.id: index for index, point in enumerate(sweep.points) for run in point.runs}
    name = sweep.objective.name
    return {
        run.id: PlottedRun(
            rank.get(run.id, -1),
            " ".join(f"{key}={brief(run.params[key])}" for key in sweep.over if key in run.params) or run.name,
            {key: run.params.get(key) for key in sweep.over},
            run.metrics.get(name, math.nan) if run.status == "FINISHED" and not run.pruned else math.nan,
        )
        for run in sorted((*sweep.runs, *sweep.unfinished), key=lambda run: run.started)
    }


def _head(sweep: Sweep) -> str:
    everything = [*sweep.runs, *sweep.unfinished]
    facts = [
        time.strftime("%Y-%m-%d %H:%M", time.localtime(sweep.started)),
        f"{len(everything)} runs in {duration(sweep.ended - sweep.started)}",
        f"ranked by {sweep.objective.words}",
        f"run {sweep.parent.id[:8]}",
    ]
    if version := sweep.parent.tags.get("backproof.version"):
        facts.append(f"backproof {version}")
    cards: list[str] = []
    if sweep.best is not None:
        cards.append(
            f'<div class="card wide"><small>best {text(sweep.objective.name)}</small>'
            f"<b>{_stat(sweep.best.stat(sweep.objective.name))}</b>"
            f"<small>{text(sweep.best.name or 'all seeds')}</small></div>"
        )
        test = _test_name(sweep)
        stat = sweep.best.stat(test)
        if test != sweep.objective.name and stat.n:
            cards.append(_card(f"its {test}", _stat(stat), "looked at after the choice"))
    alike = sum(1 for point in sweep.points if point.against is not None and point.against.alike)
    cards.append(
        _card("points", str(len(sweep.points)), f"{alike} not told apart from the best" if alike else "")
    )
    states = Counter(state_of(run, sweep) for run in sweep.unfinished)
    left = ", ".join(f"{count} {state}" for state, count in states.items())
    cards.append(_card("runs finished", f"{len(sweep.runs)} of {len(everything)}", left))
    checks = Counter(run.gradcheck or "unknown" for run in everything)
    wrong = checks.pop("failed", 0)
    shown = f'<span class="failed">{wrong} failed</span>' if wrong else f"{checks['passed']} passed"
    others = ", ".join(f"{count} {state}" for state, count in checks.items() if wrong or state != "passed")
    cards.append(_card("gradient checks", shown, others))
    return (
        f"<h1>{text(sweep.parent.name)}</h1>"
        f'<p class="facts">{"".join(f"<span>{text(fact)}</span>" for fact in facts)}</p>'
        f'<div class="cards">{"".join(cards)}</div>'
    )


def _card(title: str, value: str, below: str) -> str:
    return f'<div class="card"><small>{text(title)}</small><b>{value}</b><small>{text(below)}</small></div>'


def _reproduce(sweep: Sweep) -> str:
    if sweep.best is None:
        return ""
    return f"<h3>The best point again</h3><pre>{text(sweep.best.command)}</pre>"


def _command(sweep: Sweep) -> str:
    command = sweep.parent.command
    return f"<h2>The command of this sweep</h2><pre>{text(command)}</pre>" if command else ""


def _leaderboard(sweep: Sweep) -> str:
    if not sweep.points:
        return "<h2>Leaderboard</h2><p>No run has finished.</p>"
    keys = list(sweep.points[0].choices)
    objective = sweep.objective.name
    metrics = [*(each.name for each in sweep.objectives), _test_name(sweep), "val/loss"]
    metrics = [name for name in dict.fromkeys(metrics) if any(point.stat(name).n for point in sweep.points)]
    seeds = any(point.stat(objective).n > 1 for point in sweep.points)
    compared = [point.against for point in sweep.points if point.against is not None and point.against.test]
    heads = ["#", *(short(key, keys) for key in keys), *metrics]
    heads += [*(["seeds"] if seeds else []), *(["to the best"] if compared else []), "check", "time"]
    right = {"#", *metrics, "seeds", "time"}
    head = "".join(f'<th class="n">{text(h)}</th>' if h in right else f"<th>{text(h)}</th>" for h in heads)
    front = sweep.front
    rows = [
        _point(rank, point, sweep, metrics, seeds=seeds, compared=bool(compared), star=rank in front)
        for rank, point in enumerate(sweep.points)
    ]
    button = f'<button data-all="">Show all {len(rows)} points</button>' if len(rows) > ROWS else ""
    return (
        f'<h2>Leaderboard</h2>{_how_compared(sweep)}{_trade_off(sweep)}<div class="scroll">'
        '<table class="sorts" id="points">'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>{button}"
    )


def _point(
    rank: int, point: Point, sweep: Sweep, metrics: list[str], *, seeds: bool, compared: bool, star: bool
) -> str:
    """A row of the leaderboard."""
    cells = [_cell(f"{'★ ' if star else ''}{rank + 1}", rank + 1, "n")]
    cells += [_choice(value) for value in point.choices.values()]
    for name in metrics:
        stat = point.stat(name)
        cells.append(_cell(_stat(stat), "" if math.isnan(stat.mean) else repr(stat.mean), "n"))
    n = point.stat(sweep.objective.name).n
    cells += [_cell(str(n), n, "n")] if seeds else []
    cells += [_against(point, sweep)] if compared else []
    cells.append(
        _cell(f'<span class="{text(point.gradcheck)}">{text(point.gradcheck)}</span>', point.gradcheck)
    )
    cells.append(_cell(duration(point.seconds), round(point.seconds, 3), "n"))
    own = " ".join(filter(None, ["best" if point is sweep.best else "", "more" if rank >= ROWS else ""]))
    return f'<tr data-p="{rank}" class="{own}">{"".join(cells)}</tr>'


def _choice(value: str | None) -> str:
    """A hyperparameter's value; a long one is cut to its column, and whole when it is pointed at."""
    if value is None:
        return _cell(MISSING, "")
    shown = brief(value)
    if shown == value and len(value) <= 24:
        return _cell(text(value), value)
    return _cell(f'<span class="cut" title="{text(value)}">{text(shown)}</span>', value)


def _how_compared(sweep: Sweep) -> str:
    found = [point.against for point in sweep.points if point.against is not None and point.against.test]
    if not found:
        return (
            '<p class="note">One seed for each point: how much of a difference is chance cannot be told '
            "(seed=0,1,2,… or repeats=5 would).</p>"
        )
    tests = " and ".join(sorted({each.test for each in found if each.test}))
    paired = " over seeds that both have" if any(each.test == PAIRED for each in found) else ""
    few = min(each.n for each in found)
    more = f" With {few} seeds only large differences can be told from chance." if few < 5 else ""
    return (
        '<p class="note">Mean ± standard deviation over seeds. "To the best" is the difference of the means, '
        f"and p of a {text(tests)}{paired}, two-sided, corrected after Holm for {len(found)} comparisons; below "
        f"{LEVEL} a point is called worse.{more} Seeds vary the initial weights and the order of samples, not the "
        "split of the data.</p>"
    )


def _trade_off(sweep: Sweep) -> str:
    if len(sweep.objectives) < 2:
        return ""
    names = ", ".join(each.words for each in sweep.objectives)
    return (
        f'<p class="note">Several objectives: {text(names)}. The rank is by the first; ★ marks the points that no '
        "other is at least as good as in all of them and better in one.</p>"
    )


def _against(point: Point, sweep: Sweep) -> str:
    against = point.against
    if against is None:
        return _cell("best" if point is sweep.best else MISSING, "")
    difference = (
        f"{against.difference:+.2g}".replace("-", "−") if math.isfinite(against.difference) else MISSING
    )
    if math.isnan(against.p):
        return _cell(difference, "", "worse")
    p = "p < 0.001" if against.p < 0.001 else f"p = {against.p:.2g}"
    verdict = (
        '<span class="worse">worse</span>' if against.worse else '<span class="alike">not told apart</span>'
    )
    return _cell(f'{difference} <span class="dev">{p}</span> {verdict}', repr(against.p))


def _parallel(sweep: Sweep, runs: Mapping[str, PlottedRun]) -> str:
    if not sweep.over or sum(math.isfinite(run.value) for run in runs.values()) < 2:
        return ""
    # The seed next to the objective: what lies between these two is chance.
    keys = sorted(sweep.over, key=lambda key: key == SEED)[:AXES]
    left_out = f" The first {AXES} of {len(sweep.over)} parameters." if len(sweep.over) > AXES else ""
    return (
        '<h2>Parallel coordinates</h2><p class="note">A line for each run; the best stand out. Drag along an axis '
        f"to choose a range, click to drop it; the leaderboard follows.{left_out}</p>"
        f'<div class="scroll">{parallel([*runs.values()], keys, sweep.objective)}</div>'
        '<button id="reset" hidden>Drop all ranges</button>'
    )


def _effects(sweep: Sweep, runs: Mapping[str, PlottedRun]) -> str:
    finished = [(run_id, run) for run_id, run in runs.items() if run.point >= 0]
    found = [
        effect(key, [(run.params[key], run.value, run_id) for run_id, run in finished]) for key in sweep.over
    ]
    found = [each for each in found if len(each.levels) > 1]
    if not found:
        return ""
    found.sort(key=lambda each: -each.share if each.share == each.share else 1)
    bounds = [y for each in found for _, y, _ in each.pairs]
    panels = "".join(
        f'<div><h3>{text(each.key)}</h3><p class="note">{_share(each)}</p>'
        f"{effect_panel(each, runs, sweep.objective, bounds)}</div>"
        for each in found[:PANELS]
    )
    return (
        f'<h2>What each hyperparameter does to {text(sweep.objective.name)}</h2><p class="note">Each dot is a run, '
        "the bars are means, whatever the other parameters are. The share is the variance that the "
        f'parameter explains alone (ε²).</p><div class="panels">{panels}</div>'
    )


def _share(found: Effect) -> str:
    if math.isnan(found.share):
        return "too few runs for a share"
    return f'<span class="bar" style="width:{found.share * 8:.2f}em"></span>{found.share:.0%} of the variance'


def _curves(sweep: Sweep, curves: Curves) -> str:
    count = max((len(each) for each in curves.values()), default=0)
    if not count:
        return ""
    names = [point.name or "all seeds" for point in sweep.points[:count]]
    legend = "".join(
        f'<li data-p="{index}"><span class="swatch" style="background:{COLOURS[index % len(COLOURS)]}"></span>'
        f"<span>{text(shorter(name, 90))}</span></li>"
        for index, name in enumerate(names)
    )
    panels = "".join(
        f"<div><h3>{text(name)}</h3>{curve_panel(name, each, names)}</div>" for name, each in curves.items()
    )
    bands = any(stat.std is not None for each in curves.values() for curve in each for stat in curve.values())
    note = '<p class="note">Means over seeds; the bands are one standard deviation.</p>' if bands else ""
    return (
        f"<h2>Learning curves of the best {f'{count} points' if count > 1 else 'point'}</h2>{note}"
        f'<ul class="legend">{legend}</ul><div class="panels">{panels}</div>'
    )


def _checks(sweep: Sweep, runs: Mapping[str, PlottedRun]) -> str:
    tensors: dict[str, list[tuple[PlottedRun, float, str]]] = {}
    everything = [*sweep.runs, *sweep.unfinished]
    for run in everything:
        for name, error in run.metrics.items():
            if name.startswith("gradcheck/") and name.endswith("/relative_error") and math.isfinite(error):
                tensor = name.removeprefix("gradcheck/").removesuffix("/relative_error")
                tensors.setdefault(tensor, []).append((runs[run.id], error, run.gradcheck))
    counts = Counter(run.gradcheck or "unknown" for run in everything)
    words = ", ".join(
        f'<span class="{text(state)}">{count} {text(state)}</span>' for state, count in sorted(counts.items())
    )
    if not tensors:
        return f"<h2>Gradient checks</h2><p>{words}</p>"
    tensors = dict(sorted(tensors.items()))
    return (
        f"<h2>Gradient checks</h2><p>{words}</p>"
        '<p class="note">The relative error of each hand-derived gradient as it was last checked, a dot for each '
        f"run. Rounding gives about 1e-16 to 1e-13; a wrong formula lies far to the right.</p>"
        f'<div class="scroll">{check_panel(tensors)}</div>'
    )


def _failures(sweep: Sweep) -> str:
    parts: list[str] = []
    if sweep.unfinished:
        rows = "".join(_failure(run, sweep) for run in sweep.unfinished)
        parts.append(
            '<h2>Runs that did not finish</h2><div class="scroll"><table class="sorts"><thead><tr><th>state</th>'
            "<th>point</th><th>why</th><th>after</th><th>run</th></tr></thead>"
            f"<tbody>{rows}</tbody></table></div>"
        )
    if sweep.retried:
        parts.append(
            f'<p class="note">{len(sweep.retried)} more failed or were stopped, and have been run again since.'
            "</p>"
        )
    told = int(sweep.parent.metrics.get("sweep/failed", 0))
    unknown = told - sum(1 for run in sweep.unfinished if run.status == "FAILED")
    if unknown > 0:
        parts.append(
            f'<p class="note">{unknown} more points failed before their run was recorded: points.csv of the parent '
            "run has their errors.</p>"
        )
    return "".join(parts)


def _failure(run: RunRecord, sweep: Sweep) -> str:
    name = " ".join(f"{key}={run.params[key]}" for key in sweep.over if key in run.params) or run.name
    state = state_of(run, sweep)
    why = run.error or {
        "lost": "its process ended without a word: killed, or out of memory",
        "stopped": "stopped by Ctrl-C or SIGTERM",
        "running": "",
    }.get(state, "")
    css = "failed" if state == "failed" else "skipped"
    cells = [_cell(f'<span class="{css}">{state}</span>', state), _cell(text(name), name)]
    cells.append(_cell(text(shorter(why, 600)), why, "words"))
    cells.append(_cell(duration(run.seconds), run.seconds or ""))
    cells.append(_cell(text(run.id[:8]), run.id))
    return f"<tr>{''.join(cells)}</tr>"


def state_of(run: RunRecord, sweep: Sweep | None = None) -> str:
    """done, pruned, failed, stopped, running, or lost: still RUNNING though its sweep has ended."""
    if run.pruned:
        return "pruned"
    if run.status == "RUNNING" and sweep is not None and sweep.parent.status != "RUNNING":
        return "lost"
    return {"FINISHED": "done", "KILLED": "stopped"}.get(run.status, run.status.lower())


def _cell(markup: str, value: object, css: str = "") -> str:
    """A cell, with the value that it is sorted by."""
    return f'<td data-v="{text(value)}"{f" class={css}" if css else ""}>{markup}</td>'


def _stat(stat: Stat) -> str:
    deviation = f' <span class="dev">± {figure(stat.std, 2)}</span>' if stat.std is not None else ""
    return f"{figure(stat.mean)}{deviation}"


def _test_name(sweep: Sweep) -> str:
    return f"test/{sweep.objective.name.rpartition('/')[2]}"


def duration(seconds: float | None) -> str:
    """`0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds is None:
        return MISSING
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
