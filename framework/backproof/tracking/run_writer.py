"""The interface to a run that is being recorded, whichever process writes it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from backproof.contracts.errors import TrackingError
from backproof.tracking.schema import Status, Tag
from backproof.tracking.signals import Terminated

FINISHED, FAILED, KILLED = Status.FINISHED, Status.FAILED, Status.KILLED


class RunWriter(ABC):
    """A run that is being recorded. Used in a `with`, it ends with the status that fits how the block was left."""

    finished = False

    @property
    @abstractmethod
    def id(self) -> str:
        """Return the run's id in MLflow."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Return the run's name."""

    @abstractmethod
    def metrics(self, values: Mapping[str, float], step: int, at: int | None = None) -> None:
        """Record the metrics of one epoch, with the time `at` in milliseconds since 1970 (default: now).

        NaN is stored as such. Infinite values are left out: MLflow would store 1.8e308 in their place.
        """

    @abstractmethod
    def tags(self, values: Mapping[str, str]) -> None:
        """Add tags; they are written with the next metrics."""

    @abstractmethod
    def rename(self, name: str) -> None:
        """Rename the run."""

    @abstractmethod
    def dataset(
        self, name: str, digest: str, source: Mapping[str, Any], profile: Mapping[str, Any], context: str
    ) -> None:
        """Record the dataset, used in a `context` such as train or test."""

    @abstractmethod
    def folder(self, local: Path, folder: str | None = None) -> None:
        """Log all files of a local folder as artifacts, below `folder`."""

    @abstractmethod
    def model(self, folder: Path) -> str:
        """Log the network that `model_io.save` wrote into `folder` as the run's model. Return the model's id.

        `mlflow.pyfunc.load_model("runs:/RUN_ID/model")` loads it.
        """

    @abstractmethod
    def finish(self, status: str = FINISHED) -> None:
        """Write buffered metrics and end the run as FINISHED, FAILED or KILLED.

        A run whose last metrics cannot be written ends as FAILED. Raise TrackingError if that happens.
        """

    @abstractmethod
    def wait_until_written(self) -> None:
        """Wait until the run is written, if it is finished. Raise TrackingError if it could not be written."""

    def end(self, error: BaseException | None) -> None:
        """Finish the run, unless it is finished, with the status that fits `error`, which ended it."""
        if self.finished:
            return
        status = _status(error)
        try:
            if error is not None and status == FAILED:
                self.tags({Tag.ERROR: f"{type(error).__name__}: {error}"})
            self.finish(status)
        except TrackingError as lost:
            if error is None:
                raise
            # The first error is the one to report.
            error.add_note(f"The run could not be ended in MLflow either: {lost}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end(error)


class Starter(Protocol):
    """Starts runs: a store, or the process that writes to one."""

    def start(
        self,
        run_name: str,
        params: dict[str, Any],
        tags: dict[str, str],
        parent: str | None = None,
        links: Mapping[str, str] | None = None,
    ) -> RunWriter:
        """Start a run; see `Store.start`."""
        ...


def _status(error: BaseException | None) -> str:
    if isinstance(error, SystemExit):
        if not error.code:
            return FINISHED
        # The exit codes of a handler of SIGTERM or SIGINT that calls sys.exit.
        return KILLED if error.code in (130, 143) else FAILED
    if isinstance(error, KeyboardInterrupt | Terminated):
        return KILLED
    return FINISHED if error is None else FAILED
