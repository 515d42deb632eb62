"""A sweep read from MLflow: its result, and the runs that did not finish."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from backproof.sweeps.objective import Objective, greater_is_better, recorded_objectives
from backproof.sweeps.planned import SEED
from backproof.sweeps.result import PRUNED, STATES, Point, RunResult, SweepResult, sort_records
from backproof.sweeps.varying import varying
from backproof.tracking import Store, query
from backproof.tracking.foreign import is_override
from backproof.tracking.query import RunRecord
from backproof.tracking.schema import Status, Tag

#: Final metrics of each seed of a run.
Members = Mapping[int, Mapping[str, float]]
#: The state of a run that is still RUNNING though its sweep has ended.
LOST = "lost"


@dataclass(frozen=True)
class RecordedSweep:
    """A sweep as recorded in MLflow."""

    parent: RunRecord
    over: list[str]  # the parameters that differ between runs
    result: SweepResult
    runs: list[RunRecord]  # finished
    unfinished: list[RunRecord]  # failed, stopped, pruned, still running
    retried: list[RunRecord]  # failed or stopped, and rerun later

    @property
    def points(self) -> list[Point]:
        """The points with a finished run, the best first."""
        return self.result.ranked

    @property
    def objective(self) -> Objective:
        return self.result.objective

    @property
    def best(self) -> Point | None:
        return self.result.best

    @property
    def started(self) -> float:
        return min(run.started for run in [self.parent, *self.runs, *self.unfinished])

    @property
    def ended(self) -> float:
        ends = [run.ended for run in [self.parent, *self.runs, *self.unfinished] if run.ended is not None]
        return max(ends, default=self.started)

    @property
    def ranked_runs(self) -> list[RunRecord]:
        """All runs by the rank of their points, each point's representative first; then the rest."""
        ranked: list[RunRecord] = []
        for point in self.points:
            first = point.representative(self.objective)
            ranked += [
                run.record for run in [first, *(run for run in point.done if run is not first)] if run.record
            ]
        shown = {run.id for run in ranked}
        return [*ranked, *(run for run in [*self.runs, *self.unfinished] if run.id not in shown)]


def read(store: Store, parent_id: str) -> RecordedSweep:
    """Read the sweep whose parent run has this id. Raise TrackingError if the store cannot be read."""
    parent = query.get(store, parent_id)
    children = [run for run in query.runs(store, parent_id) if not run.is_sweep]
    finished = [run for run in children if run.finished]
    return sweep_of(parent, children, {run.id: query.members(store, run) for run in finished})


def sweep_of(parent: RunRecord, children: Sequence[RunRecord], members: Mapping[str, Members]) -> RecordedSweep:
    """Return the sweep of a parent run and its runs; `members` maps run ids to the final metrics of each seed."""
    finished, retried, unfinished = _attempts(sort_records(children))
    swept = [key.strip() for key in parent.params.get("sweep.over", "").split(",") if key.strip()]
    over = varying([run.params for run in (*finished, *unfinished)], swept)
    objectives = recorded_objectives(parent.tags) or [objective_of(finished)]
    runs = sort_records([*finished, *unfinished])
    result = SweepResult(
        over, [RunResult.of_record(run, members.get(run.id)) for run in runs], tuple(objectives)
    )
    return RecordedSweep(parent, over, result, finished, unfinished, retried)


def result_of(runs: Sequence[RunRecord], members: Mapping[str, Members], objective: Objective) -> SweepResult:
    """Return the result of finished runs of any origin, as of one sweep."""
    over = varying([run.params for run in runs])
    return SweepResult(over, [RunResult.of_record(run, members.get(run.id)) for run in runs], (objective,))


def objective_of(runs: Sequence[RunRecord]) -> Objective:
    """Return what runs are ranked by: their first metric on the validation part, or else on the training part.

    If runs differ in that, it is the most frequent one.
    """
    names = Counter(_objective_name(run) for run in runs)
    name = names.most_common(1)[0][0] if names else "val/loss"
    return Objective(name, greater_is_better(name))


def _objective_name(run: RunRecord) -> str:
    part = "val" if any(name.startswith("val/") for name in run.metrics) else "train"
    return f"{part}/{run.metric_names[0] if run.metric_names else 'loss'}"


def state_of(run: RunRecord, parent: RunRecord | None = None) -> str:
    """Return done, pruned, failed, stopped, running, or lost: still RUNNING though its sweep has ended."""
    if run.pruned:
        return PRUNED
    if run.status == Status.RUNNING and parent is not None and parent.status != Status.RUNNING:
        return LOST
    return STATES.get(run.status, run.status.lower())


def command_words(run: RunRecord) -> list[str]:
    """Return the words of the command that repeats this run alone."""
    if run.command:
        return [word for word in shlex.split(run.command) if not word.startswith("tracking.")]
    # Without a recorded command, the parameters give the whole config: a longer command for the same run.
    return ["backproof", "train", *filter(is_override, [f"{key}={value}" for key, value in run.params.items()])]


def point_command(point: Point) -> str:
    """Return the command that repeats a point with all its seeds."""
    records = [run.record for run in point.done if run.record is not None]
    words = command_words(records[0])
    seeds = sorted({run.seed for run in records})
    if len(seeds) < 2:
        return shlex.join(words)
    overrides = [word for word in words[2:] if word != "-m" and not word.startswith(f"{SEED}=")]
    return shlex.join(["backproof", "train", "-m", *overrides, f"{SEED}={','.join(map(str, seeds))}"])


def _attempts(children: Sequence[RunRecord]) -> tuple[list[RunRecord], list[RunRecord], list[RunRecord]]:
    """Split runs into finished ones, others that were rerun later, and the rest."""
    finished = [run for run in children if run.finished]
    done = {_hash(run) for run in finished}
    unfinished = [run for run in children if not run.finished]
    retried = [run for run in unfinished if _hash(run) in done or run.superseded]
    return finished, retried, [run for run in unfinished if run not in retried]


def _hash(run: RunRecord) -> str:
    return run.tags.get(Tag.CONFIG_HASH, run.id)
