"""State of a process that its jobs share: plugins, loaded datasets, open stores."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backproof.app.config import Settings, settings
from backproof.contracts.errors import TrackingError
from backproof.data import SplitData
from backproof.discovery.guard import guarded
from backproof.discovery.registry import Registry, registry
from backproof.experiment.experiment import PreparedExperiment
from backproof.experiment.run import Result
from backproof.netcheck.report import NetworkReport
from backproof.tracking import Starter, Store, TrackingOptions
from backproof.tracking.recorder import Recording


@dataclass(frozen=True)
class PreparedRun:
    """A run that can start: its settings, its experiment with data and network, and the open store."""

    settings: Settings
    prepared: PreparedExperiment
    store: Store | None


@dataclass
class Session:
    """The state of one command. The worker process of a launcher creates one at its first job."""

    plugins: Registry = dataclasses.field(default_factory=registry)
    jobs: int | None = None  # the number of points of the sweep, if known in this process
    done: int = 0  # the number of them that have ended in this process
    outcome: Any = None  # the result of the sweep
    sweep: tuple[Store, str] | None = None  # the recorded sweep: its store and the parent run's id
    single_run: PreparedRun | None = None  # about to start
    recorded: tuple[TrackingOptions, str] | None = (
        None  # where the runs were recorded: options and outputs folder
    )
    writer: Starter | None = None  # the separate process that writes the runs of this one
    lost: dict[str, TrackingError] = dataclasses.field(
        default_factory=dict[str, TrackingError]
    )  # by run folder
    _unsettled: Sequence[Recording] = ()
    #: Points that were built before they run, by the digest of their overrides.
    _kept: dict[str, tuple[Settings, PreparedExperiment]] = dataclasses.field(
        default_factory=dict[str, tuple[Settings, PreparedExperiment]]
    )
    _data: dict[Any, SplitData] = dataclasses.field(default_factory=dict[Any, SplitData])
    _stores: dict[tuple[Any, ...], Store] = dataclasses.field(default_factory=dict[tuple[Any, ...], Store])

    def prepare(self, config: Any) -> tuple[Settings, PreparedExperiment]:
        """Return the settings of a composed config, and its experiment with data and network.

        A dataset is loaded once.
        """
        with guarded():
            chosen = settings(config, self.plugins)
            experiment = chosen.experiment
            key = (type(experiment.dataset), experiment.dataset, experiment.data)
            if key not in self._data:
                self._data[key] = experiment.load()
            return chosen, experiment.prepare(self.plugins, self._data[key])

    def prepare_run(self, config: Any, folder: Path) -> PreparedRun:
        """Build a composed config and open its store, if its run can write into `folder`.

        Raise for whatever is wrong with the config.
        """
        chosen, prepared = self.prepare(config)
        writable(folder)
        return PreparedRun(chosen, prepared, self.store(chosen.tracking, chosen.outputs))

    def cache(self, point: str, chosen: Settings, prepared: PreparedExperiment) -> None:
        """Keep a point that was built, without its arrays, which are quick to rebuild."""
        self._kept[point] = chosen, dataclasses.replace(prepared)

    def pop_cached(self, point: str) -> tuple[Settings, PreparedExperiment] | None:
        """Return the point that was kept under this digest, and forget it; None if there is none."""
        return self._kept.pop(point, None)

    def wait_until_written(self, recordings: Sequence[Recording] = ()) -> None:
        """Wait until the runs of the previous job are recorded; the next call waits for these `recordings`.

        So a writer process has the time of one job to write them.
        """
        previous, self._unsettled = self._unsettled, recordings
        for recording in previous:
            try:
                if recording.run is not None:
                    recording.run.wait_until_written()
            except TrackingError as error:
                self.lost[str(recording.folder.absolute())] = error

    def store(self, tracking: TrackingOptions, outputs: str) -> Store | None:
        """Return the store, opened once; None if nothing is recorded.

        Raise TrackingError if the store or the outputs folder cannot be written.
        """
        folder = Path(outputs).absolute()
        writable(folder)
        if not tracking.enabled:
            return None
        key = (tracking.uri, tracking.experiment, folder)
        if key not in self._stores:
            self._stores[key] = Store.open(tracking, folder)
            self.recorded = tracking, outputs
        return self._stores[key]


def writable(folder: Path) -> None:
    """Raise TrackingError unless the folder can be written, or created. It is not created."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        if not existing.is_dir():
            raise NotADirectoryError(f"{existing} is a file")
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise TrackingError(
            f"the folder {folder} cannot be written: {error.strerror or error}\nName another: outputs=DIR"
        ) from None


def processors() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_current: Session | None = None


def get_session() -> Session:
    """Return the session of this process, for objects that Hydra creates and calls: sweeper, callback, job."""
    global _current
    if _current is None:
        _current = Session()
    return _current


def set_session(session: Session) -> Session:
    """Make this the session of the process."""
    global _current
    _current = session
    return session


class NullObserver:
    """An observer that shows nothing: a point of a sweep gets one line when it has ended."""

    def on_start(self, prepared: PreparedExperiment) -> None: ...
    def on_check(self, report: NetworkReport) -> None: ...
    def on_epoch(self, epoch: int, metrics: dict[str, float]) -> None: ...
    def on_end(self, outcome: Result | Exception) -> None: ...
    def close(self) -> None: ...
