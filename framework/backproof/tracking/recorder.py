"""Records one run in its folder, and in MLflow if there is a store.

The folder has everything and MLflow gets a copy, so that results survive the loss of the store.
"""

from __future__ import annotations

import csv
import json
import shlex
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np

from backproof import __version__
from backproof.contracts import CLASSIFICATION, MULTILABEL
from backproof.contracts.errors import DivergedError, TrackingError
from backproof.experiment import describe
from backproof.experiment.experiment import PreparedExperiment
from backproof.experiment.run import GradcheckFailedError, Observer, Result
from backproof.netcheck.report import NetworkReport
from backproof.nn import model_io
from backproof.nn.training import Pruned
from backproof.render import check_page, plots
from backproof.tracking import RunWriter, Starter, TrackingOptions, check_terminated
from backproof.tracking.schema import RUN, Artifact, Metric, Tag, Verdict


class ClosableObserver(Observer, Protocol):
    """An observer that owns the terminal until close()."""

    def close(self) -> None: ...


@dataclass(eq=False)
class Recording:
    """Context manager and observer that records one run.

    Events go to the run's folder, to MLflow (if there is a store) and to the observer `shown`. However the run
    ends, it is closed with all results so far: FINISHED (also if it was pruned), FAILED or KILLED.
    """

    prepared: PreparedExperiment
    tracking: TrackingOptions
    store: Starter | None
    folder: Path
    overrides: Sequence[str]
    shown: ClosableObserver
    surroundings: Mapping[str, Any]
    run: RunWriter | None = None
    _errors: list[float | None] = field(default_factory=list[float | None])  # of fresh, then trained parameters
    _report: NetworkReport | None = None
    _closed: bool = False

    def __enter__(self) -> Recording:
        self.folder.mkdir(parents=True, exist_ok=True)
        _write_json(self.folder / Artifact.ENVIRONMENT, self.surroundings)
        if self.store is None:
            return self
        prepared, tracking = self.prepared, self.tracking
        parameters = describe.parameters(prepared)
        checks = prepared.experiment.gradcheck.enabled
        self.run = self.store.start(
            self.name,
            params=parameters,
            tags={
                Tag.KIND: RUN,
                Tag.VERSION: __version__,
                Tag.CONFIG_HASH: describe.config_hash(parameters),
                Tag.GRADCHECK: Verdict.SKIPPED,
                Tag.FOLDER: str(self.folder.absolute()),
                Tag.NOTE: _note(prepared, self.overrides),
                **({Tag.SWEEP: tracking.parent} if tracking.parent else {}),
                **tracking.tags,
            },
            parent=tracking.parent,
            links={"gradient check": Artifact.CHECK_PAGE} if checks else None,
        )
        try:
            _dataset(prepared, self.run)
        except BaseException as error:
            self.run.end(error)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shown.close()
        if not self._closed:
            self._close(error)

    def on_start(self, prepared: PreparedExperiment) -> None:
        """Show that the run starts."""
        self.shown.on_start(prepared)

    def on_check(self, report: NetworkReport) -> None:
        """Record a gradient check: its verdict now, its error at the end of the run."""
        self._errors.append(report.log10_error)
        if self.run is not None:
            self.run.tags({Tag.GRADCHECK: report.status})
            if report.failed and (self._report is None or not self._report.failed):
                self.run.rename(describe.wrong_name(self.name))
        self._report = report
        self.shown.on_check(report)

    def on_epoch(self, epoch: int, metrics: dict[str, float]) -> None:
        """Record the metrics of an epoch."""
        check_terminated()
        if self.run is not None:
            self.run.metrics(metrics, step=epoch)
        self.shown.on_epoch(epoch, metrics)

    def on_end(self, outcome: Result | Exception) -> None:
        """Write the results and end the run in MLflow. Raise the error that keeps a result from being recorded."""
        self.shown.on_end(outcome)
        if isinstance(outcome, Exception):
            self._close(outcome)
            return
        try:
            _write(outcome, self.folder, pictures=self.tracking.plots)
            if self.run is not None:
                self.run.metrics(outcome.summary, step=int(outcome.epochs.max()))
                if outcome.stacked > 1:
                    self.run.tags({Tag.STACKED: str(outcome.stacked)})
                if self.tracking.model:
                    self.run.model(self.folder / Artifact.WEIGHTS)
        except BaseException as error:
            self._close(error)
            raise
        self._close(None)

    @property
    def name(self) -> str:
        """The name of the run, as long as its gradient is not found to be wrong."""
        return self.tracking.run_name or describe.run_name(self.prepared)

    def _write_errors(self, run: RunWriter) -> None:
        """Write the errors of the checks, last: MLflow lists metrics in the order of their first values."""
        for step, error in enumerate(self._errors):
            if error is not None:
                run.metrics({Metric.CHECK: error}, step=step)

    def _check_page(self, report: NetworkReport) -> str:
        """Return the check as a page; with maps of every entry (Matplotlib) if a gradient is wrong."""
        experiment = self.prepared.experiment
        facts = [("dataset", describe.dataset(self.prepared)), ("network", describe.network(self.prepared))]
        facts.append(("derivation", experiment.derivation.name))
        return check_page.page(report, "Gradient check", facts, maps=not report.passed)

    def _close(self, error: BaseException | None) -> None:
        """End the run in MLflow, with the files of its folder and the error that ended it."""
        self._closed = True
        if self._report is not None:
            _write_json(self.folder / Artifact.CHECK, self._report.to_dict())
            (self.folder / Artifact.CHECK_PAGE).write_text(self._check_page(self._report))
        if error is not None and not isinstance(error, Pruned):
            text = "".join(traceback.format_exception(error))
            (self.folder / Artifact.ERROR).write_text(text)
        if self.run is None:
            return
        if isinstance(error, Pruned):
            error.run_id = self.run.id
        try:
            self._write_errors(self.run)
            self.run.tags(_tags(error))
            self.run.folder(self.folder)
        except TrackingError as lost:
            self.run.end(error or lost)
            if error is None:
                raise
            # The first error is the one to report.
            error.add_note(f"The run could not be recorded to its end either: {lost}")
        else:
            self.run.end(None if isinstance(error, Pruned) else error)


def _tags(error: BaseException | None) -> dict[str, str]:
    """Return tags on how a run ended."""
    if isinstance(error, Pruned):
        return {Tag.PRUNED: "true"}
    if isinstance(error, DivergedError):
        return {Tag.DIVERGED: "true"}
    return {Tag.GRADCHECK: Verdict.FAILED} if isinstance(error, GradcheckFailedError) else {}


def _write(result: Result, folder: Path, *, pictures: bool) -> None:
    """Write the files of a finished run."""
    prepared = result.prepared
    model_io.save(folder / Artifact.WEIGHTS, model_io.SavedModel.of(prepared.net, result.theta, prepared.data))
    _write_history(result, folder / Artifact.HISTORY)
    _write_json(folder / Artifact.SUMMARY, _summary(result))
    if pictures:
        _draw(result, folder)


def _draw(result: Result, folder: Path) -> None:
    for name, png in _pictures(result):
        file = folder / Artifact.PLOTS / f"{name}.png"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(png)


def draw(prepared: PreparedExperiment, folder: Path) -> None:
    """Draw the plots of a run from the weights and the history in its folder."""
    theta = model_io.load(folder / Artifact.WEIGHTS).theta
    with (folder / Artifact.HISTORY).open(newline="") as rows:
        table = list(csv.DictReader(rows))
    R = len(theta)
    history = {
        name: [np.array([float(row[name]) for row in table[i : i + R]]) for i in range(0, len(table), R)]
        for name in table[0].keys() - {"epoch", "seed"}
    }
    epochs = np.full(R, len(table) // R)
    _draw(Result(prepared, theta, dict(sorted(history.items())), {}, None, epochs, epochs, 0.0), folder)


def _summary(result: Result) -> dict[str, Any]:
    """Return the final metrics: means, and those of each seed."""
    seed = result.prepared.experiment.run.seed
    return {
        "metrics": result.summary,
        "seeds": [
            {
                "seed": seed + r,
                "epochs": int(result.epochs[r]),
                "kept_epoch": int(result.best_epochs[r]),
                **{name: float(values[r]) for name, values in result.final.items()},
            }
            for r in range(len(result.theta))
        ],
        "seconds": result.seconds,
    }


def _write_history(result: Result, file: Path) -> None:
    """Write a row for each epoch and seed."""
    seed = result.prepared.experiment.run.seed
    with file.open("w", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(["epoch", "seed", *result.history])
        for epoch, values in enumerate(zip(*result.history.values(), strict=True), start=1):
            for r in range(len(result.theta)):
                rows.writerow([epoch, seed + r, *(float(metric[r]) for metric in values)])


def _pictures(result: Result) -> list[tuple[str, bytes]]:
    """Return learning curves, and predictions against targets on the test part (or else val, or train)."""
    data = result.prepared.data
    curves: dict[str, list[tuple[float, float | None]]] = {
        name: [(float(np.mean(v)), float(np.std(v, ddof=1)) if len(v) > 1 else None) for v in values]
        for name, values in result.history.items()
    }
    pictures = [("learning_curves", plots.learning_curves(curves))]
    name, part = next((name, data.parts[name]) for name in ("test", "val", "train") if name in data.parts)
    prediction = result.predict(name)
    if data.task == CLASSIFICATION:
        # Over all seeds, which predict the same samples.
        chosen = prediction.argmax(axis=-1)
        matrix = np.zeros((data.targets, data.targets), dtype=int)
        np.add.at(matrix, (np.broadcast_to(part.y, chosen.shape), chosen), 1)
        pictures.append(("confusion_matrix", plots.confusion_matrix(matrix, data.target_names)))
    elif data.task == MULTILABEL:
        labels = prediction.mean(axis=0) > 0.5
        pictures.append(("labels", plots.label_rates(labels, part.y, data.target_names)))
    else:
        pictures.append(("residuals", plots.residuals(prediction.mean(axis=0), part.y, data.target_names)))
    return pictures


def _dataset(prepared: PreparedExperiment, run: RunWriter) -> None:
    """Record the dataset, with the sizes of its parts and a digest of its numbers."""
    data, loader = prepared.data, prepared.experiment.dataset
    parameters = {key: str(value) for key, value in describe.fields_of(loader).items()}
    run.dataset(
        loader.name,
        data.digest,
        source={"plugin": loader.name, **parameters},
        profile={"features": data.features, "targets": data.targets, "task": data.task, **data.sizes},
        context="train",
    )


def _note(prepared: PreparedExperiment, overrides: Sequence[str]) -> str:
    """Return the run's description in MLflow."""
    return (
        f"{describe.network(prepared)} on {describe.dataset(prepared)}; {describe.training(prepared)}\n\n"
        f"```\n{command(overrides)}\n```"
    )


def command(overrides: Sequence[str], *, sweep: bool = False) -> str:
    """Return the command that runs this again."""
    return shlex.join(["backproof", "train", *(["-m"] if sweep else []), *overrides])


def _write_json(file: Path, values: Any) -> None:
    file.write_text(json.dumps(values, indent=2, default=str) + "\n")
