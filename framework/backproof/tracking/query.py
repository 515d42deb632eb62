"""Runs as they are recorded, read back through MLflow's API: the same from a file and from a server."""

from __future__ import annotations

import contextlib
import json
import math
import tempfile
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from backproof.contracts.errors import TrackingError
from backproof.tracking.logging import quiet
from backproof.tracking.run import reason, recording_fails
from backproof.tracking.schema import PARTS, SWEEP, Artifact, Status, Tag
from backproof.tracking.store import Store

if TYPE_CHECKING:
    from mlflow.entities import Run

#: The most that a server gives at a time.
PAGE = 1000
LAST = "last"


@dataclass(frozen=True)
class RunRecord:
    """A run with all that one request gives: of metrics the last values."""

    id: str
    name: str
    status: str  # FINISHED | FAILED | KILLED | RUNNING
    started: float  # seconds since 1970
    ended: float | None
    params: dict[str, str]
    metrics: dict[str, float]
    tags: dict[str, str]

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
    def error(self) -> str:
        return self.tags.get(Tag.ERROR, "")

    @property
    def finished(self) -> bool:
        """Whether it has ended with a result; a pruned run has not."""
        return self.status == Status.FINISHED and not self.pruned

    @property
    def training_metrics(self) -> dict[str, float]:
        """The metrics of the parts of the data."""
        return {name: value for name, value in self.metrics.items() if name.partition("/")[0] in PARTS}

    @property
    def seconds(self) -> float | None:
        """From its start to its end; of a run that was trained in a stack its share."""
        if self.ended is None:
            return None
        return (self.ended - self.started) / int(self.tags.get(Tag.STACKED, "1"))

    @property
    def repeats(self) -> int:
        return int(self.params.get("repeats", "1"))

    @property
    def command(self) -> str:
        """The command that its description names; empty where somebody has edited that away."""
        _, _, rest = self.tags.get(Tag.NOTE, "").partition("```\n")
        command = rest.partition("\n```")[0].strip()
        return command if command.startswith("backproof ") else ""


def runs(store: Store, parent: str | None = None) -> list[RunRecord]:
    """The runs of the experiment, the newest first; with `parent` those nested under it."""
    chosen = f"tags.`{Tag.PARENT}` = '{parent}'" if parent else ""
    found: list[RunRecord] = []
    token: str | None = None
    client = cast("Any", store.client)  # Some of its types are unknown.
    with _reading(store.uri), quiet():
        while True:
            page = client.search_runs(
                [store.experiment_id], chosen, max_results=PAGE, order_by=["start_time DESC"], page_token=token
            )
            found += [recorded(run) for run in page]
            token = page.token
            if not token:
                return found


def recorded(run: Run) -> RunRecord:
    """A run of MLflow's."""
    info, data = run.info, run.data
    return RunRecord(
        id=str(info.run_id),
        name=str(info.run_name),
        status=str(info.status),
        started=info.start_time / 1000,
        ended=info.end_time / 1000 if info.end_time else None,
        params=dict(data.params),
        metrics=dict(data.metrics),
        tags=dict(data.tags),
    )


def get(store: Store, run_id: str) -> RunRecord:
    """The run of that id."""
    with _reading(store.uri), quiet():
        return recorded(store.client.get_run(run_id))


def find(found: list[RunRecord], given: str) -> RunRecord:
    """Of runs, the newest first, the one that is meant: by id, by the beginning of one, by name (the newest of
    that name; a sweep before a run), or `last` for the newest sweep.

    Raises TrackingError where there is none, or where the beginning is that of several ids.
    """
    sweeps = [run for run in found if run.is_sweep]
    if given == LAST:
        if not sweeps:
            raise TrackingError(
                "no sweep is recorded here yet\nRun one: backproof train -m activation=relu,tanh seed=0,1,2"
            )
        return sweeps[0]
    for among in (sweeps, found):
        for run in among:
            if given in (run.id, run.name):
                return run
    near = [run for run in found if given and run.id.startswith(given)]
    if len(near) == 1:
        return near[0]
    if near:
        ids = ", ".join(run.id[:12] for run in near[:6])
        raise TrackingError(f"{given!r} begins the ids of {len(near)} runs: {ids}\nGive more of it")
    known = "".join(f"\n  {run.id[:8]}  {run.name}" for run in sweeps[:6])
    raise TrackingError(
        f"no run has the id or the name {given!r}"
        + (f"; the latest sweeps are{known}" if known else "")
        + "\nbackproof runs lists them all"
    )


def history(store: Store, run_id: str, name: str) -> dict[int, float]:
    """A metric by step. Of a step that was written twice, as the last one is when training ends, the first."""
    with _reading(store.uri), quiet():
        values = store.client.get_metric_history(run_id, name)
    found: dict[int, float] = {}
    for each in sorted(values, key=lambda metric: (metric.step, metric.timestamp)):
        found.setdefault(each.step, each.value)
    return found


def members(store: Store, run: RunRecord) -> dict[int, dict[str, float]]:
    """The final metrics of each seed of a run; of one with repeats from its summary, empty where that is lost."""
    if run.repeats == 1:
        return {int(run.params.get("seed", "0")): run.metrics}
    summary = _json(store, run.id, Artifact.SUMMARY) or {}
    return {
        int(each["seed"]): {key: _number(value) for key, value in each.items() if "/" in key}
        for each in cast("list[dict[str, Any]]", summary.get("seeds", []))
    }


def _json(store: Store, run_id: str, path: str) -> dict[str, Any] | None:
    """A JSON artifact, or None where there is none."""
    with _reading(store.uri), quiet(), tempfile.TemporaryDirectory() as folder:
        if path not in {each.path for each in cast("Any", store.client).list_artifacts(run_id)}:
            return None
        return json.loads(Path(store.client.download_artifacts(run_id, path, folder)).read_text())


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
            f"cannot read the runs in {uri}: {reason(cause)}\nName another place: --outputs DIR, --uri URI"
        ) from cause
