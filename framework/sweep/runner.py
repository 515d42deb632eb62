"""Hands the points of a sweep to Hydra's launcher, and gathers what comes of them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from hydra.core.override_parser.types import Quote, QuotedString
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher

from framework.sweep import past
from framework.sweep.outcome import DONE, FAILED, NOT_RUN, PRUNED, Objective, Planned, Point, name_of
from framework.sweep.search import Study
from framework.sweep_options import SweepOptions
from framework.tracking import Store
from framework.tracking.reading import runs

#: What the engines behind Hydra's launchers raise when a worker process has died, by name: none of them is needed.
DEATHS = {
    "WorkerDied",
    "TerminatedWorkerError",
    "BrokenProcessPool",
    "KilledWorker",
    "WorkerCrashedError",
    "NodeDiedError",
    "OutOfMemoryError",
    "UncompletedJobError",
}
BASIC = "BasicLauncher"


@dataclass
class Runner:
    """Runs points, in as many calls of the launcher as it takes."""

    launcher: Launcher
    options: SweepOptions
    wanted: tuple[Objective, ...]
    swept: list[str]  # keys
    number: int  # of the next job, and of its folder
    width: int | None  # points in one call; None for all
    store: Store | None = None
    parent: str | None = None
    study: Study | None = None
    folder_of: Callable[[list[str], int], list[str]] = lambda overrides, number: []
    returns: list[Sequence[JobReturn]] = field(default_factory=list[Sequence[JobReturn]])
    started: float = field(default_factory=time.monotonic)
    stopped: bool = False

    def over(self) -> bool:
        """Whether no further point is to be started."""
        timeout = self.options.timeout
        return self.stopped or (timeout is not None and time.monotonic() - self.started >= timeout)

    def run(self, planned: Sequence[Planned], done: Callable[[int, Point], None]) -> None:
        """Run points; `done` is told the place of each and what came of it, when it is known."""
        width = self.width or (1 if self.options.fail_fast else max(1, len(planned)))
        for first in range(0, len(planned), width):
            chunk = planned[first : first + width]
            over = self.over()
            found = [Point(each.overrides, NOT_RUN) for each in chunk] if over else self._chunk(chunk)
            for i, point in enumerate(found):
                done(first + i, point)
            self.stopped |= self.options.fail_fast and any(point.status == FAILED for point in found)

    def _chunk(self, chunk: Sequence[Planned]) -> list[Point]:
        """Run points at once. Those whose worker dies are started again, as often as `retries` says."""
        found: dict[int, Point] = {}
        waiting = list(range(len(chunk)))
        for attempt in range(self.options.retries + 1):
            points, died = self._launch([chunk[i] for i in waiting])
            found |= dict(zip(waiting, points, strict=True))
            waiting = [waiting[j] for j in died]
            self._bury([chunk[i] for i in waiting], again=attempt < self.options.retries)
            if not waiting:
                break
        return [found[i] for i in range(len(chunk))]

    def _launch(self, chunk: list[Planned]) -> tuple[list[Point], list[int]]:
        """What came of points, and the places of those whose worker died."""
        jobs: list[list[str]] = []
        trials: list[int | None] = []
        for i, each in enumerate(chunk):
            trial = each.trial
            if trial is None and self.study is not None:
                trial = self.study.open()
            trials.append(trial)
            job = [*each.overrides, *self._own(each, trial)]
            jobs.append([*job, *self.folder_of(job, self.number + i)])
        first, self.number = self.number, self.number + len(jobs)
        try:
            returned = self.launcher.launch(jobs, initial_job_idx=first)
        except Exception as error:
            if type(error).__name__ not in DEATHS:
                raise
            points = self._rescued(chunk, error)
            died = [i for i, point in enumerate(points) if point.status == FAILED]
        else:
            self.returns.append(returned)
            points = [_point(each.overrides, job) for each, job in zip(chunk, returned, strict=True)]
            died = [i for i, job in enumerate(returned) if type(_raised(job)).__name__ in DEATHS]
        for trial, point in zip(trials, points, strict=True):
            if trial is not None and self.study is not None:
                self.study.tell(trial, point.numbers(self.wanted), pruned=point.status == PRUNED)
        return points, died

    def _own(self, planned: Planned, trial: int | None) -> list[str]:
        """The overrides of a job beyond those of its point; recorder.OF_THE_SWEEPER names them all."""
        found: list[str] = []
        if self.study is not None and self.study.prunes and trial is not None:
            found += [
                f"sweep.study={_quoted(f'{self.study.file}#{trial}')}",
                f"sweep.pruner={self.options.pruner}",
                f"sweep.objective={_quoted(self.wanted[0].name)}",
            ]
        if self.parent is not None:
            name = name_of(planned.overrides, self.swept)
            tags = f"{past.POINT}:{planned.digest}"
            if planned.params is not None:
                tags += f",{past.TRIAL}:{_quoted(json.dumps(planned.params))}"
            found += [
                f"tracking.parent='{self.parent}'",
                f"++tracking.run_name={_quoted(name) if name else 'null'}",
                f"++tracking.tags={{{tags}}}",
            ]
        return found

    def _rescued(self, chunk: list[Planned], error: Exception) -> list[Point]:
        """The launcher itself broke off with the worker: its results are lost, but what was recorded is not."""
        matched: dict[int, Any] = {}
        if self.store is not None and self.parent is not None:
            parent = past.get(self.store, self.parent)
            matched = past.Earlier(parent, runs(self.store, self.parent)).match(chunk)
        return [
            past.point_of(matched[i], each.overrides, self.wanted)
            if i in matched
            else Point(each.overrides, FAILED, {}, _line(error))
            for i, each in enumerate(chunk)
        ]

    def _bury(self, died: list[Planned], *, again: bool) -> None:
        """End the runs of dead workers in MLflow, where they would be RUNNING for ever."""
        if not died or self.store is None or self.parent is None:
            return
        parent = past.get(self.store, self.parent)
        found = past.settle(self.store, past.Earlier(parent, runs(self.store, self.parent)), lambda text: None)
        if again:
            past.supersede(self.store, found, died)


def _point(overrides: list[str], job: JobReturn) -> Point:
    error = _raised(job)
    if error is not None:
        return Point(overrides, FAILED, {}, _line(error))
    values = cast("dict[str, Any]", job.return_value)
    return Point(overrides, PRUNED if values.get("pruned") else DONE, values)


def _raised(job: JobReturn) -> object | None:
    if job.status == JobStatus.COMPLETED:
        return None
    # `return_value` would raise the job's error, and print it.
    return cast("object", job._return_value)  # pyright: ignore[reportPrivateUsage]


def _line(error: object) -> str:
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


def _quoted(text: str) -> str:
    return QuotedString(text, Quote.single).with_quotes()
