"""What the sweeper passes to a job: a file below the sweep's folder, which the job compares with what it will run.

The job learns the file's name through `hydra.job.env_set`. So it is neither among the overrides of the point nor in
`hydra.job.override_dirname`, and reaches the job with every launcher.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Quote, QuotedString

from backproof.contracts.errors import MismatchError
from backproof.discovery.registry import Registry
from backproof.experiment import describe
from backproof.experiment.experiment import SINGLE, PreparedExperiment
from backproof.sweeps.planned import Batch, PlannedRun
from backproof.tracking.run import param_values

#: The variable in `hydra.job.env_set`.
VARIABLE = "BACKPROOF_JOB"
#: Differences that a message shows.
SHOWN = 4


@dataclass(frozen=True)
class Trials:
    """The study that prunes the runs of a job; each run reports to its own trial."""

    file: str
    pruner: str
    objective: str


@dataclass(frozen=True)
class PlannedJob:
    """The runs of a job, several of them as one stack, and how they are recorded."""

    runs: Batch
    folder: str
    swept: list[str]  # keys
    parent: str | None = None
    every_entry: bool = True  # whether the gradients of the first run are checked entry by entry
    parameters: dict[str, str] = dataclasses.field(default_factory=dict[str, str])  # of the first run
    trials: Trials | None = None

    def write(self, file: Path) -> str:
        """Write the job as JSON. Return the override that names the file to the job."""
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(dataclasses.asdict(self), indent=1) + "\n")
        quoted = QuotedString(str(file), Quote.single).with_quotes()
        return f"++hydra.job.env_set.{VARIABLE}={quoted}"

    @classmethod
    def read(cls, file: Path) -> PlannedJob:
        """Read what `write` has written."""
        values: dict[str, Any] = json.loads(file.read_text())
        runs = [PlannedRun(**run) for run in values.pop("runs")]
        trials = values.pop("trials")
        return cls(runs, trials=Trials(**trials) if trials else None, **values)

    def check_folder(self, folder: Path) -> None:
        """Raise MismatchError unless the job's folder is the planned one."""
        if folder.absolute() != Path(self.folder):
            raise MismatchError(f"the folder of the job is {folder.absolute()}; planned was {self.folder}")

    def check(self, run: PlannedRun, prepared: PreparedExperiment, plugins: Registry) -> None:
        """Raise MismatchError, which says what differs, unless the experiment is the one that was planned."""
        parameters = describe.parameters(prepared)
        if describe.config_hash(parameters) != run.hash:
            planned = self.parameters if run is self.runs[0] else {}
            differs = difference(planned, param_values(parameters)) or "see the first point of its stack"
            raise MismatchError(f"the job composed another config than was planned: {differs}")
        if differs := difference(run.code, plugin_code(prepared, plugins)):
            raise MismatchError(
                f"the code of a plugin is not what was planned: {differs}; repeat the command to run the point "
                "with the new code"
            )
        if prepared.data.digest != run.data:
            raise MismatchError(
                f"the numbers of dataset {prepared.experiment.dataset.name!r} are not what was planned"
            )


def plugin_code(prepared: PreparedExperiment, plugins: Registry) -> dict[str, str]:
    """Return a digest of the file of each plugin that an experiment uses, as it was imported."""
    experiment = prepared.experiment
    names = {kind: getattr(experiment, kind) for kind in SINGLE} | {"loss": prepared.net.loss}
    used = [(kind, plugin.name) for kind, plugin in names.items()]
    used += [("metric", metric.name) for metric in prepared.metrics]
    return {f"{kind} {name}": plugins.entry(kind, name).digest for kind, name in used}


def difference(planned: Mapping[str, str], actual: Mapping[str, str]) -> str:
    """Return `optimizer.lr 0.2 instead of 0.1, ...`, or nothing if both are equal."""
    names = [name for name in {**planned, **actual} if planned.get(name) != actual.get(name)]
    texts = [
        f"{name} {actual.get(name, 'none')} instead of {planned.get(name, 'none')}" for name in names[:SHOWN]
    ]
    return ", ".join(texts) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
