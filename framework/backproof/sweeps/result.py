"""What a sweep came to: its points, ranked and summed up, and the table of them."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import math
import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backproof.app.sweep_options import MAXIMIZE, MINIMIZE, SweepOptions
from backproof.contracts.errors import InvalidValue, did_you_mean
from backproof.experiment.experiment import PreparedExperiment

#: The longest name of a run; MLflow cuts its columns far before.
NAME = 120
#: Points in the description of a sweep.
TOP = 10
DONE, FAILED, PRUNED, NOT_RUN = "done", "failed", "pruned", "not run"


@dataclass(frozen=True)
class Objective:
    """A metric that points are ranked by, and whether a greater one is better."""

    name: str
    greater: bool

    @property
    def direction(self) -> str:
        return MAXIMIZE if self.greater else MINIMIZE


def objectives(prepared: PreparedExperiment, options: SweepOptions) -> tuple[Objective, ...]:
    """The objectives of a sweep whose runs are like this one. Raises InvalidValue for a metric they do not have."""
    known: dict[str, bool] = {}
    for part in prepared.data.parts:
        known |= {f"{part}/{metric.name}": metric.greater_is_better for metric in prepared.metrics}
        known[f"{part}/loss"] = False
    if prepared.experiment.run.repeats > 1:
        known |= {f"{name}_std": False for name in known}
    own, greater = prepared.objective
    named = options.objectives or (own,)
    for name in named:
        if name not in known:
            raise InvalidValue(
                "sweep.objective", name, f"one of {', '.join(known)}{did_you_mean(name, list(known))}"
            )
    if options.directions:
        return tuple(
            Objective(name, way == MAXIMIZE) for name, way in zip(named, options.directions, strict=True)
        )
    return tuple(Objective(name, greater if name == own else known[name]) for name in named)


@dataclass(frozen=True)
class PlannedPoint:
    """A point that is to be run: its overrides, and the hash of the config that they make."""

    overrides: list[str]
    hash: str
    params: dict[str, Any] | None = None  # of the study's trial, where a sampler chose it
    trial: int | None = None
    #: Points of one kind can be trained as a stack; None for a point that is trained alone.
    alike: int | None = None
    values: tuple[str, ...] = ()  # the overrides in which points of one kind may differ

    @property
    def digest(self) -> str:
        """Of the overrides: it tells points apart whose configs differ in nothing that decides a result."""
        return digest(self.overrides)


def name_of(overrides: list[str], swept: list[str]) -> str:
    """What a point is called: its values of what is swept, as `tanh-adam-lr0.01`; the last part of a key stands
    before a number, and the whole key where another ends so too."""
    found: list[str] = []
    for override in overrides:
        key, _, value = override.lstrip("+").partition("=")
        if key not in swept:
            continue
        value = value.replace("\\", "").strip("'\"")
        with contextlib.suppress(ValueError):
            value = f"{float(value):.4g}" if any(each in value for each in ".e") else value
        last = key.rpartition(".")[2]
        alike = [other for other in swept if other.rpartition(".")[2] == last]
        word = "" if "." not in key and value[:1].isalpha() else last if len(alike) == 1 else key
        found.append(word + value.replace("[", "").replace("]", "").replace(",", "x"))
    name = "-".join(found)
    return name if len(name) <= NAME else f"{name[: NAME - 1]}…"


def digest(texts: list[str]) -> str:
    """Twelve hexadecimal digits of some texts, in their order."""
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Point:
    """One job of a sweep and what came of it."""

    overrides: list[str]
    status: str
    values: dict[str, Any] = field(default_factory=dict[str, Any])  # what the job returned
    error: str = ""

    def numbers(self, wanted: tuple[Objective, ...]) -> list[float] | None:
        """Its objectives; None where one is missing."""
        metrics: dict[str, float] = self.values.get("metrics", {})
        return [metrics[each.name] for each in wanted] if all(each.name in metrics for each in wanted) else None


@dataclass(frozen=True)
class Outcome:
    """What a sweep came to."""

    swept: list[str]
    points: list[Point]
    objectives: tuple[Objective, ...]

    def of(self, status: str) -> list[Point]:
        return [point for point in self.points if point.status == status]

    def words(self, point: Point) -> str:
        """What tells a point from the others: its overrides of what is swept."""
        own = [each for each in point.overrides if each.lstrip("+").partition("=")[0] in self.swept]
        return " ".join(own or point.overrides)

    @property
    def failed(self) -> list[Point]:
        return self.of(FAILED)

    @property
    def objective(self) -> tuple[str, bool] | None:
        """The first objective's name, and whether a greater one is better."""
        return (self.objectives[0].name, self.objectives[0].greater) if self.objectives else None

    @property
    def ranked(self) -> list[Point]:
        """The points that are done, by the first objective: the best first, those without a number last."""
        if self.objective is None:
            return []
        name, greater = self.objective

        def key(point: Point) -> tuple[bool, float]:
            value = point.values["metrics"].get(name, math.nan)
            return value != value, -value if greater else value

        return sorted(self.of(DONE), key=key)

    @property
    def front(self) -> list[Point]:
        """Of several objectives, the points that no other is at least as good as in all and better in one."""
        signs = [-1 if each.greater else 1 for each in self.objectives]
        costs = [
            (point, [sign * value for sign, value in zip(signs, found, strict=True)])
            for point in self.ranked
            if (found := point.numbers(self.objectives)) and not any(math.isnan(value) for value in found)
        ]
        return [
            point
            for point, own in costs
            if not any(
                other != own and all(a <= b for a, b in zip(other, own, strict=True)) for _, other in costs
            )
        ]

    def aggregates(self) -> dict[str, float]:
        """Counts, and of each objective the best value, the mean and the standard deviation over the points."""
        found: dict[str, float] = {
            "sweep/points": len(self.points),
            "sweep/done": len(self.of(DONE)),
            "sweep/failed": len(self.failed),
            "sweep/pruned": len(self.of(PRUNED)),
        }
        for each in self.objectives:
            values = [point.values["metrics"].get(each.name, math.nan) for point in self.of(DONE)]
            values = [value for value in values if math.isfinite(value)]
            if values:
                found[f"best/{each.name}"] = max(values) if each.greater else min(values)
                found[f"mean/{each.name}"] = statistics.fmean(values)
                found[f"std/{each.name}"] = statistics.stdev(values) if len(values) > 1 else 0.0
        return found

    def markdown(self) -> str:
        """The best points as a table, for the description of the sweep in the UI."""
        names = [each.name for each in self.objectives]
        rows = [["", "point", *names], ["---", "---", *("--:" for _ in names)]]
        for rank, point in enumerate(self.ranked[:TOP], start=1):
            values = [point.values["metrics"].get(name, math.nan) for name in names]
            spread = [point.values["metrics"].get(f"{name}_std") for name in names]
            shown = [
                f"{value:.4g}" + (f" ± {std:.2g}" if std is not None else "")
                for value, std in zip(values, spread, strict=True)
            ]
            rows.append([str(rank), f"`{self.words(point)}`", *shown])
        counts = {state: len(self.of(state)) for state in (DONE, FAILED, PRUNED, NOT_RUN)}
        told = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
        table = "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows)
        return f"{told}; report.html among the artifacts has all of it" + (
            f"\n\n{table}" if len(rows) > 2 else ""
        )

    def write(self, folder: Path) -> None:
        """The table of points as points.csv."""
        metrics = list(dict.fromkeys(name for point in self.points for name in point.values.get("metrics", {})))
        front = self.front if len(self.objectives) > 1 else None
        with (folder / "points.csv").open("w", newline="") as out:
            rows = csv.writer(out)
            more = [] if front is None else ["best_in_a_trade-off"]
            rows.writerow(["overrides", "status", "run_id", "seconds", *metrics, *more, "error"])
            for point in self.points:
                own = point.values.get("metrics", {})
                mark = [] if front is None else [int(any(point is each for each in front))]
                rows.writerow(
                    [
                        " ".join(point.overrides),
                        point.status,
                        point.values.get("run_id", ""),
                        point.values.get("seconds", ""),
                        *(own.get(name, "") for name in metrics),
                        *mark,
                        point.error,
                    ]
                )
