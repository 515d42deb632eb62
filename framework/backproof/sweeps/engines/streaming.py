"""Points on a launcher that hands back each job as it ends: nobody waits for the slowest of a batch."""

from __future__ import annotations

import contextlib
import time
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher

from backproof.app.session import get_session
from backproof.sweeps import resume
from backproof.sweeps.engines.batch import DEATHS, Batch, Runner, packed, points_of, raised
from backproof.sweeps.locks import is_running
from backproof.sweeps.planned import PlannedRun
from backproof.sweeps.progress import Progress
from backproof.sweeps.result import FAILED, PRUNED, RunResult
from backproof.tracking.query import RunRecord, runs
from backproof.tracking.schema import Status, Tag

#: Raises LauncherError or TrackingError in a worker that cannot run the jobs.
Check = Callable[[], None]


@dataclass(frozen=True)
class Ended:
    """A job that has ended: what it returned, and what it printed."""

    number: int
    job: JobReturn
    shown: str


class StreamingLauncher(Launcher):
    """A launcher of Hydra's that can be handed jobs one by one."""

    @abstractmethod
    def at_work(
        self, most: int | None, check: Check | None = None, check_cluster: Check | None = None
    ) -> contextlib.AbstractContextManager[None]:
        """Provide workers for at most so many jobs, if that is known. Raise LauncherError where there are none.

        `check` is called in each worker process before its first job, `check_cluster` beforehand in the workers
        that were there already.
        """

    @property
    @abstractmethod
    def width(self) -> int:
        """Jobs that can run at once."""

    @abstractmethod
    def submit(self, overrides: list[str], number: int) -> None:
        """Start a job."""

    @abstractmethod
    def ended(self, timeout: float = 0.2) -> list[Ended]:
        """The jobs that have ended since the last call."""

    @abstractmethod
    def stop(self) -> list[Ended]:
        """End all jobs; those that had come to their end."""


@dataclass
class RunningJob:
    """A job at work."""

    pack: Batch
    trial: int | None  # of its point, where that has one
    attempt: int


@dataclass
class AsyncRunner(Runner):
    """Keeps as many points at work as there are workers."""

    _flights: dict[int, RunningJob] = field(default_factory=dict[int, RunningJob])
    _again: list[tuple[Batch, int]] = field(default_factory=list[tuple[Batch, int]])
    _told: set[str] = field(default_factory=set[str])  # ids of runs that stand for a point

    def run(self, planned: Iterable[PlannedRun], done: Callable[[int, RunResult], None]) -> None:
        """Run points; `done` is told the place of each and what came of it, as soon as it is known."""
        launcher, waiting = self._launcher, self._packs(planned)
        jobs = get_session().jobs
        total = None if jobs is None else len(self.points) + jobs
        with Progress(total, self.options.timeout, self.wanted[0], self.points) as progress:
            try:
                while not self.stopped:
                    width = self.width or launcher.width
                    while len(self._flights) < width and (found := self._next(waiting)) is not None:
                        self._start(*found)
                    if not self._flights:
                        break
                    progress.show(len(self._flights))
                    for ended in launcher.ended():
                        self._arrived(ended.number, ended.job, ended.shown, done, progress)
            finally:
                if self._flights:
                    for ended in launcher.stop():
                        self._arrived(ended.number, ended.job, ended.shown, done, progress)
                    self._flights.clear()
                self._end_the_dead()

    @property
    def _launcher(self) -> StreamingLauncher:
        assert isinstance(self.launcher, StreamingLauncher)
        return self.launcher

    def _packs(self, planned: Iterable[PlannedRun]) -> Iterator[Batch]:
        """The jobs. Points that are chosen one by one are asked for when there is room for them."""
        if isinstance(planned, Sequence):
            return iter(packed(enumerate(planned), self.most))
        return ([pair] for pair in enumerate(planned))

    def _next(self, waiting: Iterator[Batch]) -> tuple[Batch, int] | None:
        if self._again:
            return self._again.pop(0)
        found = None if self.over() else next(waiting, None)
        return None if found is None else (found, 0)

    def _start(self, pack: Batch, attempt: int) -> None:
        trial = self._trial(pack[0][1])
        self._flights[self.number] = RunningJob(pack, trial, attempt)
        self._launcher.submit(self._job(pack, trial, self.number), self.number)
        self.number += 1

    def _arrived(
        self,
        number: int,
        job: JobReturn,
        shown: str,
        done: Callable[[int, RunResult], None],
        progress: Progress,
    ) -> None:
        flight = self._flights.pop(number)
        progress.print(shown)
        if job.status == JobStatus.UNKNOWN:
            return  # It was stopped: there is nothing to tell of it.
        self.returns.append([job])
        points = points_of(flight.pack, job)
        again: Batch = []
        if type(raised(job)).__name__ in DEATHS:
            for place, planned in flight.pack:
                run = self._bury_one(planned)
                if run is not None:
                    points[place] = RunResult.of_record(run, planned=planned)  # Only its answer was lost.
                elif flight.attempt < self.options.retries and not self.stopped:
                    progress.print(f"           a worker died; again  {' '.join(planned.overrides)}")
                    self._tell(flight.trial, None)
                    again.append((place, self._afresh(planned)))
                    del points[place]
        if again:
            self._again.append((again, flight.attempt + 1))
        for place, point in points.items():
            self._tell(flight.trial, point)
            self._told.add(str(point.values.get("run_id", "")))
            done(place, point)
        self.stopped |= self.options.fail_fast and any(each.status == FAILED for each in points.values())

    def _tell(self, trial: int | None, point: RunResult | None) -> None:
        if trial is not None and self.study is not None:
            values = None if point is None else point.numbers(self.wanted)
            self.study.tell(trial, values, pruned=point is not None and point.status == PRUNED)

    def _bury_one(self, planned: PlannedRun) -> RunRecord | None:
        """The run of a point whose worker died, where MLflow has it as finished; else it is ended there."""
        while self.store is not None and self.parent is not None:
            mine = [
                run
                for run in runs(self.store, self.parent)
                if (run.tags.get(Tag.POINT), run.tags.get(Tag.CONFIG_HASH)) == (planned.digest, planned.hash)
                and run.id not in self._told
            ]
            finished = next((run for run in mine if run.status == Status.FINISHED), None)
            if finished is not None:
                return finished
            if not any(_alive(run) for run in mine):
                for run in mine:
                    if run.status == Status.RUNNING:
                        resume.end(self.store, run.id)
                if mine:
                    resume.supersede(self.store, resume.PreviousSweep(mine[0], mine), [planned])
                return None
            time.sleep(0.5)  # It is the way to it that was lost, not the worker.
        return None

    def _end_the_dead(self) -> None:
        """What is RUNNING in MLflow without a process, as one killed before it said which point it is, is ended."""
        if self.store is None or self.parent is None:
            return
        for run in runs(self.store, self.parent):
            if run.status == Status.RUNNING and not _alive(run):
                resume.end(self.store, run.id)


def _alive(run: RunRecord) -> bool:
    return run.status == Status.RUNNING and is_running(Path(run.tags.get(Tag.FOLDER, "/nowhere")))
