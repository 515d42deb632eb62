"""What the jobs of one process share: the plugins, datasets that are loaded, the store that is open."""

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
    """The state of one command. A worker process of a launcher makes its own when it gets a first job."""

    plugins: Registry = dataclasses.field(default_factory=registry)
    jobs: int | None = None  # points of the sweep that are to be run, where this process knows
    done: int = 0  # of them, in this process
    outcome: Any = None  # the result of the sweep
    sweep: tuple[Store, str] | None = None  # the recorded sweep: its store and the parent run's id
    single_run: PreparedRun | None = None  # that is about to start
    recorded: tuple[TrackingOptions, str] | None = None  # where runs are: the options and the outputs folder
    writer: Starter | None = None  # that writes the runs of this process, if it does not do so itself
    lost: dict[str, TrackingError] = dataclasses.field(
        default_factory=dict[str, TrackingError]
    )  # by run folder
    _unsettled: Sequence[Recording] = ()
    #: Points that are built before they run, by the digest of their overrides.
    _kept: dict[str, tuple[Settings, PreparedExperiment]] = dataclasses.field(
        default_factory=dict[str, tuple[Settings, PreparedExperiment]]
    )
    _data: dict[Any, SplitData] = dataclasses.field(default_factory=dict[Any, SplitData])
    _stores: dict[tuple[Any, ...], Store] = dataclasses.field(default_factory=dict[tuple[Any, ...], Store])

    def prepare(self, config: Any) -> tuple[Settings, PreparedExperiment]:
        """The settings of a composed config, and its experiment with data and network. A dataset is loaded once."""
        chosen = settings(config, self.plugins)
        experiment = chosen.experiment
        key = (type(experiment.dataset), experiment.dataset, experiment.data)
        if key not in self._data:
            self._data[key] = experiment.load()
        return chosen, experiment.prepare(self.plugins, self._data[key])

    def prepare_run(self, config: Any) -> PreparedRun:
        """Build a composed config and open its store. Raise for whatever is wrong with it."""
        chosen, prepared = self.prepare(config)
        return PreparedRun(chosen, prepared, self.store(chosen.tracking, chosen.outputs))

    def cache(self, point: str, chosen: Settings, prepared: PreparedExperiment) -> None:
        """A point that is built, until it is taken; without its arrays, which are quickly made again."""
        self._kept[point] = chosen, dataclasses.replace(prepared)

    def pop_cached(self, point: str) -> tuple[Settings, PreparedExperiment] | None:
        """The point that was kept under that digest; None where there is none."""
        return self._kept.pop(point, None)

    def wait_until_written(self, recordings: Sequence[Recording] = ()) -> None:
        """Wait until the runs of the job before are recorded. For those of this one the next call waits: a process
        that writes them has that long."""
        before, self._unsettled = self._unsettled, recordings
        for each in before:
            try:
                if each.run is not None:
                    each.run.wait_until_written()
            except TrackingError as error:
                self.lost[str(each.folder.absolute())] = error

    def store(self, tracking: TrackingOptions, outputs: str) -> Store | None:
        """The store, opened once; None where nothing is to be recorded. Raises TrackingError where it, or the
        outputs folder, cannot be written."""
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
    """Raise TrackingError unless the folder can be written, or made where it is not there yet. Nothing is left."""
    there = next(each for each in (folder, *folder.parents) if each.exists())
    try:
        if not there.is_dir():
            raise NotADirectoryError(f"{there} is a file")
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise TrackingError(
            f"the folder {folder} cannot be written: {error.strerror or error}\nName another: outputs=DIR"
        ) from None


def processors() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_current: Session | None = None


def get_session() -> Session:
    """The session of this process, made if there is none: Hydra builds sweepers and jobs out of reach of ours."""
    global _current
    if _current is None:
        _current = Session()
    return _current


def set_session(session: Session) -> Session:
    """Make it the session of this process."""
    global _current
    _current = session
    return session


class NullObserver:
    """An observer that shows nothing: a point of a sweep has a line when it is done."""

    def on_start(self, prepared: PreparedExperiment) -> None: ...
    def on_check(self, report: NetworkReport) -> None: ...
    def on_epoch(self, epoch: int, metrics: dict[str, float]) -> None: ...
    def on_end(self, outcome: Result | Exception) -> None: ...
    def close(self) -> None: ...
