"""Find an interrupted sweep in MLflow and continue it. Everything is read through MLflow's API, so that the store
may be a file or a server; a run is recognized by the hash of its config."""

from __future__ import annotations

import contextlib
import socket
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from backproof.app.sweep_options import AUTO, LAST, OFF
from backproof.contracts.errors import InvalidValue, PluginError, TrackingError
from backproof.discovery.registry import Registry
from backproof.sweeps.locks import is_running, is_sweeping
from backproof.sweeps.planned import PlannedRun
from backproof.tracking import Store
from backproof.tracking.query import RunRecord, find, get, runs
from backproof.tracking.run import recording_fails
from backproof.tracking.schema import SWEEP, Status, Tag


@dataclass(frozen=True)
class PreviousSweep:
    """A recorded sweep and its runs."""

    parent: RunRecord
    children: list[RunRecord]

    @property
    def folder(self) -> Path | None:
        """The sweep's folder, if it exists on this machine below the outputs folder."""
        folder = self.parent.folder
        return folder if folder is not None and folder.is_dir() else None

    @property
    def alive(self) -> bool:
        """Whether it is running, or may be: processes of another machine cannot be seen."""
        if self.parent.status != Status.RUNNING:
            return False
        if self.locked:
            return True
        return self.parent.tags.get(Tag.HOST, socket.gethostname()) != socket.gethostname()

    @property
    def locked(self) -> bool:
        """Whether a process on this machine runs it, in whatever folder."""
        return is_sweeping(Path(self.parent.tags.get(Tag.FOLDER, "/nowhere")))

    @property
    def finished(self) -> list[RunRecord]:
        return [child for child in self.children if _counts(child)]

    def other_code(self, plugins: Registry) -> dict[str, list[str]]:
        """Return the finished runs that were made with other code, by id, with the plugins that have changed."""
        changed = {
            child.id: [name for name, digest in child.code.items() if digest != _digest(plugins, name)]
            for child in self.finished
        }
        return {run: names for run, names in changed.items() if names}

    def without(self, ids: Collection[str]) -> PreviousSweep:
        """Return the sweep without some of its runs."""
        return PreviousSweep(self.parent, [child for child in self.children if child.id not in ids])


def _counts(run: RunRecord) -> bool:
    """Return whether a run is done, pruned or not, and was not run again since."""
    return run.status == Status.FINISHED and not run.superseded


def _digest(plugins: Registry, name: str) -> str:
    """Return the digest of a plugin's file, by `kind name`; empty if it is not installed."""
    kind, _, plugin = name.partition(" ")
    try:
        return plugins.entry(kind, plugin).digest
    except PluginError:
        return ""


def match(planned: Sequence[PlannedRun], records: Iterable[RunRecord]) -> dict[int, RunRecord]:
    """Return the finished run of each planned run that has one, by index. No run is used twice.

    Runs started with exactly the same overrides are matched first, since two points may have equal configs.
    """
    by_overrides: dict[tuple[str, str], list[RunRecord]] = defaultdict(list)
    for record in records:
        if _counts(record):
            by_overrides[record.tags.get(Tag.CONFIG_HASH, ""), record.tags.get(Tag.POINT, "")].append(record)
    matched: dict[int, RunRecord] = {}
    for run in planned:
        if same := by_overrides[run.hash, run.digest]:
            matched[run.index] = same.pop()
    by_config: dict[str, list[RunRecord]] = defaultdict(list)
    for (config_hash, _), same in by_overrides.items():
        by_config[config_hash] += same
    for run in planned:
        if run.index not in matched and by_config[run.hash]:
            matched[run.index] = by_config[run.hash].pop()
    return matched


def find_previous(
    store: Store,
    option: str,
    sweep_hash: str,
    complete: Callable[[PreviousSweep], bool],
    notify: Callable[[str], None],
) -> PreviousSweep | None:
    """Return the sweep to be continued, or None for a new one.

    `auto` takes the newest of the same points, unless it is `complete` or still running. Raise InvalidValue for a
    sweep that is named and cannot be continued.
    """
    if option == OFF:
        return None
    if option == AUTO:
        same = runs(store, sweep_hash, Tag.SWEEP_HASH)
        if not same:
            return None
        previous = PreviousSweep(same[0], runs(store, same[0].id))
        if previous.alive:
            host = previous.parent.tags.get(Tag.HOST, "this machine")
            notify(
                f"{previous.parent.name} of the same points may still be running on {host}; "
                f"sweep.resume={previous.parent.id[:8]} takes it over"
            )
            return None
        return None if complete(previous) else previous
    parent = _named(store, option)
    if not parent.is_sweep:
        raise InvalidValue("sweep.resume", option, "the name or id of a sweep; this is a single run")
    previous = PreviousSweep(parent, runs(store, parent.id))
    if previous.alive and previous.locked:
        raise InvalidValue("sweep.resume", option, "a sweep that has ended; this one is at work")
    return previous


def _named(store: Store, name: str) -> RunRecord:
    try:
        return find(runs(store, SWEEP, Tag.KIND), name)
    except TrackingError as error:
        if name != LAST and len(name) == 32:
            with contextlib.suppress(TrackingError):
                return get(store, name)  # A sweep of another experiment.
        raise InvalidValue(
            "sweep.resume", name, f"auto, off, last, or the name or id of a sweep\n{error}"
        ) from None


def is_alive(run: RunRecord) -> bool:
    """Return whether a run has a process on this machine."""
    return run.status == Status.RUNNING and is_running(Path(run.tags.get(Tag.FOLDER, "/nowhere")))


def end_dead(store: Store, records: Iterable[RunRecord]) -> bool:
    """Mark runs that are RUNNING in MLflow but have no process as KILLED. Return whether there were any."""
    dead = [run for run in records if run.status == Status.RUNNING and not is_alive(run)]
    for run in dead:
        with recording_fails(store.uri):
            store.client.set_terminated(run.id, Status.KILLED)
    return bool(dead)


def settled_runs(
    store: Store,
    parent_id: str,
    selects: Callable[[RunRecord], bool] = lambda _: True,
    on_wait: Callable[[int], None] = lambda _: None,
) -> list[RunRecord]:
    """Return a sweep's selected runs once none has a process any more; those that died are marked as KILLED.

    `on_wait` is called once with the number of runs that are waited for.
    """
    waiting = False
    while True:
        records = [run for run in runs(store, parent_id) if selects(run)]
        alive = sum(map(is_alive, records))
        if not alive:
            break
        if not waiting:
            on_wait(alive)
            waiting = True
        time.sleep(0.5)
    if end_dead(store, records):
        records = [run for run in runs(store, parent_id) if selects(run)]
    return records


def supersede(store: Store, children: Sequence[RunRecord], again: Sequence[PlannedRun]) -> None:
    """Mark the failed and killed runs that are about to be run again, so that they do not count twice."""
    hashes = {run.hash for run in again}
    for child in children:
        redone = child.tags.get(Tag.CONFIG_HASH, "") in hashes or Tag.CONFIG_HASH not in child.tags
        if child.status != Status.FINISHED and redone and not child.superseded:
            mark_superseded(store, [child.id])


def mark_superseded(store: Store, ids: Iterable[str]) -> None:
    """Mark runs that do not count any more."""
    for run in ids:
        with recording_fails(store.uri):
            store.client.set_tag(run, Tag.SUPERSEDED, "true")


def reopen(store: Store, previous: PreviousSweep, tags: dict[str, str]) -> None:
    """Set the parent run to RUNNING again, and remove the tags of its last end."""
    with recording_fails(store.uri):
        store.client.update_run(previous.parent.id, status=Status.RUNNING)
        for tag in (Tag.FAILED, Tag.ERROR):
            if tag in previous.parent.tags:
                store.client.delete_tag(previous.parent.id, tag)
        for key, value in tags.items():
            store.client.set_tag(previous.parent.id, key, value)


def renumber(store: Store, matched: Mapping[int, RunRecord], planned: Sequence[PlannedRun]) -> None:
    """Update the positions of runs that were recorded with other ones."""
    for index, run in matched.items():
        tags = {Tag.INDEX: str(index), Tag.SEEDS: str(planned[index].seeds)}
        for key, value in tags.items():
            if run.tags.get(key, "1" if key == Tag.SEEDS else "") != value:
                with recording_fails(store.uri):
                    store.client.set_tag(run.id, key, value)


def has_model(store: Store, run_id: str) -> bool:
    """Return whether a model was logged for the run."""
    with recording_fails(store.uri):
        outputs = store.client.get_run(run_id).outputs
    return bool(outputs and outputs.model_outputs)
