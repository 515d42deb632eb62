"""Hands the points of a sweep to Hydra's launcher, and gathers what comes of them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from hydra.core.override_parser.types import Quote, QuotedString
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher

from framework.sweep import past
from framework.sweep.jobs import Member, write_stack
from framework.sweep.outcome import DONE, FAILED, NOT_RUN, PRUNED, Objective, Planned, Point
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
    number: int  # of the next job, and of its folder
    width: int | None  # jobs in one call; None for all
    folder: Path  # of the sweep
    most: int = 1  # points of a job at most
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
        packs = packed(planned, self.most)
        width = self.width or (1 if self.options.fail_fast else max(1, len(packs)))
        for first in range(0, len(packs), width):
            places = [i for pack in packs[first : first + width] for i in pack]
            chunk = [planned[i] for i in places]
            over = self.over()
            found = [Point(each.overrides, NOT_RUN) for each in chunk] if over else self._chunk(chunk)
            for i, point in zip(places, found, strict=True):
                done(i, point)
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
        packs = packed(chunk, self.most)
        trials = [self._trial(each) for each in chunk]
        jobs: list[list[str]] = []
        for pack in packs:
            job = [*chunk[pack[0]].overrides, *self._own([chunk[i] for i in pack], trials[pack[0]], len(jobs))]
            jobs.append([*job, *self.folder_of(job, self.number + len(jobs))])
        first, self.number = self.number, self.number + len(jobs)
        points: dict[int, Point] = {}
        died: list[int] = []
        try:
            returned = self.launcher.launch(jobs, initial_job_idx=first)
        except Exception as error:
            if type(error).__name__ not in DEATHS:
                raise
            points = dict(enumerate(self._rescued(chunk, error)))
            died = [i for i, point in points.items() if point.status == FAILED]
        else:
            self.returns.append(returned)
            for pack, job in zip(packs, returned, strict=True):
                own = [chunk[i] for i in pack]
                error = _raised(job)
                if isinstance(error, Exception) and type(error).__name__ in DEATHS:
                    points |= zip(pack, rescued := self._rescued(own, error), strict=True)
                    died += [i for i, point in zip(pack, rescued, strict=True) if point.status == FAILED]
                else:
                    points |= zip(pack, _points(own, job), strict=True)
        listed = [points[i] for i in range(len(chunk))]
        for trial, point in zip(trials, listed, strict=True):
            if trial is not None and self.study is not None:
                self.study.tell(trial, point.numbers(self.wanted), pruned=point.status == PRUNED)
        return listed, sorted(died)

    def _trial(self, planned: Planned) -> int | None:
        """The number of a point's trial, new where it has none and there is a study to prune by."""
        if planned.trial is None and self.study is not None:
            return self.study.open()
        return planned.trial

    def _own(self, pack: list[Planned], trial: int | None, number: int) -> list[str]:
        """The overrides of a job beyond those of its points; recorder.OF_THE_SWEEPER names them all."""
        found: list[str] = []
        if self.study is not None and self.study.prunes and trial is not None:
            found += [
                f"sweep.study={_quoted(f'{self.study.file}#{trial}')}",
                f"sweep.pruner={self.options.pruner}",
                f"sweep.objective={_quoted(self.wanted[0].name)}",
            ]
        if self.parent is not None:
            found += [f"tracking.parent='{self.parent}'", "tracking.run_name=null"]
        if len(pack) > 1:
            file = self.folder / "stacks" / f"{self.number + number}.json"
            write_stack(file, [Member(each.overrides, list(each.values), self._tags(each)) for each in pack])
            return [*found, f"sweep.stacked={_quoted(str(file))}"]
        tags = ",".join(f"{key}:{_quoted(value)}" for key, value in self._tags(pack[0]).items())
        return [*found, f"++tracking.tags={{{tags}}}"] if tags else found

    def _tags(self, planned: Planned) -> dict[str, str]:
        """What the run of a point is known by under its parent."""
        if self.parent is None:
            return {}
        params = {} if planned.params is None else {past.TRIAL: json.dumps(planned.params)}
        return {past.POINT: planned.digest, **params}

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


def packed(planned: Sequence[Planned], most: int) -> list[list[int]]:
    """The places of the points that each job runs: `most` of a kind together, in the order of their first ones."""
    packs: list[list[int]] = []
    open_: dict[int, list[int]] = {}
    for i, each in enumerate(planned):
        own = open_.get(each.alike) if each.alike is not None else None
        if own is None or len(own) >= most:
            packs.append(own := [])
            if each.alike is not None:
                open_[each.alike] = own
        own.append(i)
    return packs


def _points(pack: list[Planned], job: JobReturn) -> list[Point]:
    """What a job that has come back tells of its points."""
    error = _raised(job)
    if error is not None:
        return [Point(each.overrides, FAILED, {}, _line(error)) for each in pack]
    values = cast("dict[str, Any]", job.return_value)
    return [
        _point(each, own)
        for each, own in zip(pack, values["points"] if len(pack) > 1 else [values], strict=True)
    ]


def _point(planned: Planned, values: dict[str, Any]) -> Point:
    if "error" in values:
        return Point(planned.overrides, FAILED, {}, values["error"])
    return Point(planned.overrides, PRUNED if values.get("pruned") else DONE, values)


def _raised(job: JobReturn) -> object | None:
    if job.status == JobStatus.COMPLETED:
        return None
    # `return_value` would raise the job's error, and print it.
    return cast("object", job._return_value)  # pyright: ignore[reportPrivateUsage]


def _line(error: object) -> str:
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


def _quoted(text: str) -> str:
    return QuotedString(text, Quote.single).with_quotes()
