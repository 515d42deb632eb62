"""The jobs of a sweep: each runs one point, or a stack of them, with a folder and an MLflow run for every point."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from backproof.app.config import Settings
from backproof.app.session import NullObserver, Session, get_session
from backproof.contracts.errors import MismatchError, TrackingError
from backproof.experiment.experiment import PreparedExperiment
from backproof.experiment.run import Result, run_stack
from backproof.nn.training import Pruned
from backproof.render.terminal import console, short_result, styled
from backproof.sweeps import yaml_file
from backproof.sweeps.compose import ConfigTemplate
from backproof.sweeps.locks import running
from backproof.sweeps.planned import PlannedRun, error_line, name_of
from backproof.sweeps.planned_job import VARIABLE, PlannedJob
from backproof.sweeps.result import CHECKED
from backproof.tracking import TrackingOptions, environment
from backproof.tracking.recorder import Recording
from backproof.tracking.schema import Artifact

#: What a job returns for a point, as plain values, and the error that ended it.
PointValues = tuple[dict[str, Any], Exception | None]


@dataclass(frozen=True)
class PointJob:
    """A point that is ready to run."""

    settings: Settings
    prepared: PreparedExperiment
    folder: Path
    overrides: Sequence[str]
    observer: NullObserver = field(default_factory=NullObserver)


def sweep_job(config: Any) -> dict[str, Any]:
    """Run a job of a sweep, in this process or in a launcher's worker, and return its values for the sweeper.

    Hydra calls it with the composed config. Another sweeper than ours has written no file for the job.
    """
    session, context = get_session(), HydraConfig.get()
    folder = Path(context.runtime.output_dir)
    file = (context.job.env_set or {}).get(VARIABLE)
    if file is None:
        job = PointJob(*session.prepare(config), folder, context.overrides.task)
        results = run_points(session, [job])
    else:
        results = run_planned(session, PlannedJob.read(Path(file)), config, folder)
        if len(results) > 1:
            return {"points": [values for values, _ in results]}
    values, error = results[0]
    if error is not None:
        raise error
    return values


def run_planned(session: Session, planned: PlannedJob, config: DictConfig, folder: Path) -> list[PointValues]:
    """Run the points of a job, those of a stack in numbered folders below the job's folder.

    A point that is not what was planned is not run; its error says what differs.
    """
    planned.check_folder(folder)
    stacked = len(planned.runs) > 1
    digits = len(str(len(planned.runs) - 1))
    template = ConfigTemplate(copy.deepcopy(config))
    results: list[PointValues | None] = []
    jobs: list[PointJob] = []
    for number, run in enumerate(planned.runs):
        run_folder = folder / f"{number:0{digits}}" if stacked else folder
        # Another process composes the same config again; this one has kept the points of its stacks.
        point = template.at(run.values) if stacked else config
        settings, prepared = (session.pop_cached(run.digest) if stacked else None) or session.prepare(point)
        try:
            planned.check(run, prepared, session.plugins)
        except MismatchError as error:
            results.append(({"folder": str(run_folder), "run_id": "", "error": error_line(error)}, error))
            continue
        results.append(None)
        if stacked:
            yaml_file.write(run_folder / "config" / "config.yaml", OmegaConf.to_container(point, resolve=False))
            yaml_file.write(run_folder / "config" / "overrides.yaml", run.overrides)
        settings = dataclasses.replace(settings, tracking=_recorded_as(settings.tracking, planned, run))
        jobs.append(PointJob(settings, prepared, run_folder, run.overrides, _observer(planned, run)))
    outcomes = iter(run_points(session, jobs, every_entry=planned.every_entry))
    return [result or next(outcomes) for result in results]


def _recorded_as(tracking: TrackingOptions, planned: PlannedJob, run: PlannedRun) -> TrackingOptions:
    """Return the options with the name, the parent and the tags that the sweep gives to a run."""
    name = name_of(run.overrides, planned.swept) or None
    if planned.parent is None:
        return dataclasses.replace(tracking, run_name=name)
    return dataclasses.replace(tracking, run_name=name, parent=planned.parent, tags=tracking.tags | run.tags)


def run_points(session: Session, jobs: Sequence[PointJob], *, every_entry: bool = True) -> list[PointValues]:
    """Run points, several of them as one stack. Return the values for the sweeper and the error of each."""
    recordings: list[Recording] = []
    process_environment = environment()
    with contextlib.ExitStack() as stack:
        stack.callback(session.wait_until_written, recordings)
        for job in jobs:
            stack.enter_context(running(job.folder))
            check_unused(job.folder)
            # The sweeper logs model and plots of the best point only; the weights of every point are kept.
            tracking = dataclasses.replace(job.settings.tracking, model=False, plots=False)
            store = session.store(tracking, job.settings.outputs)
            # The runs of a stack together write about as often as a single run.
            starter = store and (session.writer or store.slower(len(jobs)))
            recording = Recording(
                job.prepared, tracking, starter, job.folder, job.overrides, job.observer, process_environment
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


def check_unused(folder: Path) -> None:
    """Raise MismatchError if the folder has the files of a run."""
    if (folder / Artifact.ENVIRONMENT).exists():
        raise MismatchError(f"the folder {folder} has the files of another run, which would be overwritten")


def _observer(planned: PlannedJob, run: PlannedRun) -> NullObserver:
    """Return the observer of a point: one that prunes, if the sweep does."""
    if planned.trials is None or run.trial is None:
        return NullObserver()
    from backproof.sweeps.search import Pruning

    return Pruning(planned.trials, run.trial)


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
    out, overrides = console(), recording.tracking.run_name or " ".join(recording.overrides)
    label = f"{session.done}/{session.jobs}" if session.jobs else ""
    if isinstance(outcome, Pruned):
        out.print(styled(f"  {label:>7}  ", ("pruned", "dim"), f" after epoch {outcome.epoch}  {overrides}"))
    elif isinstance(outcome, Exception):
        first = str(outcome).partition("\n")[0]
        out.print(styled(f"  {label:>7}  ", ("failed", "red"), f"  {overrides}\n           {first}"))
    else:
        out.print(f"  {label:>7}  {short_result(outcome)}  {overrides}")
