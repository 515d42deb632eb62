"""Run the planned runs of a sweep on a launcher, retry those whose worker died, and collect the results."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from hydra.core.utils import JobReturn, JobStatus

from backproof.app.sweep_options import SweepOptions
from backproof.sweeps import resume
from backproof.sweeps.engines.job_overrides import Batch, JobOverrides
from backproof.sweeps.engines.launcher import AsyncLauncher, EndedJob
from backproof.sweeps.plan import Plan
from backproof.sweeps.planned import PlannedRun, error_line
from backproof.sweeps.progress import Progress
from backproof.sweeps.result import DONE, FAILED, PRUNED, RunResult
from backproof.sweeps.search import Study
from backproof.tracking import Store
from backproof.tracking.query import RunRecord, runs
from backproof.tracking.schema import Status, Tag


@dataclass
class RunningJob:
    """A job in progress."""

    batch: Batch
    trials: dict[int, int | None]  # the trial of each run, by position; None without one
    attempt: int


@dataclass
class Engine:
    """Keeps the launcher supplied with jobs, and collects their results."""

    launcher: AsyncLauncher
    plan: Plan
    overrides: JobOverrides
    number: int  # of the next job, and of its folder
    width: int | None  # jobs at once; None for as many as the launcher takes
    stack_size: int = 1  # the most runs in one job
    store: Store | None = None
    parent: str | None = None
    study: Study | None = None
    returns: list[Sequence[JobReturn]] = field(default_factory=list[Sequence[JobReturn]])
    started: float = field(default_factory=time.monotonic)
    stopped: bool = False
    points: dict[int, RunResult] = field(default_factory=dict[int, RunResult])  # all known results, by position
    _running: dict[int, RunningJob] = field(default_factory=dict[int, RunningJob])
    _retries: list[tuple[Batch, int]] = field(default_factory=list[tuple[Batch, int]])

    @property
    def options(self) -> SweepOptions:
        return self.plan.options

    def over(self) -> bool:
        """Return whether no further run is to be started."""
        timeout = self.options.timeout
        return self.stopped or (timeout is not None and time.monotonic() - self.started >= timeout)

    def run(self, planned: Iterable[tuple[int, PlannedRun]], total: int | None = None) -> None:
        """Run planned runs, given with their positions; each is taken only when a worker is free."""
        launcher, waiting = self.launcher, self._waiting(planned)
        progress = Progress(total, self.options.timeout, self.plan.wanted[0], self.points)
        progress.visible = not launcher.blocking
        with progress:
            try:
                while not self.stopped:
                    for batch, attempt in self._next(waiting):
                        self._start(batch, attempt)
                    if not self._running:
                        break
                    progress.show(len(self._running))
                    self._collect(launcher.ended(), progress)
            finally:
                if self._running:
                    self._collect(launcher.stop(), progress)
                    self._running.clear()
                if not launcher.in_process and self.store is not None and self.parent is not None:
                    # For example, a run that was killed before its result was returned.
                    resume.end_dead(self.store, runs(self.store, self.parent))

    def _waiting(self, planned: Iterable[tuple[int, PlannedRun]]) -> Callable[[int], list[Batch]]:
        """Return a function that returns the next jobs, up to a number."""
        if isinstance(planned, Sequence):
            batches = iter(packed(planned, self.stack_size))
            return lambda count: list(itertools.islice(batches, count))
        chosen = iter(planned)
        return lambda count: packed(itertools.islice(chosen, count), self.stack_size)

    def _next(self, waiting: Callable[[int], list[Batch]]) -> list[tuple[Batch, int]]:
        """Return jobs for the free workers, each with its number of earlier attempts; retries come first."""
        free = max(0, (self.width or self.launcher.width) - len(self._running))
        jobs, self._retries = self._retries[:free], self._retries[free:]
        if free > len(jobs) and not self.over():
            jobs += [(batch, 0) for batch in waiting(free - len(jobs))]
        return jobs

    def _start(self, batch: Batch, attempt: int) -> None:
        trials = {position: self._trial(planned) for position, planned in batch}
        job = self.overrides.of(batch, self.number, self.study, trials[batch[0][0]])
        self._running[self.number] = RunningJob(batch, trials, attempt)
        self.launcher.submit(job, self.number)
        self.number += 1

    def _trial(self, planned: PlannedRun) -> int | None:
        """Return the number of a run's trial; open one for a run without, if a study prunes runs."""
        if planned.trial is None and self.study is not None:
            return self.study.open()
        return planned.trial

    def _collect(self, ended: list[EndedJob], progress: Progress) -> None:
        """Collect the results of jobs that have ended. A job whose worker died is retried up to `retries` times."""
        jobs = [(self._running.pop(job.number), job) for job in ended]
        self.returns += [[job.job for job in ended]] if ended else []
        for running, job in jobs:
            progress.print(job.printed)
            # Stopped jobs have no result.
            if job.job.status != JobStatus.UNKNOWN and not job.worker_died:
                self._report(running, results_of(running.batch, job))
        # Last, because by now every run that belongs to a result is known.
        for running, job in jobs:
            if job.worker_died:
                self._report(running, self._recover(running, job, progress))

    def _report(self, job: RunningJob, results: dict[int, RunResult]) -> None:
        for position, result in results.items():
            self._tell(job.trials[position], result)
            self.points[position] = result
        failed = any(result.status == FAILED for result in results.values())
        self.stopped |= self.options.fail_fast and failed

    def _tell(self, trial: int | None, result: RunResult | None) -> None:
        """Report the result of a trial to the study; None if its worker died."""
        if trial is not None and self.study is not None:
            numbers = None if result is None else result.numbers(self.plan.wanted)
            self.study.tell(trial, numbers, pruned=result is not None and result.status == PRUNED)

    def _recover(self, job: RunningJob, ended: EndedJob, progress: Progress) -> dict[int, RunResult]:
        """Return the results of a job whose worker died, without the runs that are to be retried."""
        finished, dead = self._recorded(job.batch)
        results: dict[int, RunResult] = {}
        retry: Batch = []
        for position, planned in job.batch:
            if position in finished:  # Only the connection was lost.
                results[position] = RunResult.of_record(finished[position], planned=planned)
            elif job.attempt < self.options.retries and not self.stopped:
                progress.print(f"           a worker died; retry  {' '.join(planned.overrides)}")
                self._tell(job.trials[position], None)
                retry.append((position, self._with_new_trial(planned)))
            else:
                results[position] = RunResult(planned, FAILED, {}, error_line(ended.error))
        if retry:
            self._retries.append((retry, job.attempt + 1))
        if retry and dead and self.store is not None:
            resume.supersede(self.store, dead, [planned for _, planned in retry])
        return results

    def _with_new_trial(self, planned: PlannedRun) -> PlannedRun:
        """Return the run with a new trial, if it had one: a study accepts one result per trial."""
        if planned.trial is None or self.study is None:
            return planned
        number, _ = self.study.ask(planned.params)
        return dataclasses.replace(planned, trial=number)

    def _recorded(self, batch: Batch) -> tuple[dict[int, RunRecord], list[RunRecord]]:
        """Return the recorded runs of a job whose worker died: the finished ones by position, and the others.

        Wait for a worker that is still alive: only the connection to it was lost.
        """
        if self.store is None or self.parent is None:
            return {}, []
        known = {result.values.get("run_id") for result in self.points.values()}
        keys = {(planned.digest, planned.hash) for _, planned in batch}

        def is_unknown(record: RunRecord) -> bool:
            key = record.tags.get(Tag.POINT, ""), record.tags.get(Tag.CONFIG_HASH, "")
            return record.id not in known and key in keys

        records = resume.settled_runs(self.store, self.parent, is_unknown)
        matched = resume.match([planned for _, planned in batch], records)
        return (
            {batch[i][0]: record for i, record in matched.items()},
            [record for record in records if record.status != Status.FINISHED],
        )


def packed(planned: Iterable[tuple[int, PlannedRun]], size: int) -> list[Batch]:
    """Return the runs of each job, up to `size` stackable ones; jobs are in the order of their first runs."""
    batches: list[Batch] = []
    open_batches: dict[int, Batch] = {}
    for position, run in planned:
        batch = open_batches.get(run.stack) if run.stack is not None else None
        if batch is None or len(batch) >= size:
            batches.append(batch := [])
            if run.stack is not None:
                open_batches[run.stack] = batch
        batch.append((position, run))
    return batches


def results_of(batch: Batch, ended: EndedJob) -> dict[int, RunResult]:
    """Return the results of the runs of a job, by position."""
    if ended.error is not None:
        return {
            position: RunResult(planned, FAILED, {}, error_line(ended.error)) for position, planned in batch
        }
    value = cast("dict[str, Any]", ended.job.return_value)
    values: list[dict[str, Any]] = value["points"] if len(batch) > 1 else [value]
    return {
        position: _result(planned, run_values)
        for (position, planned), run_values in zip(batch, values, strict=True)
    }


def _result(planned: PlannedRun, values: dict[str, Any]) -> RunResult:
    if "error" in values:
        return RunResult(planned, FAILED, {}, values["error"])
    return RunResult(planned, PRUNED if values.get("pruned") else DONE, values)
