"""Launchers as the engine sees them: jobs are submitted, and handed back as they end."""

from __future__ import annotations

import contextlib
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, cast

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher

#: Raises LauncherError or TrackingError in a worker that cannot run the jobs.
Check = Callable[[], None]

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


@dataclass(frozen=True)
class EndedJob:
    """A job that has ended: what it returned, and what it printed."""

    number: int
    job: JobReturn
    printed: str = ""

    @property
    def error(self) -> object | None:
        """The error that the job ended with."""
        if self.job.status == JobStatus.COMPLETED:
            return None
        # `return_value` would raise the error, and print it.
        return cast("object", self.job._return_value)  # pyright: ignore[reportPrivateUsage]

    @property
    def worker_died(self) -> bool:
        """Whether it was lost with its worker."""
        return type(self.error).__name__ in DEATHS


class AsyncLauncher(ABC):
    """A launcher that is handed jobs one by one, and hands back each as it ends."""

    #: Whether `ended` returns once all jobs have ended.
    blocking: ClassVar[bool] = False
    #: Whether jobs run in this process, one after the other.
    in_process: bool = False

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
        """The number of jobs that can run at once."""

    @abstractmethod
    def submit(self, overrides: list[str], number: int) -> None:
        """Start a job."""

    @abstractmethod
    def ended(self, timeout: float = 0.2) -> list[EndedJob]:
        """Return the jobs that have ended since the last call."""

    @abstractmethod
    def stop(self) -> list[EndedJob]:
        """Stop all jobs. Return those that ended by themselves."""


class BatchLauncher(AsyncLauncher):
    """Adapt a launcher of Hydra's, which runs a batch of jobs and returns when all of them have ended."""

    blocking = True

    def __init__(self, launcher: Launcher) -> None:
        self.launcher = launcher
        self.in_process = type(launcher).__name__ == "BasicLauncher"
        self._batch: list[tuple[int, list[str]]] = []

    def at_work(
        self, most: int | None, check: Check | None = None, check_cluster: Check | None = None
    ) -> contextlib.AbstractContextManager[None]:
        """Do nothing: the launcher starts its workers with each batch."""
        return contextlib.nullcontext()

    @property
    def width(self) -> int:
        """The size of a batch, which has no limit."""
        return sys.maxsize

    def submit(self, overrides: list[str], number: int) -> None:
        """Add a job to the batch."""
        self._batch.append((number, overrides))

    def ended(self, timeout: float = 0.2) -> list[EndedJob]:
        """Run the batch. An error that ends the launcher because a worker died is that of each job."""
        batch, self._batch = self._batch, []
        try:
            jobs = self.launcher.launch([overrides for _, overrides in batch], initial_job_idx=batch[0][0])
        except Exception as error:
            if type(error).__name__ not in DEATHS:
                raise
            jobs = [JobReturn(status=JobStatus.FAILED, _return_value=error) for _ in batch]
        return [EndedJob(number, job) for (number, _), job in zip(batch, jobs, strict=True)]

    def stop(self) -> list[EndedJob]:
        """Forget the batch: nothing is running between two calls."""
        self._batch = []
        return []
