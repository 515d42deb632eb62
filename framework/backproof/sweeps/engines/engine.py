"""Run the planned runs of a sweep on a launcher, again where a worker died, and collect the results."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from hydra.core.utils import JobReturn, JobStatus

from backproof.app.sweep_options import SweepOptions
from backproof.sweeps import resume
from backproof.sweeps.engines.job_overrides import Batch, JobOverrides
from backproof.sweeps.engines.launcher import AsyncLauncher, EndedJob
from backproof.sweeps.locks import is_running
from backproof.sweeps.planned import PlannedRun
from backproof.sweeps.progress import Progress
from backproof.sweeps.result import DONE, FAILED, PRUNED, Objective, RunResult
from backproof.sweeps.search import Study
from backproof.tracking import Store
from backproof.tracking.query import RunRecord, runs
from backproof.tracking.schema import Status, Tag

#: Receives the position of a run among those that are to be run, and its result.
OnResult = Callable[[int, RunResult], None]


@dataclass
class RunningJob:
    """A job at work."""

    batch: Batch
    trials: dict[int, int | None]  # of each run that has one, by its position
    attempt: int


@dataclass
class Engine:
    """Keep as many jobs at work as there is room for."""

    launcher: AsyncLauncher
    options: SweepOptions
    objectives: tuple[Objective, ...]
    overrides: JobOverrides
    number: int  # of the next job, and of its folder
    width: int | None  # jobs at once; None for as many as the launcher takes
    most: int = 1  # runs of a job at most
    store: Store | None = None
    parent: str | None = None
    study: Study | None = None
    returns: list[Sequence[JobReturn]] = field(default_factory=list[Sequence[JobReturn]])
    started: float = field(default_factory=time.monotonic)
    stopped: bool = False
    points: dict[int, RunResult] = field(default_factory=dict[int, RunResult])  # all known results, by position
    _running: dict[int, RunningJob] = field(default_factory=dict[int, RunningJob])
    _retries: list[tuple[Batch, int]] = field(default_factory=list[tuple[Batch, int]])

    def over(self) -> bool:
        """Whether no further run is to be started."""
        timeout = self.options.timeout
        return self.stopped or (timeout is not None and time.monotonic() - self.started >= timeout)

    def run(self, planned: Iterable[PlannedRun], on_result: OnResult, total: int | None = None) -> None:
        """Run what is planned. Runs that are chosen one by one are asked for when there is room for them."""
        launcher, waiting = self.launcher, self._waiting(planned)
        progress = Progress(total, self.options.timeout, self.objectives[0], self.points)
        progress.visible = not launcher.blocking
        with progress:
            try:
                while not self.stopped:
                    for batch, attempt in self._next(waiting):
                        self._start(batch, attempt)
                    if not self._running:
                        break
                    progress.show(len(self._running))
                    self._collect(launcher.ended(), on_result, progress)
            finally:
                if self._running:
                    self._collect(launcher.stop(), on_result, progress)
                    self._running.clear()
                if not launcher.in_process:
                    self._end_dead_runs()

    def _waiting(self, planned: Iterable[PlannedRun]) -> Callable[[int], list[Batch]]:
        """Return a function that takes the next jobs, at most so many."""
        if isinstance(planned, Sequence):
            batches = iter(packed(enumerate(planned), self.most))
            return lambda room: list(itertools.islice(batches, room))
        chosen = enumerate(planned)
        return lambda room: packed(itertools.islice(chosen, room), self.most)

    def _next(self, waiting: Callable[[int], list[Batch]]) -> list[tuple[Batch, int]]:
        """Return the jobs that there is room for, with their attempt; first those that are run again."""
        room = (self.width or self.launcher.width) - len(self._running)
        jobs, self._retries = self._retries[: max(0, room)], self._retries[max(0, room) :]
        if room > len(jobs) and not self.over():
            jobs += [(batch, 0) for batch in waiting(room - len(jobs))]
        return jobs

    def _start(self, batch: Batch, attempt: int) -> None:
        trials = {position: self._trial(planned) for position, planned in batch}
        job = self.overrides.of(batch, self.number, self.study, trials[batch[0][0]])
        self._running[self.number] = RunningJob(batch, trials, attempt)
        self.launcher.submit(job, self.number)
        self.number += 1

    def _trial(self, planned: PlannedRun) -> int | None:
        """Return the number of a run's trial, a new one where it has none and there is a study to prune by."""
        if planned.trial is None and self.study is not None:
            return self.study.open()
        return planned.trial

    def _collect(self, ended: list[EndedJob], on_result: OnResult, progress: Progress) -> None:
        """Take the results of jobs that have ended; a job lost with its worker is run again `retries` times."""
        jobs = [(self._running.pop(each.number), each) for each in ended]
        self.returns += [[each.job for each in ended]] if ended else []
        for job, each in jobs:
            progress.print(each.printed)
            # A job that was stopped has no result.
            if each.job.status != JobStatus.UNKNOWN and not each.worker_died:
                self._report(job, results_of(job.batch, each), on_result)
        # Last, when all runs are known that stand for a result.
        for job, each in jobs:
            if each.worker_died:
                self._report(job, self._recover(job, each, progress), on_result)

    def _report(self, job: RunningJob, results: dict[int, RunResult], on_result: OnResult) -> None:
        for position, result in results.items():
            self._tell(job.trials[position], result)
            on_result(position, result)
        failed = any(result.status == FAILED for result in results.values())
        self.stopped |= self.options.fail_fast and failed

    def _tell(self, trial: int | None, result: RunResult | None) -> None:
        """Tell the study what a trial came to; None for one whose worker died."""
        if trial is not None and self.study is not None:
            numbers = None if result is None else result.numbers(self.objectives)
            self.study.tell(trial, numbers, pruned=result is not None and result.status == PRUNED)

    def _recover(self, job: RunningJob, ended: EndedJob, progress: Progress) -> dict[int, RunResult]:
        """Return the results of a job whose worker died, without the runs that are to be run again."""
        finished, dead = self._recorded(job.batch)
        results: dict[int, RunResult] = {}
        again: Batch = []
        for position, planned in job.batch:
            if position in finished:  # Only the answer was lost.
                results[position] = RunResult.of_record(finished[position], planned=planned)
            elif job.attempt < self.options.retries and not self.stopped:
                progress.print(f"           a worker died; again  {' '.join(planned.overrides)}")
                self._tell(job.trials[position], None)
                again.append((position, self._with_new_trial(planned)))
            else:
                results[position] = RunResult(planned, FAILED, {}, line(ended.error))
        if again:
            self._retries.append((again, job.attempt + 1))
        if again and dead and self.store is not None:
            resume.supersede(self.store, resume.PreviousSweep(dead[0], dead), [planned for _, planned in again])
        return results

    def _with_new_trial(self, planned: PlannedRun) -> PlannedRun:
        """A study is told of each trial once: return a run with a trial of its own if it had one."""
        if planned.trial is None or self.study is None:
            return planned
        number, _ = self.study.ask(planned.params)
        return dataclasses.replace(planned, trial=number)

    def _recorded(self, batch: Batch) -> tuple[dict[int, RunRecord], list[RunRecord]]:
        """Return what MLflow has of a job whose worker died: its finished runs by position, and the others.

        The others are ended there if they are still RUNNING. A worker that is alive after all is waited for: only
        the connection to it was lost.
        """
        if self.store is None or self.parent is None:
            return {}, []
        keys = {(planned.digest, planned.hash) for _, planned in batch}
        while True:
            known = {result.values.get("run_id") for result in self.points.values()}
            records = [
                record
                for record in runs(self.store, self.parent)
                if record.id not in known and _key(record) in keys
            ]
            if not any(_alive(record) for record in records):
                break
            time.sleep(0.5)
        finished: dict[tuple[str, str], list[RunRecord]] = defaultdict(list)
        others: list[RunRecord] = []
        for record in records:
            (finished[_key(record)] if record.status == Status.FINISHED else others).append(record)
            if record.status == Status.RUNNING:
                resume.end(self.store, record.id)
        matched = {
            position: finished[planned.digest, planned.hash].pop()
            for position, planned in batch
            if finished[planned.digest, planned.hash]
        }
        return matched, others

    def _end_dead_runs(self) -> None:
        """End in MLflow what is RUNNING there without a process, as a run killed before its point was recorded."""
        if self.store is None or self.parent is None:
            return
        for record in runs(self.store, self.parent):
            if record.status == Status.RUNNING and not _alive(record):
                resume.end(self.store, record.id)


def packed(planned: Iterable[tuple[int, PlannedRun]], most: int) -> list[Batch]:
    """Return the runs of each job: up to `most` that can be stacked, in the order of their first ones."""
    batches: list[Batch] = []
    open_batches: dict[int, Batch] = {}
    for position, run in planned:
        batch = open_batches.get(run.alike) if run.alike is not None else None
        if batch is None or len(batch) >= most:
            batches.append(batch := [])
            if run.alike is not None:
                open_batches[run.alike] = batch
        batch.append((position, run))
    return batches


def results_of(batch: Batch, ended: EndedJob) -> dict[int, RunResult]:
    """Return the results of the runs of a job, by position."""
    if ended.error is not None:
        return {position: RunResult(planned, FAILED, {}, line(ended.error)) for position, planned in batch}
    value = cast("dict[str, Any]", ended.job.return_value)
    values: list[dict[str, Any]] = value["points"] if len(batch) > 1 else [value]
    return {position: _result(planned, own) for (position, planned), own in zip(batch, values, strict=True)}


def _result(planned: PlannedRun, values: dict[str, Any]) -> RunResult:
    if "error" in values:
        return RunResult(planned, FAILED, {}, values["error"])
    return RunResult(planned, PRUNED if values.get("pruned") else DONE, values)


def line(error: object) -> str:
    """Return an error in one line."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


def _key(record: RunRecord) -> tuple[str, str]:
    return record.tags.get(Tag.POINT, ""), record.tags.get(Tag.CONFIG_HASH, "")


def _alive(record: RunRecord) -> bool:
    return record.status == Status.RUNNING and is_running(Path(record.tags.get(Tag.FOLDER, "/nowhere")))
