"""The jobs of a sweep: each runs one point, or a stack of them, with a folder and an MLflow run for every point."""

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
from backproof.app.session import NullObserver, Session, get_session
from backproof.app.sweep_options import SweepOptions
from backproof.contracts.errors import TrackingError
from backproof.experiment.experiment import PreparedExperiment
from backproof.experiment.run import Result, run_stack
from backproof.nn.training import Pruned
from backproof.render.terminal import console, short_result
from backproof.sweeps import yaml_file
from backproof.sweeps.compose import ConfigTemplate
from backproof.sweeps.locks import running
from backproof.sweeps.planned import Batch, PlannedRun, error_line, name_of
from backproof.sweeps.result import CHECKED
from backproof.tracking import environment
from backproof.tracking.recorder import Recording, user_overrides

#: What a job returns for a point, as plain values, and the error that ended it.
PointValues = tuple[dict[str, Any], Exception | None]


@dataclass(frozen=True)
class Stack:
    """Runs that one job trains together, and whether the gradients of the first are checked entry by entry."""

    runs: Batch
    swept: list[str]  # keys
    every_entry: bool

    def write(self, file: Path) -> None:
        """Write the stack as JSON, for its job."""
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(dataclasses.asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, file: Path) -> Stack:
        """Read what `write` has written."""
        values = json.loads(file.read_text())
        runs = [PlannedRun(**run) for run in values.pop("runs")]
        return cls(runs, **values)


@dataclass(frozen=True)
class PointJob:
    """A point that is ready to run."""

    settings: Settings
    prepared: PreparedExperiment
    folder: Path
    overrides: Sequence[str]


def sweep_job(config: Any) -> dict[str, Any]:
    """Run a job of a sweep, in this process or in a launcher's worker, and return its values for the sweeper.

    Hydra calls it with the composed config.
    """
    session, context = get_session(), HydraConfig.get()
    folder = Path(context.runtime.output_dir)
    if config.sweep.stacked is not None:
        return {"points": [values for values, _ in run_stacked(session, config, folder)]}
    job = PointJob(*session.prepare(config), folder, context.overrides.task)
    values, error = run_points(session, [job])[0]
    if error is not None:
        raise error
    return values


def run_stacked(session: Session, config: DictConfig, folder: Path) -> list[PointValues]:
    """Run the points of a stack, in numbered folders below the job's folder."""
    stack = Stack.read(Path(config.sweep.stacked))
    digits = len(str(len(stack.runs) - 1))
    tags = dict(config.tracking.tags)
    shared = copy.deepcopy(config)
    shared.sweep.stacked = None
    template = ConfigTemplate(shared)
    jobs: list[PointJob] = []
    for number, run in enumerate(stack.runs):
        point = template.at(run.values)
        point.tracking.tags = tags | (run.tags if point.tracking.parent else {})
        point.tracking.run_name = name_of(run.overrides, stack.swept) or None
        settings, prepared = session.pop_cached(run.digest) or session.prepare(point)
        # A cached point was built before the parent run existed.
        tracking = dataclasses.replace(
            settings.tracking,
            parent=point.tracking.parent,
            tags=dict(point.tracking.tags),
            run_name=point.tracking.run_name,
        )
        subfolder = folder / f"{number:0{digits}}"
        yaml_file.write(subfolder / "config" / "config.yaml", OmegaConf.to_container(point, resolve=False))
        yaml_file.write(subfolder / "config" / "overrides.yaml", run.overrides)
        settings = dataclasses.replace(settings, tracking=tracking)
        jobs.append(PointJob(settings, prepared, subfolder, run.overrides))
    return run_points(session, jobs, every_entry=stack.every_entry)


def run_points(session: Session, jobs: Sequence[PointJob], *, every_entry: bool = True) -> list[PointValues]:
    """Run points, several of them as one stack. Return the values for the sweeper and the error of each."""
    recordings: list[Recording] = []
    process_environment = environment()
    with contextlib.ExitStack() as stack:
        stack.callback(session.wait_until_written, recordings)
        for job in jobs:
            stack.enter_context(running(job.folder))
            # The sweeper logs model and plots of the best point only; the weights of every point are kept.
            tracking = dataclasses.replace(job.settings.tracking, model=False, plots=False)
            store = session.store(tracking, job.settings.outputs)
            observer = _observer(job.settings.sweep, job.prepared.objective[0])
            # The runs of a stack together write about as often as a single run.
            starter = store and (session.writer or store.slower(len(jobs)))
            recording = Recording(
                job.prepared, tracking, starter, job.folder, job.overrides, observer, process_environment
            )
            recordings.append(stack.enter_context(recording))
        outcomes = run_stack(
            [recording.prepared for recording in recordings], recordings, every_entry=every_entry
        )
    results: list[PointValues] = []
    for recording, outcome in zip(recordings, outcomes, strict=True):
        session.done += 1
        _print_line(session, recording, outcome)
        error = outcome if isinstance(outcome, Exception) and not isinstance(outcome, Pruned) else None
        results.append((_values(recording, outcome), error))
    return results


def _observer(options: SweepOptions, objective: str) -> NullObserver:
    """Return the observer of a point: one that prunes, if the sweep does."""
    if options.study is None:
        return NullObserver()
    from backproof.sweeps.search import Pruning

    return Pruning(options, objective)


def _values(recording: Recording, outcome: Result | Exception) -> dict[str, Any]:
    """Return plain values, which any launcher can transport."""
    values: dict[str, Any] = {"folder": str(recording.folder.absolute()), "run_id": ""}
    if recording.run is not None:
        with contextlib.suppress(TrackingError):  # The run could not be started, as `Session.lost` records.
            values["run_id"] = recording.run.id
    if isinstance(outcome, Pruned):
        return values | {"metrics": outcome.metrics, "pruned": True, "seconds": ""}
    if isinstance(outcome, Exception):
        return values | {"error": error_line(outcome)}
    report = outcome.report
    verdict = None if report is None else CHECKED[report.status]
    return values | {"metrics": outcome.summary, "seconds": outcome.seconds, "gradcheck": verdict}


def _print_line(session: Session, recording: Recording, outcome: Result | Exception) -> None:
    """Print one line for a point that has ended."""
    out, overrides = console(), recording.tracking.run_name or " ".join(user_overrides(recording.overrides))
    label = f"{session.done}/{session.jobs}" if session.jobs else ""
    if isinstance(outcome, Pruned):
        out.print(f"  {label:>7}  [dim]pruned[/] after epoch {outcome.epoch}  {overrides}")
    elif isinstance(outcome, Exception):
        first = str(outcome).partition("\n")[0]
        out.print(f"  {label:>7}  [red]failed[/]  {overrides}\n           {first}")
    else:
        out.print(f"  {label:>7}  {short_result(outcome)}  {overrides}")
