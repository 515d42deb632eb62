"""The launcher interface of the engine: jobs are submitted, and returned as they end."""

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

#: The exceptions of Hydra's launchers when a worker process has died; by name, as none need be installed.
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
    """A job that has ended: its result and its output."""

    number: int
    job: JobReturn
    printed: str = ""

    @property
    def error(self) -> object | None:
        """The error that ended the job, if any."""
        if self.job.status == JobStatus.COMPLETED:
            return None
        # `return_value` would raise the error, and print it.
        return cast("object", self.job._return_value)  # pyright: ignore[reportPrivateUsage]

    @property
    def worker_died(self) -> bool:
        """Whether the job was lost because its worker died."""
        return type(self.error).__name__ in DEATHS


class AsyncLauncher(ABC):
    """A launcher that receives jobs one by one, and returns each as it ends."""

    #: Whether `ended` returns only when all jobs have ended.
    blocking: ClassVar[bool] = False
    #: Whether jobs run in this process, one at a time.
    in_process: bool = False

    @abstractmethod
    def at_work(
        self, most: int | None, check: Check | None = None, check_cluster: Check | None = None
    ) -> contextlib.AbstractContextManager[None]:
        """Provide workers for at most `most` jobs, if that is known. Raise LauncherError if there are none.

        `check` is called in each worker process before its first job, `check_cluster` in workers that exist
        already before any job.
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
    """Adapt a Hydra launcher, which runs a batch of jobs and returns when all of them have ended."""

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
        """The size of a batch, which is unlimited."""
        return sys.maxsize

    def submit(self, overrides: list[str], number: int) -> None:
        """Add a job to the batch."""
        self._batch.append((number, overrides))

    def ended(self, timeout: float = 0.2) -> list[EndedJob]:
        """Run the batch. If the launcher fails because a worker died, every job of the batch gets its error."""
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
