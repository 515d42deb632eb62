"""Run the planned runs of a sweep on a launcher, retry those whose worker died, and collect the results."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from hydra.core.utils import JobReturn, JobStatus

from backproof.app.session import processors
from backproof.app.sweep_options import SweepOptions
from backproof.sweeps import resume
from backproof.sweeps.engines.launcher import AsyncLauncher, EndedJob
from backproof.sweeps.plan import Plan, Planner
from backproof.sweeps.planned import Batch, PlannedRun, error_line
from backproof.sweeps.planned_job import PlannedJob, Trials
from backproof.sweeps.progress import Progress
from backproof.sweeps.result import DONE, FAILED, PRUNED, RunResult
from backproof.sweeps.search import Study
from backproof.tracking import Store
from backproof.tracking.query import RunRecord, runs
from backproof.tracking.schema import Status, Tag


@dataclass
class Job:
    """A job that runs, or that is to be run again."""

    batch: Batch
    attempt: int = 0  # how many workers have died with it


@dataclass
class Engine:
    """Keeps the launcher supplied with jobs, and collects their results."""

    launcher: AsyncLauncher
    planner: Planner
    plan: Plan
    folder: Path  # of the sweep
    store: Store | None
    parent: str | None
    width: int | None  # jobs at once; None for as many as the launcher takes
    study: Study | None = None
    returns: list[Sequence[JobReturn]] = field(default_factory=list[Sequence[JobReturn]])
    started: float = field(default_factory=time.monotonic)
    stopped: bool = False
    points: dict[int, RunResult] = field(default_factory=dict[int, RunResult])  # all known results, by index
    _running: dict[int, Job] = field(default_factory=dict[int, Job])
    _retries: list[Job] = field(default_factory=list[Job])
    #: The index of the run that is checked entry by entry, by stack.
    _checked: dict[int | None, int] = field(default_factory=dict[int | None, int])

    def __post_init__(self) -> None:
        if self.width is None and self.launcher.blocking:
            one_by_one = self.plan.adaptive or self.launcher.in_process or self.options.fail_fast
            self.width = 1 if one_by_one else None
        numbers = [int(path.name) for path in self.folder.iterdir() if path.name.isdecimal()]
        self.number = max(numbers, default=-1) + 1  # of the next job, and of its folder
        self.stack_size = self._stack_size()

    def _stack_size(self) -> int:
        """Return the most runs of a stack, such that every worker gets one."""
        size, launcher = self.options.stack_size, self.launcher
        if launcher.in_process:
            return size
        workers = processors() if launcher.blocking else launcher.width
        return max(1, min(size, len(self.plan.points) // (2 * workers)))

    @property
    def options(self) -> SweepOptions:
        return self.plan.options

    def over(self) -> bool:
        """Return whether no further run is to be started."""
        timeout = self.options.timeout
        return self.stopped or (timeout is not None and time.monotonic() - self.started >= timeout)

    def run(self, planned: Iterable[PlannedRun], total: int | None = None) -> None:
        """Run planned runs; each is taken only when a worker is free."""
        launcher, waiting = self.launcher, self._waiting(planned)
        progress = Progress(total, self.options.timeout, self.plan.wanted[0], self.points)
        progress.visible = not launcher.blocking
        with progress:
            try:
                while not self.stopped:
                    for job in self._next(waiting):
                        self._start(job)
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

    def _waiting(self, planned: Iterable[PlannedRun]) -> Callable[[int], list[Batch]]:
        """Return a function that returns the next jobs, up to a number."""
        if isinstance(planned, Sequence):
            batches = iter(packed(planned, self.stack_size))
            return lambda count: list(itertools.islice(batches, count))
        chosen = iter(planned)
        return lambda count: packed(itertools.islice(chosen, count), self.stack_size)

    def _next(self, waiting: Callable[[int], list[Batch]]) -> list[Job]:
        """Return jobs for the free workers; retries come first."""
        free = max(0, (self.width or self.launcher.width) - len(self._running))
        jobs, self._retries = self._retries[:free], self._retries[free:]
        if free > len(jobs) and not self.over():
            jobs += map(Job, waiting(free - len(jobs)))
        return jobs

    def _start(self, job: Job) -> None:
        if (study := self.study) is not None:
            # A study that prunes needs a trial for every run.
            job.batch = [
                dataclasses.replace(run, trial=study.open()) if run.trial is None else run for run in job.batch
            ]
        self._running[self.number] = job
        self.launcher.submit(self._overrides(job.batch), self.number)
        self.number += 1

    def _overrides(self, batch: Batch) -> list[str]:
        """Write the file of a job. Return the job's overrides: those of its first run, and Hydra's own."""
        run, study = batch[0], self.study
        folder, in_folder = self.planner.new_folder(run, self.number)
        job = PlannedJob(
            batch,
            str(folder),
            self.plan.space.swept,
            self.parent,
            every_entry=self._checked.setdefault(run.stack, run.index) == run.index,
            parameters=self.planner.parameters(run, self.number),
            trials=Trials(str(study.file), self.options.pruner, self.plan.wanted[0].name)
            if study is not None and study.prunes
            else None,
        )
        return [*run.overrides, job.write(self.folder / "jobs" / f"{self.number}.json"), *in_folder]

    def _collect(self, ended: list[EndedJob], progress: Progress) -> None:
        """Collect the results of jobs that have ended. A job whose worker died is retried up to `retries` times."""
        jobs = [(self._running.pop(job.number), job) for job in ended]
        self.returns += [[job.job for job in ended]] if ended else []
        for running, job in jobs:
            progress.print(job.printed)
            # Stopped jobs have no result.
            if job.job.status != JobStatus.UNKNOWN and not job.worker_died:
                self._report(results_of(running.batch, job))
        # Last, because by now every run that belongs to a result is known.
        for running, job in jobs:
            if job.worker_died:
                self._report(self._recover(running, job, progress))

    def _report(self, results: list[RunResult]) -> None:
        for result in results:
            if self.study is not None and result.planned.trial is not None:
                self.study.tell(result.planned.trial, result)
            self.points[result.planned.index] = result
        self.stopped |= self.options.fail_fast and any(result.status == FAILED for result in results)

    def _recover(self, job: Job, ended: EndedJob, progress: Progress) -> list[RunResult]:
        """Return the results of a job whose worker died, without the runs that are to be retried."""
        finished, dead = self._recorded(job.batch)
        results: list[RunResult] = []
        retry: Batch = []
        for run in job.batch:
            if run.index in finished:  # Only the connection was lost.
                results.append(RunResult.of_record(finished[run.index], planned=run))
            elif job.attempt < self.options.retries and not self.stopped:
                progress.print(f"           a worker died; retry  {' '.join(run.overrides)}")
                retry.append(self._with_new_trial(run))
            else:
                results.append(RunResult(run, FAILED, {}, error_line(ended.error)))
        if retry:
            self._retries.append(Job(retry, job.attempt + 1))
        if retry and dead and self.store is not None:
            resume.supersede(self.store, dead, retry)
        return results

    def _with_new_trial(self, run: PlannedRun) -> PlannedRun:
        """Return the run with a new trial, if it had one: a study accepts one result per trial."""
        if run.trial is None or self.study is None:
            return run
        self.study.tell(run.trial, None)
        return dataclasses.replace(run, trial=self.study.ask(run.params)[0] if self.plan.adaptive else None)

    def _recorded(self, batch: Batch) -> tuple[dict[int, RunRecord], list[RunRecord]]:
        """Return the recorded runs of a job whose worker died: the finished ones by index, and the others.

        Wait for a worker that is still alive: only the connection to it was lost.
        """
        if self.store is None or self.parent is None:
            return {}, []
        known = {result.values.get("run_id") for result in self.points.values()}
        keys = {(run.digest, run.hash) for run in batch}

        def is_unknown(record: RunRecord) -> bool:
            key = record.tags.get(Tag.POINT, ""), record.tags.get(Tag.CONFIG_HASH, "")
            return record.id not in known and key in keys

        records = resume.settled_runs(self.store, self.parent, is_unknown)
        return resume.match(batch, records), [run for run in records if run.status != Status.FINISHED]


def packed(planned: Iterable[PlannedRun], size: int) -> list[Batch]:
    """Return the runs of each job, up to `size` stackable ones; jobs are in the order of their first runs."""
    batches: list[Batch] = []
    open_batches: dict[int, Batch] = {}
    for run in planned:
        batch = open_batches.get(run.stack) if run.stack is not None else None
        if batch is None or len(batch) >= size:
            batches.append(batch := [])
            if run.stack is not None:
                open_batches[run.stack] = batch
        batch.append(run)
    return batches


def results_of(batch: Batch, ended: EndedJob) -> list[RunResult]:
    """Return the results of the runs of a job."""
    if ended.error is not None:
        return [RunResult(run, FAILED, {}, error_line(ended.error)) for run in batch]
    value = cast("dict[str, Any]", ended.job.return_value)
    values: list[dict[str, Any]] = value["points"] if len(batch) > 1 else [value]
    return [_result(run, run_values) for run, run_values in zip(batch, values, strict=True)]


def _result(run: PlannedRun, values: dict[str, Any]) -> RunResult:
    if "error" in values:
        return RunResult(run, FAILED, {}, values["error"])
    return RunResult(run, PRUNED if values.get("pruned") else DONE, values)
