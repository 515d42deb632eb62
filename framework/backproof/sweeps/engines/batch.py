"""Hands the points of a sweep to Hydra's launcher, and gathers what comes of them."""

from __future__ import annotations

import dataclasses
import itertools
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from hydra.core.override_parser.types import Quote, QuotedString
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher

from backproof.app.sweep_options import SweepOptions
from backproof.sweeps import resume
from backproof.sweeps.jobs import Member, Stack
from backproof.sweeps.planned import PlannedRun, name_of
from backproof.sweeps.result import DONE, FAILED, NOT_RUN, PRUNED, Objective, RunResult
from backproof.sweeps.search import Study
from backproof.tracking import Store
from backproof.tracking.query import runs
from backproof.tracking.schema import Tag

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

#: The points of a job, each with its place among those that are to be run.
Batch = list[tuple[int, PlannedRun]]


@dataclass
class Runner:
    """Runs points, in as many calls of the launcher as it takes."""

    launcher: Launcher
    options: SweepOptions
    wanted: tuple[Objective, ...]
    swept: list[str]  # keys
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
    points: dict[int, RunResult] = field(
        default_factory=dict[int, RunResult]
    )  # all that are known, by their place
    #: Of each kind of points, the place of the one that is checked entry by entry.
    _whole: dict[int | None, int] = field(default_factory=dict[int | None, int])

    def over(self) -> bool:
        """Whether no further point is to be started."""
        timeout = self.options.timeout
        return self.stopped or (timeout is not None and time.monotonic() - self.started >= timeout)

    def run(self, planned: Iterable[PlannedRun], done: Callable[[int, RunResult], None]) -> None:
        """Run points; `done` is told the place of each and what came of it, when it is known."""
        for packs in self._calls(planned):
            pairs = [pair for pack in packs for pair in pack]
            over = self.over()
            found = {place: RunResult(each, NOT_RUN) for place, each in pairs} if over else self._call(packs)
            for place, point in found.items():
                done(place, point)
            self.stopped |= self.options.fail_fast and any(each.status == FAILED for each in found.values())

    def _calls(self, planned: Iterable[PlannedRun]) -> Iterator[list[Batch]]:
        """Jobs, as many as are handed to the launcher at once. Points that are chosen one by one are asked for only
        when there is room for them."""
        if isinstance(planned, Sequence):
            packs = packed(enumerate(planned), self.most)
            width = self.width or (1 if self.options.fail_fast else max(1, len(packs)))
            yield from (packs[first : first + width] for first in range(0, len(packs), width))
            return
        left = enumerate(planned)
        while chunk := list(itertools.islice(left, self.width or 1)):
            yield packed(chunk, self.most)

    def _call(self, packs: list[Batch]) -> dict[int, RunResult]:
        """Run jobs at once: what came of each point, by its place. Those whose worker dies are started again, as
        often as `retries` says."""
        found: dict[int, RunResult] = {}
        for attempt in range(self.options.retries + 1):
            points, died = self._launch(packs)
            found |= points
            self._bury([each for _, each in died], again=attempt < self.options.retries)
            if not died:
                break
            packs = packed([(place, self._afresh(each)) for place, each in died], self.most)
        return found

    def _launch(self, packs: list[Batch]) -> tuple[dict[int, RunResult], Batch]:
        """What came of points, and those whose worker died."""
        pairs = [pair for pack in packs for pair in pack]
        trials = {place: self._trial(each) for place, each in pairs}
        jobs = [self._job(pack, trials[pack[0][0]], self.number + i) for i, pack in enumerate(packs)]
        first, self.number = self.number, self.number + len(jobs)
        points: dict[int, RunResult] = {}
        lost: list[Batch] = []
        error: object = None
        try:
            returned = self.launcher.launch(jobs, initial_job_idx=first)
        except Exception as broken:
            if type(broken).__name__ not in DEATHS:
                raise
            lost, error = packs, broken
        else:
            self.returns.append(returned)
            for pack, job in zip(packs, returned, strict=True):
                if type(raised(job)).__name__ in DEATHS:
                    lost, error = [*lost, pack], raised(job)
                else:
                    points |= points_of(pack, job)
        rescued = self._rescued([pair for pack in lost for pair in pack], error)
        points |= rescued
        for place, trial in trials.items():
            if trial is not None and self.study is not None:
                point = points[place]
                self.study.tell(trial, point.numbers(self.wanted), pruned=point.status == PRUNED)
        died = [(i, each) for i, each in pairs if i in rescued and rescued[i].status == FAILED]
        return points, died

    def _job(self, pack: Batch, trial: int | None, number: int) -> list[str]:
        """The overrides of a job: those of its first point, and what the sweeper adds."""
        first, planned = pack[0]
        whole = self._whole.setdefault(planned.alike, first) == first
        job = [*planned.overrides, *self._own([each for _, each in pack], trial, number, whole=whole)]
        return [*job, *self.folder_of(job, number)]

    def _trial(self, planned: PlannedRun) -> int | None:
        """The number of a point's trial, new where it has none and there is a study to prune by."""
        if planned.trial is None and self.study is not None:
            return self.study.open()
        return planned.trial

    def _afresh(self, planned: PlannedRun) -> PlannedRun:
        """A point that is run again, with a trial of its own if it had one: a study is told of each trial once."""
        if planned.trial is None or self.study is None:
            return planned
        number, _ = self.study.ask(planned.params)
        return dataclasses.replace(planned, trial=number)

    def _own(self, pack: list[PlannedRun], trial: int | None, number: int, *, whole: bool) -> list[str]:
        """The overrides of a job beyond those of its points; recorder.OF_THE_SWEEPER names them all."""
        found: list[str] = []
        if self.study is not None and self.study.prunes and trial is not None:
            found += [
                f"sweep.study={_quoted(f'{self.study.file}#{trial}')}",
                f"sweep.pruner={self.options.pruner}",
                f"sweep.objective={_quoted(self.wanted[0].name)}",
            ]
        if self.parent is not None:
            name = name_of(pack[0].overrides, self.swept)
            found += [
                f"tracking.parent='{self.parent}'",
                f"++tracking.run_name={_quoted(name) if name else 'null'}",
            ]
        if len(pack) > 1:
            file = self.folder / "stacks" / f"{number}.json"
            Stack([self._member(each) for each in pack], whole).write(file)
            return [*found, f"sweep.stacked={_quoted(str(file))}"]
        tags = ",".join(f"{key}:{_quoted(value)}" for key, value in self._tags(pack[0]).items())
        return [*found, f"++tracking.tags={{{tags}}}"] if tags else found

    def _member(self, planned: PlannedRun) -> Member:
        """A point of a stack."""
        name = name_of(planned.overrides, self.swept)
        return Member(planned.overrides, list(planned.values), self._tags(planned), name)

    def _tags(self, planned: PlannedRun) -> dict[str, str]:
        """What the run of a point is known by under its parent."""
        if self.parent is None:
            return {}
        params = {} if planned.params is None else {Tag.TRIAL: json.dumps(planned.params)}
        return {
            Tag.POINT: planned.digest,
            Tag.INDEX: str(planned.index),
            **({Tag.SEEDS: str(planned.seeds)} if planned.seeds > 1 else {}),
            **params,
        }

    def _rescued(self, pairs: Batch, error: object) -> dict[int, RunResult]:
        """Points whose job was lost with its worker: its answer is, but what was recorded is not."""
        matched: dict[int, Any] = {}
        planned = [each for _, each in pairs]
        if planned and self.store is not None and self.parent is not None:
            parent = resume.get(self.store, self.parent)
            matched = resume.PreviousSweep(parent, runs(self.store, self.parent)).match(planned)
        return {
            place: RunResult.of_record(matched[i], planned=each)
            if i in matched
            else RunResult(each, FAILED, {}, line(error))
            for i, (place, each) in enumerate(pairs)
        }

    def _bury(self, died: list[PlannedRun], *, again: bool) -> None:
        """End the runs of dead workers in MLflow, where they would be RUNNING for ever."""
        if not died or self.store is None or self.parent is None:
            return
        parent = resume.get(self.store, self.parent)
        found = resume.finalize_dead_runs(
            self.store, resume.PreviousSweep(parent, runs(self.store, self.parent)), lambda text: None
        )
        if again:
            resume.supersede(self.store, found, died)


def in_this_process(launcher: Launcher | None) -> bool:
    """Whether a launcher runs jobs here, one after the other."""
    return type(launcher).__name__ == "BasicLauncher"


def packed(planned: Iterable[tuple[int, PlannedRun]], most: int) -> list[Batch]:
    """The points that each job runs: `most` of a kind together, in the order of their first ones."""
    packs: list[Batch] = []
    fillable: dict[int, Batch] = {}
    for place, each in planned:
        own = fillable.get(each.alike) if each.alike is not None else None
        if own is None or len(own) >= most:
            packs.append(own := [])
            if each.alike is not None:
                fillable[each.alike] = own
        own.append((place, each))
    return packs


def points_of(pack: Batch, job: JobReturn) -> dict[int, RunResult]:
    """What a job that has come back tells of its points."""
    error = raised(job)
    if error is not None:
        return {place: RunResult(each, FAILED, {}, line(error)) for place, each in pack}
    values = cast("dict[str, Any]", job.return_value)
    told = values["points"] if len(pack) > 1 else [values]
    return {place: _point(each, own) for (place, each), own in zip(pack, told, strict=True)}


def _point(planned: PlannedRun, values: dict[str, Any]) -> RunResult:
    if "error" in values:
        return RunResult(planned, FAILED, {}, values["error"])
    return RunResult(planned, PRUNED if values.get("pruned") else DONE, values)


def raised(job: JobReturn) -> object | None:
    """The error that a job ended with."""
    if job.status == JobStatus.COMPLETED:
        return None
    # `return_value` would raise the job's error, and print it.
    return cast("object", job._return_value)  # pyright: ignore[reportPrivateUsage]


def line(error: object) -> str:
    """An error in one line."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


def _quoted(text: str) -> str:
    return QuotedString(text, Quote.single).with_quotes()
