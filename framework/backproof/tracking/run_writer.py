"""What a run is written to, whichever process writes it."""

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
    """A run that is being recorded. `with sink:` ends it, with the status that fits how the block was left."""

    finished = False

    @property
    @abstractmethod
    def id(self) -> str:
        """The run's id in MLflow."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What the run is called."""

    @abstractmethod
    def metrics(self, values: Mapping[str, float], step: int, at: int | None = None) -> None:
        """Numbers of one epoch, which were known `at` milliseconds after 1970; now, if nothing is said."""

    @abstractmethod
    def tags(self, values: Mapping[str, str]) -> None:
        """Tags, in addition to those there are."""

    @abstractmethod
    def rename(self, name: str) -> None:
        """Give the run another name."""

    @abstractmethod
    def dataset(
        self, name: str, digest: str, source: Mapping[str, Any], profile: Mapping[str, Any], context: str
    ) -> None:
        """The dataset that was used, for `context` (as train or test)."""

    @abstractmethod
    def folder(self, local: Path, folder: str | None = None) -> None:
        """All files of a local folder as artifacts, in a folder of the artifacts."""

    @abstractmethod
    def model(self, folder: Path) -> str:
        """Log the network that `model_file.save` wrote into `folder` as the run's model; its id in MLflow."""

    @abstractmethod
    def finish(self, status: str = FINISHED) -> None:
        """Write what is waiting and end the run as FINISHED, FAILED or KILLED; it is `finished` then."""

    @abstractmethod
    def wait_until_written(self) -> None:
        """Wait until all is written. Raises TrackingError where that failed."""

    def end(self, error: BaseException | None) -> None:
        """Finish with the status that fits the error that ended the run, or None, unless it is finished."""
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
            # The first error is the one to be told.
            error.add_note(f"The run could not be ended in MLflow either: {lost}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end(error)


class Starter(Protocol):
    """Where runs are begun."""

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
        # What a handler of SIGTERM or SIGINT that calls sys.exit gives.
        return KILLED if error.code in (130, 143) else FAILED
    if isinstance(error, KeyboardInterrupt | Terminated):
        return KILLED
    return FINISHED if error is None else FAILED
