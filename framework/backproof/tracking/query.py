"""Recorded runs, read through MLflow's API: the same from a file and from a server."""

from __future__ import annotations

import contextlib
import math
import shlex
import tempfile
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from backproof.contracts.errors import TrackingError
from backproof.tracking import foreign
from backproof.tracking.logging import quiet
from backproof.tracking.run import reason, recording_fails
from backproof.tracking.schema import PARTS, SWEEP, Artifact, Status, Tag
from backproof.tracking.secret import shown_uri
from backproof.tracking.store import Store

if TYPE_CHECKING:
    from mlflow.entities import Run

#: MLflow's limit of runs per request.
PAGE = 1000
LAST = "last"


@dataclass(frozen=True)
class RunRecord:
    """A run as one request returns it, with the last value of each metric."""

    id: str
    name: str
    status: str  # FINISHED | FAILED | KILLED | RUNNING
    started: float  # seconds since 1970
    ended: float | None
    params: dict[str, str]
    metrics: dict[str, float]
    tags: dict[str, str]
    roots: tuple[Path, ...] = ()  # folders below which its paths may be

    @property
    def is_sweep(self) -> bool:
        return self.tags.get(Tag.KIND) == SWEEP

    @property
    def parent(self) -> str | None:
        return self.tags.get(Tag.PARENT)

    @property
    def pruned(self) -> bool:
        return self.tags.get(Tag.PRUNED, "false") != "false"

    @property
    def gradcheck(self) -> str:
        return self.tags.get(Tag.GRADCHECK, "")

    @property
    def trial(self) -> dict[str, Any] | None:
        """The parameters of its Optuna trial; None if no sampler chose it."""
        return foreign.json_object(self.tags.get(Tag.TRIAL))

    @property
    def code(self) -> dict[str, Any]:
        """Digests of the files of its plugins, by kind and name; empty where an older version recorded the run."""
        return foreign.json_object(self.tags.get(Tag.CODE)) or {}

    @property
    def superseded(self) -> bool:
        """Whether it was run again, because it failed or its plugins' code has changed since."""
        return Tag.SUPERSEDED in self.tags

    @property
    def folder(self) -> Path | None:
        """The local folder of its files, if it is below the outputs folder of this command."""
        return foreign.path_below(self.tags.get(Tag.FOLDER), self.roots)

    @property
    def study(self) -> Path | None:
        """The Optuna journal of a sweep, if it is below the outputs folder of this command."""
        file = foreign.path_below(self.tags.get(Tag.STUDY), self.roots)
        return file if file is not None and file.name == Artifact.STUDY else None

    @property
    def index(self) -> int:
        """Its position among the runs of the sweep, -1 if it has none."""
        return foreign.whole_number(self.tags.get(Tag.INDEX), -1)

    @property
    def seeds(self) -> int:
        """The number of seeds that its point is planned to have."""
        return foreign.count(self.tags.get(Tag.SEEDS))

    @property
    def seed(self) -> int:
        return foreign.whole_number(self.params.get("seed"), 0)

    @property
    def metric_names(self) -> list[str]:
        """The metrics that were chosen for it, by name."""
        return [str(name) for name in foreign.json_list(self.params.get("metrics"))]

    @property
    def error(self) -> str:
        return self.tags.get(Tag.ERROR, "")

    @property
    def finished(self) -> bool:
        """Return whether the run ended with a result that counts: neither pruned, nor run again with other code."""
        return self.status == Status.FINISHED and not self.pruned and not self.superseded

    @property
    def training_metrics(self) -> dict[str, float]:
        """Return the metrics of the parts of the data, without those of the check."""
        return {name: value for name, value in self.metrics.items() if name.partition("/")[0] in PARTS}

    @property
    def seconds(self) -> float | None:
        """Return its duration; of a run trained in a stack, its share of the stack's."""
        if self.ended is None:
            return None
        return (self.ended - self.started) / foreign.count(self.tags.get(Tag.STACKED))

    @property
    def repeats(self) -> int:
        return foreign.count(self.params.get("repeats"))

    @property
    def command(self) -> str:
        """Return the command in its description; empty if there is none, or one that is not ours."""
        _, _, rest = self.tags.get(Tag.NOTE, "").partition("```\n")
        return shlex.join(foreign.own_command(rest.partition("\n```")[0].strip()))


def runs(store: Store, value: str | None = None, tag: str = Tag.PARENT) -> list[RunRecord]:
    """Return the runs of the experiment, the newest first; with `value`, only those whose tag has it.

    By default that is the id of their parent run.
    """
    chosen = f"tags.`{tag}` = '{value}'" if value else ""
    records: list[RunRecord] = []
    token: str | None = None
    client = cast("Any", store.client)  # Some of its types are unknown.
    with _reading(store.uri), quiet():
        while True:
            page = client.search_runs(
                [store.experiment_id], chosen, max_results=PAGE, order_by=["start_time DESC"], page_token=token
            )
            records += [recorded(run, store.roots) for run in page]
            token = page.token
            if not token:
                return records


def recorded(run: Run, roots: tuple[Path, ...] = ()) -> RunRecord:
    """Return a run of MLflow's as a record. Its paths count only below `roots`."""
    info, data = run.info, run.data
    return RunRecord(
        id=str(info.run_id),
        name=str(info.run_name),
        status=str(info.status),
        started=(info.start_time or 0) / 1000,
        ended=info.end_time / 1000 if info.end_time else None,
        params=dict(data.params),
        metrics=dict(data.metrics),
        tags=dict(data.tags),
        roots=roots,
    )


def get(store: Store, run_id: str) -> RunRecord:
    """Return the run with this id."""
    with _reading(store.uri), quiet():
        return recorded(store.client.get_run(run_id), store.roots)


def find(records: list[RunRecord], name: str) -> RunRecord:
    """Return the run with this id, unique beginning of an id, or name; `last` is the newest sweep.

    Of several runs with the name, it is the newest sweep, or else the newest run; `records` has the newest first.
    Raise TrackingError if there is none, or if several ids have this beginning.
    """
    sweeps = [run for run in records if run.is_sweep]
    if name == LAST:
        if not sweeps:
            raise TrackingError(
                "no sweep is recorded here yet\nRun one: backproof train -m activation=relu,tanh seed=0,1,2"
            )
        return sweeps[0]
    for group in (sweeps, records):
        for run in group:
            if name in (run.id, run.name):
                return run
    near = [run for run in records if name and run.id.startswith(name)]
    if len(near) == 1:
        return near[0]
    if near:
        ids = ", ".join(run.id[:12] for run in near[:6])
        raise TrackingError(f"{name!r} begins the ids of {len(near)} runs: {ids}\nGive more of it")
    known = "".join(f"\n  {run.id[:8]}  {run.name}" for run in sweeps[:6])
    raise TrackingError(
        f"no run has the id or the name {name!r}"
        + (f"; the latest sweeps are{known}" if known else "")
        + "\nbackproof runs lists them all"
    )


def history(store: Store, run_id: str, name: str) -> dict[int, float]:
    """Return a metric by step. The last step is written again when training ends; the first value counts."""
    with _reading(store.uri), quiet():
        values = store.client.get_metric_history(run_id, name)
    by_step: dict[int, float] = {}
    for metric in sorted(values, key=lambda metric: (metric.step, metric.timestamp)):
        by_step.setdefault(metric.step, metric.value)
    return by_step


def members(store: Store, run: RunRecord) -> dict[int, dict[str, float]]:
    """Return the final metrics by seed. With repeats they come from the summary artifact; empty if it is lost."""
    if run.repeats == 1:
        return {run.seed: run.metrics}
    by_seed: dict[int, dict[str, float]] = {}
    members = _summary(store, run.id).get("seeds")
    for member in cast("list[Any]", members) if isinstance(members, list) else []:
        if isinstance(member, dict) and isinstance(seed := cast("Any", member).get("seed"), int):
            items = cast("dict[str, Any]", member).items()
            by_seed[seed] = {key: _number(value) for key, value in items if "/" in key}
    return by_seed


def _summary(store: Store, run_id: str) -> dict[str, Any]:
    """Return the summary artifact, or an empty one if there is none."""
    path = Artifact.SUMMARY
    with _reading(store.uri), quiet(), tempfile.TemporaryDirectory() as folder:
        if path not in {artifact.path for artifact in cast("Any", store.client).list_artifacts(run_id)}:
            return {}
        text = Path(store.client.download_artifacts(run_id, path, folder)).read_text(errors="replace")
    return foreign.json_object(text) or {}


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


@contextlib.contextmanager
def _reading(uri: str) -> Generator[None, None, None]:
    try:
        with recording_fails(uri):
            yield
    except TrackingError as error:
        cause = error.__cause__
        if not isinstance(cause, Exception):
            raise
        raise TrackingError(
            f"cannot read the runs in {shown_uri(uri)}: {reason(cause)}\n"
            "Name another place: --outputs DIR, --uri URI"
        ) from cause
