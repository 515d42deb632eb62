"""The result of a sweep: its runs grouped into points, and the points ranked.

A point is a config without its seed and without `tracking.*`; its runs differ only in the seed. The terminal, the
parent run's tags and description, `runs`, the report, and the choice of the run whose model and plots are logged
all use this model. Live runs and runs read from MLflow give the same ranking.
"""

from __future__ import annotations

import csv
import math
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from backproof.experiment.describe import counted
from backproof.sweeps.objective import Objective
from backproof.sweeps.planned import SEED, PlannedRun, point_key
from backproof.sweeps.stat import Stat
from backproof.tracking.query import RunRecord
from backproof.tracking.schema import Artifact, Metric, Status, Tag, Verdict

#: Points listed in the description of a sweep.
TOP = 10
DONE, FAILED, PRUNED, NOT_RUN = "done", "failed", "pruned", "not run"
STOPPED, RUNNING = "stopped", "running"
#: The value of `gradcheck` in a run's result for each verdict, the worst first.
CHECKED: dict[str, bool | str] = {
    Verdict.FAILED: False,
    Verdict.UNTESTED: Verdict.UNTESTED,
    Verdict.PASSED: True,
    Verdict.NOTHING: Verdict.NOTHING,
}
#: What MLflow's status of a run means here.
STATES = {Status.FINISHED: DONE, Status.FAILED: FAILED, Status.KILLED: STOPPED}


@dataclass(frozen=True)
class RunResult:
    """One run of a sweep and its result, live or read from MLflow."""

    planned: PlannedRun
    status: str
    values: dict[str, Any] = field(default_factory=dict[str, Any])  # what the job returned
    error: str = ""
    record: RunRecord | None = None  # None for a live run
    members: Mapping[int, Mapping[str, float]] | None = None  # metrics by seed of a run with repeats, if known

    @classmethod
    def of_record(
        cls,
        record: RunRecord,
        members: Mapping[int, Mapping[str, float]] | None = None,
        planned: PlannedRun | None = None,
    ) -> RunResult:
        """Return the result of a run recorded in MLflow."""
        if planned is None:
            planned = PlannedRun(
                [f"{key}={value}" for key, value in record.params.items()],
                record.tags.get(Tag.CONFIG_HASH, record.id),
                record.trial,
                point=point_key(record.params),
                seed=record.seed,
                repeats=record.repeats,
                index=record.index,
                seeds=record.seeds,
            )
        values: dict[str, Any] = {
            "metrics": record.training_metrics,
            "seconds": record.seconds,
            "run_id": record.id,
            "gradcheck": CHECKED.get(record.gradcheck),
        }
        status = PRUNED if record.pruned else STATES.get(record.status, RUNNING)
        return cls(planned, status, values, record.error, record, members)

    @property
    def overrides(self) -> list[str]:
        return self.planned.overrides

    @property
    def metrics(self) -> dict[str, float]:
        return self.values.get("metrics", {})

    @property
    def run_id(self) -> str:
        return str(self.values.get("run_id", ""))

    @property
    def folder(self) -> Path | None:
        """The local folder of its files; None for a recorded run whose folder is outside the outputs folder."""
        return self.record.folder if self.record is not None else Path(self.values["folder"])

    def stat(self, name: str) -> Stat:
        """Return a metric, which is a mean if the run has repeats."""
        value = self.metrics.get(name, math.nan)
        return Stat(
            value if math.isfinite(value) else math.nan, self.metrics.get(f"{name}_std"), self.planned.repeats
        )

    def by_seed(self, name: str) -> dict[int, float]:
        """Return a metric by seed, as far as it is known by seed."""
        members = self.members or ({self.planned.seed: self.metrics} if self.planned.repeats == 1 else {})
        return {seed: metrics[name] for seed, metrics in members.items() if name in metrics}

    def numbers(self, objectives: Sequence[Objective]) -> list[float] | None:
        """Return the value of each objective; None if one is missing."""
        names = [objective.name for objective in objectives]
        return [self.metrics[name] for name in names] if all(name in self.metrics for name in names) else None

    def choices(self, keys: Sequence[str]) -> dict[str, str | None]:
        """Return the value of each key; None for one that the run does not have."""
        pairs = [override.lstrip("+").partition("=") for override in self.overrides]
        values = {key: value for key, _, value in pairs}
        return {key: values.get(key) for key in keys if key != SEED}


@dataclass
class Point:
    """The runs of one config that differ only in the seed, in their order."""

    choices: dict[str, str | None]  # its values of the swept keys
    runs: list[RunResult]

    @cached_property
    def done(self) -> list[RunResult]:
        """The finished run of each seed, the later one if there are two."""
        return list({run.planned.seed: run for run in self.runs if run.status == DONE}.values())

    @property
    def seeds(self) -> int:
        """The number of seeds that have finished."""
        return _count_seeds(self.done)

    @property
    def planned_seeds(self) -> int:
        return max(_count_seeds(self.runs), *(run.planned.seeds for run in self.runs))

    @property
    def complete(self) -> bool:
        return self.seeds == self.planned_seeds

    @property
    def seed_count(self) -> str:
        """`3`, or `2 of 3` if a seed has failed or is missing."""
        return str(self.seeds) if self.complete else f"{self.seeds} of {self.planned_seeds}"

    @property
    def seed_text(self) -> str:
        """`over 3 seeds`, `2 of 3 seeds`, or nothing for a single seed."""
        if not self.complete:
            return f"{self.seed_count} seeds"
        return f"over {self.seeds} seeds" if self.seeds > 1 else ""

    def stat(self, name: str) -> Stat:
        """Return a metric over the seeds. It is NaN if a finished run has no finite value."""
        if not any(name in run.metrics for run in self.done):
            return Stat(math.nan, None, 0)
        pooled = Stat.pooled([run.stat(name) for run in self.done])
        values = list(self.values(name).values())
        # The same deviation, without the rounding of each run's.
        return Stat(pooled.mean, Stat.of(values).std, pooled.n) if len(values) == pooled.n else pooled

    def values(self, name: str) -> dict[int, float]:
        """Return a metric by seed, as far as it is known by seed."""
        values = {seed: value for run in self.done for seed, value in run.by_seed(name).items()}
        return dict(sorted(values.items()))

    def representative(self, objective: Objective) -> RunResult:
        """Return the run nearest to the mean, whose model and plots represent the point."""
        mean = self.stat(objective.name).mean
        distances = [abs(run.stat(objective.name).mean - mean) for run in self.done]
        order = sorted(range(len(distances)), key=lambda i: (math.isnan(distances[i]), distances[i], i))
        return self.done[order[0]]

    @property
    def overrides(self) -> list[str]:
        """The overrides, without the seed if there are several."""
        overrides = self.runs[0].overrides
        several = len({run.planned.seed for run in self.runs}) > 1
        return [text for text in overrides if not (several and text.lstrip("+").startswith(f"{SEED}="))]

    @property
    def name(self) -> str:
        """The choices in one line: `activation=tanh optimizer=adam`."""
        return " ".join(f"{key}={value}" for key, value in self.choices.items() if value is not None)

    @property
    def gradcheck(self) -> str:
        """The worst verdict among its runs."""
        verdicts = {run.values.get("gradcheck", None) for run in self.done}
        return next((verdict for verdict, value in CHECKED.items() if value in verdicts), Verdict.SKIPPED)

    @property
    def seconds(self) -> float:
        return sum(run.values.get("seconds") or 0 for run in self.done)


def _count_seeds(runs: Iterable[RunResult]) -> int:
    return len({seed for run in runs for seed in run.planned.all_seeds})


@dataclass(frozen=True)
class SweepResult:
    """All runs of a sweep, in their order, and its points."""

    swept: list[str]  # keys
    runs: list[RunResult]
    objectives: tuple[Objective, ...]

    def of(self, status: str) -> list[RunResult]:
        """Return the runs with a status."""
        return [run for run in self.runs if run.status == status]

    @property
    def failed(self) -> list[RunResult]:
        return self.of(FAILED)

    @property
    def objective(self) -> Objective:
        return self.objectives[0]

    @cached_property
    def points(self) -> list[Point]:
        """All points, in the order of their first runs."""
        points: dict[str, Point] = {}
        for run in self.runs:
            point = points.setdefault(run.planned.point, Point(run.choices(self.swept), []))
            point.runs.append(run)
        return list(points.values())

    @cached_property
    def ranked(self) -> list[Point]:
        """The points with a finished run, the best first.

        Complete points come before those with failed or missing seeds, and points without a finite objective last.
        Ties in the objective are broken by the further objectives, the loss, and the order of the sweep.
        """

        def key(item: tuple[int, Point]) -> tuple[Any, ...]:
            index, point = item
            costs = [objective.cost(point.stat(objective.name).mean) for objective in self.objectives]
            return costs[0][0], not point.complete, costs, _loss(point), index

        done = [(index, point) for index, point in enumerate(self.points) if point.done]
        return [point for _, point in sorted(done, key=key)]

    @property
    def best(self) -> Point | None:
        """The best point; None if no objective is finite."""
        if not self.ranked or not math.isfinite(self.ranked[0].stat(self.objective.name).mean):
            return None
        return self.ranked[0]

    @cached_property
    def tied(self) -> list[Point]:
        """The points that are equal in every objective to the best one, itself included."""

        def values(point: Point) -> tuple[bool, list[float]]:
            return point.complete, [point.stat(objective.name).mean for objective in self.objectives]

        best = self.best
        return [] if best is None else [point for point in self.ranked if values(point) == values(best)]

    def figures(self, point: Point) -> str:
        """Return `val/accuracy 0.9694 ± 0.0012  over 3 seeds  2 points tie`."""
        values = [f"{objective.name} {point.stat(objective.name)}" for objective in self.objectives]
        return "  ".join(filter(None, [*values, point.seed_text, self.tie_text(point)]))

    def tie_text(self, point: Point) -> str:
        """Return `2 points tie` if the point is one of several that are equally good and best, or nothing."""
        return f"{len(self.tied)} points tie" if len(self.tied) > 1 and point in self.tied else ""

    @property
    def best_run(self) -> RunResult | None:
        """The run whose model and plots are logged."""
        return None if self.best is None else self.best.representative(self.objective)

    @cached_property
    def front(self) -> list[Point]:
        """The Pareto front of several objectives, ranked; it includes the best point."""
        best = self.best
        if best is None or len(self.objectives) < 2:
            return []
        costs = [
            (point, [objective.cost(point.stat(objective.name).mean) for objective in self.objectives])
            for point in self.ranked
            if point.complete == best.complete
        ]
        finite = [
            (point, [value for _, value in cost]) for point, cost in costs if not any(nan for nan, _ in cost)
        ]
        return [
            point
            for point, cost in finite
            if not any(
                other != cost and all(a <= b for a, b in zip(other, cost, strict=True)) for _, other in finite
            )
        ]

    def words(self, run: RunResult) -> str:
        """Return a run's overrides of the swept keys."""
        words = [text for text in run.overrides if text.lstrip("+").partition("=")[0] in self.swept]
        return " ".join(words or run.overrides)

    def describe(self, point: Point) -> str:
        """Return `val/accuracy 0.9694 ± 0.0012  over 3 seeds  activation=tanh` for the terminal."""
        return "  ".join(filter(None, [self.figures(point), point.name]))

    def tags(self) -> dict[str, str]:
        """Return the parent run's tags about the best points and failures."""
        tags = {Tag.FAILED: str(len(self.failed))} if self.failed else {}
        if self.best is not None and self.best_run is not None:
            tags[Tag.BEST] = " ".join(self.best.overrides)
            tags[Tag.BEST_RUN] = self.best_run.run_id
            tags[Tag.BEST_SEEDS] = f"{self.best.seeds} of {self.best.planned_seeds}"
        if self.front:
            tags[Tag.FRONT] = ",".join(point.representative(self.objective).run_id for point in self.front)
        return tags

    def aggregates(self) -> dict[str, float]:
        """Return counts, and for each objective the mean of the best point, and mean and deviation over points."""
        numbers: dict[str, float] = {
            Metric.RUNS: len(self.runs),
            Metric.POINTS: len(self.points),
            Metric.DONE: len(self.of(DONE)),
            Metric.FAILED: len(self.failed),
            Metric.PRUNED: len(self.of(PRUNED)),
        }
        for objective in self.objectives:
            means = [point.stat(objective.name).mean for point in self.ranked]
            means = [mean for mean in means if math.isfinite(mean)]
            if means:
                best = self.best if objective == self.objective else None
                numbers[Metric.BEST + objective.name] = (
                    best.stat(objective.name).mean if best else (max if objective.greater else min)(means)
                )
                numbers[Metric.MEAN + objective.name] = statistics.fmean(means)
                numbers[Metric.STD + objective.name] = statistics.stdev(means) if len(means) > 1 else 0.0
        return numbers

    def markdown(self) -> str:
        """Return the best points as a table, for the description of the sweep in MLflow."""
        names = [objective.name for objective in self.objectives]
        seeds = any(point.planned_seeds > 1 for point in self.ranked)
        rows = [
            ["", "point", *names, *(["seeds"] if seeds else [])],
            ["---", "---", *("--:" for _ in names), *(["--:"] if seeds else [])],
        ]
        for rank, point in enumerate(self.ranked[:TOP], start=1):
            values = [str(point.stat(name)) for name in names]
            rows.append([str(rank), f"`{point.name or 'all seeds'}`", *values, *([point.seed_count] * seeds)])
        counts = Counter(run.status for run in self.runs)
        statuses = ", ".join(f"{count} {status}" for status, count in counts.items())
        summary = f"{counted(len(self.points), 'point')}, {counted(len(self.runs), 'run')} ({statuses})"
        if self.best is not None and len(self.tied) > 1:
            summary += f"; {self.tie_text(self.best)}"
        table = "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows)
        return f"{summary}; see the artifact {Artifact.REPORT}" + (f"\n\n{table}" if len(rows) > 2 else "")

    def write(self, folder: Path) -> None:
        """Write the table of runs as points.csv, each with the rank of its point."""
        metrics = list(dict.fromkeys(name for run in self.runs for name in run.metrics))
        ranks = {id(run): rank for rank, point in enumerate(self.ranked, start=1) for run in point.runs}
        front = {id(run) for point in self.front for run in point.runs}
        columns: dict[str, Callable[[RunResult], object]] = {
            "overrides": lambda run: " ".join(run.overrides),
            "status": lambda run: run.status,
            "rank": lambda run: ranks.get(id(run), ""),
            "run_id": lambda run: run.run_id,
            "seconds": lambda run: run.values.get("seconds", ""),
            **{name: lambda run, name=name: run.metrics.get(name, "") for name in metrics},
        }
        if len(self.objectives) > 1:
            columns["best_in_a_trade-off"] = lambda run: int(id(run) in front)
        columns["error"] = lambda run: run.error
        with (folder / Artifact.POINTS).open("w", newline="") as out:
            rows = csv.writer(out)
            rows.writerow(columns)
            rows.writerows([column(run) for column in columns.values()] for run in self.runs)


def _loss(point: Point) -> tuple[bool, float]:
    """Return a sort key by the validation loss, or else the training loss."""
    name = next((name for name in ("val/loss", "train/loss") if point.stat(name).n), "val/loss")
    return Objective(name, greater=False).cost(point.stat(name).mean)


def sort_records(records: Iterable[RunRecord]) -> list[RunRecord]:
    """Return runs read from MLflow in the order of their sweep, those without a position by their start."""
    return sorted(records, key=lambda run: (run.index, run.started, run.id))
