"""Floor 4: one run, trained and recorded: in its own folder, and in MLflow if that is asked for.

The folder has everything; MLflow gets a copy. So what was computed is there even when the store goes away.
"""

from __future__ import annotations

import contextlib
import csv
import json
import shlex
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from framework import __version__, check_page, describe, model_file, plots
from framework.experiment import GradcheckFailedError, Observer, Prepared, Result
from framework.gradcheck import GradcheckReport
from framework.kinds import CLASSIFICATION, MULTILABEL, Array
from framework.tracking import Run, Store, TrackingOptions, check_terminated, environment
from framework.training import DivergedError, Pruned

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
#: How the overrides begin that a sweeper gives its jobs beyond the user's own.
OF_THE_SWEEPER = (
    "tracking.parent=",
    "++tracking.run_name=",
    "++tracking.tags={backproof.point:",
    "hydra.mode=",
    "hydra.sweep.",
    "sweep.",
)


class Shown(Observer, Protocol):
    """An observer that may hold the terminal, and lets go of it."""

    def close(self) -> None: ...


class Recorder:
    """Passes what happens in a run to MLflow, to its folder and to the terminal."""

    def __init__(self, prepared: Prepared, folder: Path, run: Run | None, shown: Shown) -> None:
        self.prepared, self.folder, self.run, self.shown = prepared, folder, run, shown
        self._checks = 0

    def ready(self, prepared: Prepared) -> None:
        """The run is about to start."""
        self.shown.ready(prepared)

    def checked(self, report: GradcheckReport) -> None:
        """A gradient check: its numbers at step 0 for fresh parameters, and at the next for trained ones."""
        _write_json(self.folder / "gradcheck.json", report.to_dict())
        if not report.passed:
            facts = [("dataset", describe.dataset(self.prepared)), ("network", describe.network(self.prepared))]
            (self.folder / "gradcheck.html").write_text(check_page.page(report, "Gradient check", facts))
        if self.run is not None:
            self.run.metrics(report.flat_metrics(), step=self._checks)
            self.run.tags({"backproof.gradcheck": PASSED if report.passed else FAILED})
        self._checks += 1
        self.shown.checked(report)

    def epoch(self, epoch: int, metrics: dict[str, float]) -> None:
        """The metrics of an epoch."""
        check_terminated()
        if self.run is not None:
            self.run.metrics(metrics, step=epoch)
        self.shown.epoch(epoch, metrics)


def record(
    prepared: Prepared,
    tracking: TrackingOptions,
    store: Store | None,
    folder: Path,
    overrides: Sequence[str],
    shown: Shown,
) -> tuple[Result, Run | None]:
    """Run an experiment, write its folder, and record it in `store`.

    Raises what the run raises, once it is recorded as FAILED or KILLED with all that there is until then; Pruned
    once it is recorded as FINISHED.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _write_json(folder / "environment.json", environment())
    if store is None:
        return _train(prepared, folder, None, tracking, shown), None
    parameters = describe.parameters(prepared)
    run = store.start(
        tracking.run_name or describe.run_name(prepared),
        params=parameters,
        tags={
            "backproof.kind": "run",
            "backproof.version": __version__,
            "backproof.config_hash": describe.config_hash(parameters),
            "backproof.gradcheck": SKIPPED,
            "backproof.folder": str(folder.absolute()),
            "mlflow.note.content": _note(prepared, overrides),
            **({"backproof.sweep": tracking.parent} if tracking.parent else {}),
            **tracking.tags,
        },
        parent=tracking.parent,
    )
    with run:
        _dataset(prepared, run)
        try:
            return _train(prepared, folder, run, tracking, shown), run
        except Pruned as pruned:
            pruned.run_id = run.id
            run.tags({"backproof.pruned": "true"})
            run.finish()
            raise


def _train(
    prepared: Prepared, folder: Path, run: Run | None, tracking: TrackingOptions, shown: Shown
) -> Result:
    result = None
    try:
        with contextlib.closing(shown):
            result = prepared.run(Recorder(prepared, folder, run, shown))
        _write(result, folder, pictures=tracking.plots)
    except Pruned:
        raise
    except BaseException as error:
        _write_error(error, folder)
        if run is not None and isinstance(error, DivergedError):
            run.tags({"backproof.diverged": "true"})
        if run is not None and isinstance(error, GradcheckFailedError):
            run.tags({"backproof.gradcheck": FAILED})
        raise
    finally:
        if run is not None:
            run.folder(folder)
    if run is not None:
        run.metrics(result.summary, step=int(result.epochs.max()))
        if tracking.model:
            run.model(folder / "weights")
    return result


def _write(result: Result, folder: Path, *, pictures: bool) -> None:
    """Everything that a finished run leaves."""
    prepared = result.prepared
    model_file.save(folder / "weights", model_file.SavedModel.of(prepared.net, result.theta, prepared.data))
    _write_history(result, folder / "metrics.csv")
    _write_json(folder / "summary.json", _summary(result))
    for name, png in _pictures(result) if pictures else ():
        file = folder / "plots" / f"{name}.png"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(png)


def _summary(result: Result) -> dict[str, Any]:
    """The final metrics: means, and each seed's own."""
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
    """A row for each epoch and seed."""
    seed = result.prepared.experiment.run.seed
    with file.open("w", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(["epoch", "seed", *result.history])
        for epoch, values in enumerate(zip(*result.history.values(), strict=True), start=1):
            for r in range(len(result.theta)):
                rows.writerow([epoch, seed + r, *(float(each[r]) for each in values)])


def _pictures(result: Result) -> list[tuple[str, bytes]]:
    """Learning curves, and how predictions compare with the truth on the test part (or the best there is)."""
    data = result.prepared.data
    curves: dict[str, list[tuple[float, float | None]]] = {
        name: [(float(np.mean(v)), float(np.std(v, ddof=1)) if len(v) > 1 else None) for v in values]
        for name, values in result.history.items()
    }
    pictures = [("learning_curves", plots.learning_curves(curves))]
    name, part = next((name, data.parts[name]) for name in ("test", "val", "train") if name in data.parts)
    prediction = result.predict(name)
    if data.task == CLASSIFICATION:
        # Of all seeds together: each of them has seen the same samples.
        chosen = prediction.argmax(axis=-1)
        matrix = np.zeros((data.targets, data.targets), dtype=int)
        np.add.at(matrix, (np.broadcast_to(part.y, chosen.shape), chosen), 1)
        pictures.append(("confusion_matrix", plots.confusion_matrix(matrix, data.target_names)))
    elif data.task == MULTILABEL:
        pictures.append(("labels", _label_picture(prediction, part.y, data.target_names)))
    else:
        pictures.append(("residuals", plots.residuals(prediction.mean(axis=0), part.y, data.target_names)))
    return pictures


def _label_picture(prediction: Array, y: Array, names: tuple[str, ...]) -> bytes:
    return plots.label_rates(prediction.mean(axis=0) > 0.5, y, names)


def _dataset(prepared: Prepared, run: Run) -> None:
    """Name the dataset in MLflow, with the sizes of its parts and a digest of its numbers."""
    data, loader = prepared.data, prepared.experiment.dataset
    parameters = {key: str(value) for key, value in describe.fields_of(loader).items()}
    run.dataset(
        loader.name,
        describe.data_digest(prepared),
        source={"plugin": loader.name, **parameters},
        profile={"features": data.features, "targets": data.targets, "task": data.task, **data.sizes},
        context="train",
    )


def _note(prepared: Prepared, overrides: Sequence[str]) -> str:
    """What the UI shows as the run's description."""
    return (
        f"{describe.network(prepared)} on {describe.dataset(prepared)}; {describe.training(prepared)}\n\n"
        f"```\n{command(overrides)}\n```"
    )


def command(overrides: Sequence[str], *, sweep: bool = False) -> str:
    """The command that runs this again."""
    own = overrides if sweep else given(overrides)
    return shlex.join(["backproof", "train", *(["-m"] if sweep else []), *own])


def given(overrides: Sequence[str]) -> list[str]:
    """The overrides of a point without those that the sweeper adds."""
    return [each for each in overrides if not each.startswith(OF_THE_SWEEPER)]


def _write_error(error: BaseException, folder: Path) -> None:
    (folder / "error.txt").write_text("".join(traceback.format_exception(error)))


def _write_json(file: Path, values: Any) -> None:
    file.write_text(json.dumps(values, indent=2, default=str) + "\n")
