"""What earlier sweeps have left in the store, so that one that was broken off is continued.

Everything is read through MLflow's API, from a file or from a server; a point is known by the hash of its config.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backproof.app.sweep_options import AUTO, LAST, OFF
from backproof.contracts.errors import InvalidValue, TrackingError
from backproof.sweeps.locks import is_running, is_sweeping
from backproof.sweeps.planned import PlannedRun
from backproof.tracking import Store
from backproof.tracking.query import RunRecord, find, get, recorded, runs
from backproof.tracking.run import recording_fails
from backproof.tracking.schema import SWEEP, Status, Tag


def fingerprint(texts: Sequence[str]) -> str:
    """Of the points of a sweep in any order: sixteen hexadecimal digits."""
    return hashlib.sha256("\n".join(sorted(texts)).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class PreviousSweep:
    """A sweep that is there already, and the runs under it."""

    parent: RunRecord
    children: list[RunRecord]

    @property
    def folder(self) -> Path | None:
        """Where it wrote, if that is a folder of this machine."""
        folder = self.parent.tags.get(Tag.FOLDER)
        return Path(folder) if folder and Path(folder).is_dir() else None

    @property
    def alive(self) -> bool:
        """Whether it is still at work, or may be: what another machine does cannot be seen."""
        if self.parent.status != Status.RUNNING:
            return False
        if self.folder is not None and is_sweeping(self.folder):
            return True
        return self.parent.tags.get(Tag.HOST, socket.gethostname()) != socket.gethostname()

    @property
    def finished(self) -> list[RunRecord]:
        return [child for child in self.children if child.status == Status.FINISHED]

    def match(self, planned: Sequence[PlannedRun]) -> dict[int, RunRecord]:
        """The finished run of each point that has one, by the point's place. No run is taken for two points.

        Those come first that were started with the very same overrides: two points may make one config.
        """
        left: dict[tuple[str, str], list[RunRecord]] = defaultdict(list)
        for child in self.finished:
            left[child.tags.get(Tag.CONFIG_HASH, ""), child.tags.get(Tag.POINT, "")].append(child)
        found: dict[int, RunRecord] = {}
        for i, point in enumerate(planned):
            if same := left[point.hash, point.digest]:
                found[i] = same.pop()
        others: dict[str, list[RunRecord]] = defaultdict(list)
        for (config, _), same in left.items():
            others[config] += same
        for i, point in enumerate(planned):
            if i not in found and others[point.hash]:
                found[i] = others[point.hash].pop()
        return found


def sweeps(store: Store, hash_: str | None = None) -> list[RunRecord]:
    """The sweeps of the experiment, the newest first; with a hash those of the same points."""
    chosen = f"tags.`{Tag.SWEEP_HASH}` = '{hash_}'" if hash_ else f"tags.`{Tag.KIND}` = '{SWEEP}'"
    with recording_fails(store.uri):
        page = store.client.search_runs(
            [store.experiment_id], chosen, max_results=1000, order_by=["start_time DESC"]
        )
    return [recorded(run) for run in page]


def earlier(
    store: Store, given: str, hash_: str, complete: Callable[[PreviousSweep], bool], tell: Callable[[str], None]
) -> PreviousSweep | None:
    """The sweep that is to be continued, if one is.

    `auto` takes the newest of the same points, unless it is `complete` or still at work. Raises InvalidValue or
    AliveError for one that is named and cannot be continued.
    """
    if given == OFF:
        return None
    if given == AUTO:
        same = sweeps(store, hash_)
        if not same:
            return None
        found = PreviousSweep(same[0], runs(store, same[0].id))
        if found.alive:
            where = found.parent.tags.get(Tag.HOST, "this machine")
            tell(
                f"{found.parent.name} of the same points may still be at work on {where}; "
                f"sweep.resume={found.parent.id[:8]} takes it over"
            )
            return None
        return None if complete(found) else found
    parent = _named(store, given)
    if not parent.is_sweep:
        raise InvalidValue("sweep.resume", given, "the name or id of a sweep; this is a single run")
    found = PreviousSweep(parent, runs(store, parent.id))
    if found.folder is not None and found.alive and is_sweeping(found.folder):
        raise InvalidValue("sweep.resume", given, "a sweep that has ended; this one is at work")
    return found


def _named(store: Store, given: str) -> RunRecord:
    known = sweeps(store)
    try:
        return find(known, given)
    except TrackingError as error:
        if given != LAST and len(given) == 32:
            with contextlib.suppress(TrackingError):
                return get(store, given)  # A sweep of another experiment, or one of very many.
        raise InvalidValue(
            "sweep.resume", given, f"auto, off, last, or the name or id of a sweep\n{error}"
        ) from None


def finalize_dead_runs(store: Store, found: PreviousSweep, tell: Callable[[str], None]) -> PreviousSweep:
    """Wait for runs of the sweep that are still going on, and end in MLflow those that have died. The sweep as it
    is then."""
    told = False
    # Until now the process may have been at work that writes them.
    found = PreviousSweep(found.parent, runs(store, found.parent.id))
    while left := [each for each in found.children if each.status == Status.RUNNING]:
        alive = [each for each in left if is_running(Path(each.tags.get(Tag.FOLDER, "/nowhere")))]
        if not alive:
            for each in left:
                end(store, each.id)
            return PreviousSweep(found.parent, runs(store, found.parent.id))
        if not told:
            tell(f"waiting for {len(alive)} runs of {found.parent.name} that are still going on")
            told = True
        time.sleep(0.5)
        found = PreviousSweep(found.parent, runs(store, found.parent.id))
    return found


def end(store: Store, run_id: str) -> None:
    """A run whose process has died is Status.KILLED."""
    with recording_fails(store.uri):
        store.client.set_terminated(run_id, Status.KILLED)


def supersede(store: Store, found: PreviousSweep, again: Sequence[PlannedRun]) -> None:
    """Mark the runs that failed or were killed and are run again, so that they do not count twice."""
    hashes = {point.hash for point in again}
    for child in found.children:
        redone = child.tags.get(Tag.CONFIG_HASH, "") in hashes or Tag.CONFIG_HASH not in child.tags
        if child.status != Status.FINISHED and redone and Tag.SUPERSEDED not in child.tags:
            with recording_fails(store.uri):
                store.client.set_tag(child.id, Tag.SUPERSEDED, "true")


def reopen(store: Store, found: PreviousSweep, tags: dict[str, str]) -> None:
    """The parent is Status.RUNNING again, without what its last end has left."""
    with recording_fails(store.uri):
        store.client.update_run(found.parent.id, status=Status.RUNNING)
        for tag in (Tag.FAILED, Tag.ERROR):
            if tag in found.parent.tags:
                store.client.delete_tag(found.parent.id, tag)
        for key, value in tags.items():
            store.client.set_tag(found.parent.id, key, value)


def renumber(store: Store, matched: Mapping[int, RunRecord], planned: Sequence[PlannedRun]) -> None:
    """Update the positions of runs that an earlier sweep has recorded under others."""
    for index, run in matched.items():
        tags = {Tag.INDEX: str(planned[index].index), Tag.SEEDS: str(planned[index].seeds)}
        for key, value in tags.items():
            if run.tags.get(key, "1" if key == Tag.SEEDS else "") != value:
                with recording_fails(store.uri):
                    store.client.set_tag(run.id, key, value)


def params_of(run: RunRecord) -> dict[str, Any] | None:
    """The parameters of the trial that a run was; None for one that no sampler chose."""
    text = run.tags.get(Tag.TRIAL)
    return json.loads(text) if text else None


def has_model(store: Store, run_id: str) -> bool:
    """Whether a model was logged for the run."""
    with recording_fails(store.uri):
        outputs = store.client.get_run(run_id).outputs
    return bool(outputs and outputs.model_outputs)
