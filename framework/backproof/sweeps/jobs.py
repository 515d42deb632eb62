"""The points of a sweep as its jobs run them: alone, or as one stack, each with a folder and a run of its own."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from backproof.app.config import Settings
from backproof.app.session import Session, get_session
from backproof.contracts.errors import TrackingError
from backproof.experiment.experiment import PreparedExperiment
from backproof.experiment.run import Result, run_stack
from backproof.gradcheck.report import UNTESTED
from backproof.nn.training import Pruned
from backproof.render.terminal import console, short_result
from backproof.sweeps import yaml_file
from backproof.sweeps.compose import ConfigTemplate
from backproof.sweeps.locks import running
from backproof.sweeps.planned import digest
from backproof.sweeps.pruning import observer
from backproof.tracking import environment
from backproof.tracking.recorder import Recording, user_overrides

#: What the sweeper is told of a point, in plain values, and the error that ended it.
Told = tuple[dict[str, Any], Exception | None]


@dataclass(frozen=True)
class Member:
    """A point of a stack: its overrides, those in which the points differ, its run's tags and its name."""

    overrides: list[str]
    values: list[str]
    tags: dict[str, str]
    name: str


@dataclass(frozen=True)
class Stack:
    """Points that a job runs together, and whether the first of them is checked entry by entry."""

    members: list[Member]
    whole: bool

    def write(self, file: Path) -> None:
        """Write what the job has to know."""
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(dataclasses.asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, file: Path) -> Stack:
        """What `write` has written."""
        values = json.loads(file.read_text())
        return cls([Member(**each) for each in values["members"]], values["whole"])


@dataclass(frozen=True)
class Job:
    """A point to be run: what it is built of, its folder, and the overrides that it came of."""

    chosen: Settings
    prepared: PreparedExperiment
    folder: Path
    overrides: Sequence[str]


def sweep_job(config: Any) -> dict[str, Any]:
    """Run a job of a sweep, in this process or in a launcher's worker: one point, or several as a stack.

    Hydra calls it; it returns what the sweeper needs to know.
    """
    session, context = get_session(), HydraConfig.get()
    folder = Path(context.runtime.output_dir)
    if config.sweep.stacked is not None:
        return {"points": [told for told, _ in run_stacked(session, config, folder)]}
    job = Job(*session.prepare(config), folder, context.overrides.task)
    told, error = run_points(session, [job])[0]
    if error is not None:
        raise error
    return told


def run_stacked(session: Session, config: DictConfig, folder: Path) -> list[Told]:
    """Run the points of a job that has several, in numbered folders below its own."""
    stack = Stack.read(Path(config.sweep.stacked))
    digits = len(str(len(stack.members) - 1))
    tags = dict(config.tracking.tags)
    shared = copy.deepcopy(config)
    shared.sweep.stacked = None
    values = ConfigTemplate(shared)
    jobs: list[Job] = []
    for number, member in enumerate(stack.members):
        own = values.at(member.values)
        own.tracking.tags, own.tracking.run_name = {**tags, **member.tags}, member.name or None
        chosen, prepared = session.pop_cached(digest(member.overrides)) or session.prepare(own)
        # What was built before the sweep had begun knows nothing of its parent.
        tracking = dataclasses.replace(
            chosen.tracking,
            parent=own.tracking.parent,
            tags=dict(own.tracking.tags),
            run_name=own.tracking.run_name,
        )
        place = folder / f"{number:0{digits}}"
        yaml_file.write(place / "config" / "config.yaml", OmegaConf.to_container(own, resolve=False))
        yaml_file.write(place / "config" / "overrides.yaml", member.overrides)
        jobs.append(Job(dataclasses.replace(chosen, tracking=tracking), prepared, place, member.overrides))
    return run_points(session, jobs, whole=stack.whole)


def run_points(session: Session, jobs: Sequence[Job], *, whole: bool = True) -> list[Told]:
    """Run points, as one stack where they are several: what the sweeper is told of each, and its error."""
    recordings: list[Recording] = []
    surroundings = environment()
    with contextlib.ExitStack() as stack:
        stack.callback(session.wait_until_written, recordings)
        for job in jobs:
            stack.enter_context(running(job.folder))
            # Of all points the sweeper adds the model and the pictures of the best; the weights of each are kept.
            tracking = dataclasses.replace(job.chosen.tracking, model=False, plots=False)
            store = session.store(tracking, job.chosen.outputs)
            shown = observer(job.chosen.sweep, job.prepared.objective[0])
            # All of them together write about as often as one alone.
            starter = store and (session.writer or store.slower(len(jobs)))
            recording = Recording(
                job.prepared, tracking, starter, job.folder, job.overrides, shown, surroundings
            )
            recordings.append(stack.enter_context(recording))
        outcomes = run_stack([each.prepared for each in recordings], recordings, every_entry=whole)
    told: list[Told] = []
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
        "run_id": "",
    }
    if recording.run is not None:
        with contextlib.suppress(TrackingError):  # A run that could not be begun; `Session.lost` has it.
            told["run_id"] = recording.run.id
    if isinstance(outcome, Pruned):
        return told | {"metrics": outcome.metrics, "pruned": True, "seconds": ""}
    if isinstance(outcome, Exception):
        return told | {"error": f"{type(outcome).__name__}: {str(outcome).partition(chr(10))[0]}"}
    report = outcome.report
    passed = None if report is None else UNTESTED if report.status == UNTESTED else report.passed
    return told | {"metrics": outcome.summary, "seconds": outcome.seconds, "gradcheck": passed}


def _show(session: Session, recording: Recording, outcome: Result | Exception) -> None:
    """A line for a point that has ended."""
    out, overrides = console(), recording.tracking.run_name or " ".join(user_overrides(recording.overrides))
    label = f"{session.done}/{session.jobs}" if session.jobs else ""
    if isinstance(outcome, Pruned):
        out.print(f"  {label:>7}  [dim]pruned[/] after epoch {outcome.epoch}  {overrides}")
    elif isinstance(outcome, Exception):
        first = str(outcome).partition("\n")[0]
        out.print(f"  {label:>7}  [red]failed[/]  {overrides}\n           {first}")
    else:
        out.print(f"  {label:>7}  {short_result(outcome)}  {overrides}")
