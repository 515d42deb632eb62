"""The points of a sweep: runs that differ in their seed alone are one point, ranked by its mean."""

from __future__ import annotations

import dataclasses
import json
import math
import shlex
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from backproof.contracts.errors import PluginError
from backproof.discovery.registry import PluginWarning, registry
from backproof.report.compare import Comparison, compare, holm
from backproof.report.varying import SEED, brief, varying
from backproof.tracking.query import RunRecord

#: Final metrics of each seed of a run.
Members = Mapping[int, Mapping[str, float]]


@dataclass(frozen=True)
class Objective:
    """What points are ranked by."""

    name: str  # as val/accuracy
    greater: bool

    @property
    def words(self) -> str:
        return f"{self.name} ({'greater' if self.greater else 'smaller'} is better)"

    def key(self, value: float) -> tuple[bool, float]:
        """For sorting: the best first, what is no number last."""
        return value != value, -value if self.greater else value


@dataclass(frozen=True)
class Stat:
    """A mean over seeds, with the standard deviation (of n - 1) where there are several."""

    mean: float
    std: float | None = None
    n: int = 1

    @classmethod
    def of(cls, values: Sequence[float]) -> Stat:
        n = len(values)
        mean = math.fsum(values) / n if n else math.nan
        if n < 2:
            return cls(mean, None, n)
        return cls(mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1)), n)


@dataclass
class Point:
    """One point: its runs, and each metric by seed."""

    choices: dict[str, str | None]  # what differs between points
    runs: list[RunRecord]
    seeds: dict[int, Mapping[str, float]] = field(default_factory=dict[int, Mapping[str, float]])
    against: Comparison | None = None  # with the best

    def values(self, name: str) -> dict[int, float]:
        """A metric by seed, as far as it is known by seed."""
        return {seed: own[name] for seed, own in sorted(self.seeds.items()) if name in own}

    def stat(self, name: str) -> Stat:
        """A metric over the seeds."""
        values = list(self.values(name).values())
        if values:
            return Stat.of(values)
        # Where the seeds' own numbers are lost there is what the run says of them.
        for run in self.runs:
            if name in run.metrics:
                return Stat(run.metrics[name], run.metrics.get(f"{name}_std"), run.repeats)
        return Stat(math.nan, None, 0)

    @property
    def gradcheck(self) -> str:
        states = {run.gradcheck for run in self.runs}
        return next((state for state in ("failed", "passed", "skipped") if state in states), "")

    @property
    def seconds(self) -> float:
        return sum(run.seconds or 0 for run in self.runs)

    @property
    def name(self) -> str:
        """What it chose: `activation=tanh optimizer=adam`."""
        return " ".join(f"{key}={brief(value)}" for key, value in self.choices.items() if value is not None)

    @property
    def command(self) -> str:
        """The command that runs it again, with all its seeds."""
        run = self.runs[0]
        words = own_words(run)
        numbers = sorted({int(each.params.get(SEED, "0")) for each in self.runs})
        if len(numbers) < 2:
            return shlex.join(words)
        kept = [word for word in words[2:] if word != "-m" and not word.startswith(f"{SEED}=")]
        return shlex.join(["backproof", "train", "-m", *kept, f"{SEED}={','.join(map(str, numbers))}"])


def own_words(run: RunRecord) -> list[str]:
    """The words of the command that makes this run again, alone."""
    if run.command:
        return [word for word in shlex.split(run.command) if not word.startswith("tracking.")]
    # The parameters are the whole config; a longer command, the same run.
    return ["backproof", "train", *(f"{key}={value}" for key, value in run.params.items())]


@dataclass
class Sweep:
    """A sweep: its points ranked, and what did not come to an end."""

    parent: RunRecord
    over: list[str]  # the parameters in which runs differ
    objective: Objective
    points: list[Point]  # the best first, by the first objective where there are several
    runs: list[RunRecord]  # that finished, without those a later run of the same config stands for
    unfinished: list[RunRecord]  # failed, stopped, pruned, still running
    retried: list[RunRecord]  # failed or stopped, and run again since

    @property
    def objectives(self) -> list[Objective]:
        """All that it has."""
        return told_objectives(self.parent) or [self.objective]

    @property
    def front(self) -> set[int]:
        """Of several objectives, the ranks of the points that no other is at least as good as in all and better in
        one."""
        wanted = self.objectives
        if len(wanted) < 2:
            return set()
        costs = [[each.key(point.stat(each.name).mean)[1] for each in wanted] for point in self.points]
        return {
            rank
            for rank, own in enumerate(costs)
            if all(map(math.isfinite, own))
            and not any(
                other != own and all(a <= b for a, b in zip(other, own, strict=True)) for other in costs
            )
        }

    @property
    def best(self) -> Point | None:
        return self.points[0] if self.points and _ranked(self.points[0], self.objective) else None

    @property
    def started(self) -> float:
        return min([run.started for run in [self.parent, *self.runs, *self.unfinished]])

    @property
    def ended(self) -> float:
        ends = [run.ended for run in [self.parent, *self.runs, *self.unfinished] if run.ended is not None]
        return max(ends, default=self.started)


def sweep_of(parent: RunRecord, children: Sequence[RunRecord], members: Mapping[str, Members]) -> Sweep:
    """The sweep, from its parent run and its points (the newest first). `members` has the final metrics of each
    seed by run id."""
    finished, retried, unfinished = _attempts(children)
    unfinished.sort(key=lambda run: run.started)
    swept = [key.strip() for key in parent.params.get("sweep.over", "").split(",") if key.strip()]
    over = varying([run.params for run in (*finished, *unfinished)], swept)
    objective = objective_of(finished, parent)
    points = group(finished, [key for key in over if key != SEED], members)
    points.sort(key=lambda point: objective.key(point.stat(objective.name).mean))
    _judge(points, objective)
    return Sweep(parent, over, objective, points, finished, unfinished, retried)


def group(runs: Sequence[RunRecord], over: Sequence[str], members: Mapping[str, Members]) -> list[Point]:
    """Runs that agree in all of `over` as one point. Of a seed that was run twice the newest counts."""
    found: dict[tuple[str | None, ...], Point] = {}
    for run in runs:
        choices = {key: run.params.get(key) for key in over}
        point = found.setdefault(tuple(choices.values()), Point(choices, []))
        own = members.get(run.id, {})
        if own and own.keys() <= point.seeds.keys():
            continue
        point.runs.append(run)
        point.seeds = {**own, **point.seeds}
    return list(found.values())


def objective_of(runs: Sequence[RunRecord], parent: RunRecord | None = None) -> Objective:
    """What the sweep says it ranks by, the first of `told_objectives`; otherwise the first metric of the validation
    part, as `Result.objective` has it. Of runs that differ in that, the most frequent."""
    if told := told_objectives(parent):
        return told[0]
    names = Counter(_objective_name(run) for run in runs)
    name = names.most_common(1)[0][0] if names else "val/loss"
    return Objective(name, greater_is_better(name))


def told_objectives(parent: RunRecord | None) -> list[Objective]:
    """The objectives that a parent run names in its tags, as `val/accuracy,val/loss` and `maximize,minimize`."""
    tags = parent.tags if parent is not None else {}
    names = [name for name in tags.get("backproof.objective", "").split(",") if name]
    ways = tags.get("backproof.direction", "").split(",")
    if len(ways) != len(names):
        return [Objective(name, greater_is_better(name)) for name in names]
    return [Objective(name, way == "maximize") for name, way in zip(names, ways, strict=True)]


def _objective_name(run: RunRecord) -> str:
    part = "val" if any(name.startswith("val/") for name in run.metrics) else "train"
    metrics: list[str] = json.loads(run.params.get("metrics", "[]"))
    return f"{part}/{metrics[0] if metrics else 'loss'}"


def greater_is_better(name: str) -> bool:
    """Whether a greater value of a metric such as `val/accuracy` is better, as its plugin says."""
    last = name.rpartition("/")[2]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PluginWarning)
        try:
            return bool(getattr(registry().get("metric", last), "greater_is_better", True))
        except PluginError:
            # A loss, a time, a spread or an error; or a metric whose plugin is not installed here.
            return not any(part in last for part in ("loss", "error", "seconds", "_std"))


def _attempts(
    children: Sequence[RunRecord],
) -> tuple[list[RunRecord], list[RunRecord], list[RunRecord]]:
    """Finished runs; others that were run again since; and the rest."""
    finished = [run for run in children if run.status == "FINISHED" and not run.pruned]
    done = {_hash(run) for run in finished}
    others = [run for run in children if run.status != "FINISHED" or run.pruned]
    again = [run for run in others if _hash(run) in done or run.tags.get("backproof.superseded")]
    return finished, again, [run for run in others if run not in again]


def _hash(run: RunRecord) -> str:
    return run.tags.get("backproof.config_hash", run.id)


def _ranked(point: Point, objective: Objective) -> bool:
    return math.isfinite(point.stat(objective.name).mean)


def _judge(points: Sequence[Point], objective: Objective) -> None:
    """Compare each point with the best over the seeds, corrected for their number."""
    ranked = [point for point in points if _ranked(point, objective)]
    if not ranked:
        return
    best, *others = ranked
    first = best.values(objective.name)
    found = [compare(point.values(objective.name), first) for point in others]
    adjusted = holm([each.p for each in found])
    for point, comparison, p in zip(others, found, adjusted, strict=True):
        point.against = dataclasses.replace(comparison, p=p)
