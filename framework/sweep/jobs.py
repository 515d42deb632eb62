"""The points of a sweep as its jobs run them: alone, or as one stack, each with a folder and a run of its own."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from framework.recorder import Recording, given
from framework.running import Result, run_stack
from framework.show import console, short_result
from framework.sweep.alive import running
from framework.sweep.compose import with_values
from framework.sweep.pruning import observer
from framework.sweep.session import Session
from framework.training import Pruned


@dataclass(frozen=True)
class Member:
    """A point of a stack: its overrides, those in which the points differ, its run's tags and its name."""

    overrides: list[str]
    values: list[str]
    tags: dict[str, str]
    name: str


def write_stack(file: Path, members: Sequence[Member]) -> None:
    """Write what a job that runs several points has to know."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps([dataclasses.asdict(each) for each in members], indent=1) + "\n")


@dataclass(frozen=True)
class Job:
    """A point to be run: its config, its folder, and the overrides that it came of."""

    config: DictConfig
    folder: Path
    overrides: Sequence[str]


def stacked(config: DictConfig, folder: Path) -> list[Job] | None:
    """The points of a job that runs several, in numbered folders below its own; None for a job of one point."""
    file = config.sweep.stacked
    if file is None:
        return None
    members = [Member(**each) for each in json.loads(Path(file).read_text())]
    jobs: list[Job] = []
    for number, member in enumerate(members):
        own = with_values(config, member.values)
        own.sweep.stacked = None
        own.tracking.tags = member.tags
        own.tracking.run_name = member.name or None
        job = Job(own, folder / f"{number:0{len(str(len(members) - 1))}}", member.overrides)
        # As Hydra writes it for a job of its own.
        place = job.folder / "config"
        place.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(own, place / "config.yaml")
        OmegaConf.save(OmegaConf.create(list(member.overrides)), place / "overrides.yaml")
        jobs.append(job)
    return jobs


def run_points(session: Session, jobs: Sequence[Job]) -> list[tuple[dict[str, Any], Exception | None]]:
    """Run points, as one stack where they are several: what the sweeper is told of each, and its error."""
    recordings: list[Recording] = []
    with contextlib.ExitStack() as stack:
        for job in jobs:
            stack.enter_context(running(job.folder))
            chosen, prepared = session.prepare(job.config)
            # Of all points the sweeper adds the model and the pictures of the best; the weights of each are kept.
            tracking = dataclasses.replace(chosen.tracking, model=False, plots=False)
            store = session.store(tracking, chosen.outputs)
            if store is not None:
                # All of them together write about as often as one alone.
                store = dataclasses.replace(store, flush_seconds=store.flush_seconds * len(jobs))
            shown = observer(chosen.sweep, prepared.objective[0])
            recording = Recording(prepared, tracking, store, job.folder, job.overrides, shown)
            recordings.append(stack.enter_context(recording))
        outcomes = run_stack([each.prepared for each in recordings], recordings)
    told: list[tuple[dict[str, Any], Exception | None]] = []
    for recording, outcome in zip(recordings, outcomes, strict=True):
        session.done += 1
        _show(session, recording, outcome)
        told.append((_told(recording, outcome), _failure(outcome)))
    return told


def _failure(outcome: Result | Exception) -> Exception | None:
    return outcome if isinstance(outcome, Exception) and not isinstance(outcome, Pruned) else None


def _told(recording: Recording, outcome: Result | Exception) -> dict[str, Any]:
    """Plain values, which any launcher can bring back."""
    name, greater = recording.prepared.objective
    told: dict[str, Any] = {
        "objective": name,
        "greater": greater,
        "folder": str(recording.folder.absolute()),
        "run_id": "" if recording.run is None else recording.run.id,
    }
    if isinstance(outcome, Pruned):
        return told | {"metrics": outcome.metrics, "pruned": True, "seconds": ""}
    if isinstance(outcome, Exception):
        return told | {"error": f"{type(outcome).__name__}: {str(outcome).partition(chr(10))[0]}"}
    passed = None if outcome.report is None else outcome.report.passed
    return told | {"metrics": outcome.summary, "seconds": outcome.seconds, "gradcheck": passed}


def _show(session: Session, recording: Recording, outcome: Result | Exception) -> None:
    """A line for a point that has ended."""
    out, overrides = console(), recording.tracking.run_name or " ".join(given(recording.overrides))
    label = f"{session.done}/{session.jobs}" if session.jobs else ""
    if isinstance(outcome, Pruned):
        out.print(f"  {label:>7}  [dim]pruned[/] after epoch {outcome.epoch}  {overrides}")
    elif isinstance(outcome, Exception):
        first = str(outcome).partition("\n")[0]
        out.print(f"  {label:>7}  [red]failed[/]  {overrides}\n           {first}")
    else:
        out.print(f"  {label:>7}  {short_result(outcome)}  {overrides}")
