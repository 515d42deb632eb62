"""Read a sweep from its store and build its page."""

from __future__ import annotations

import math
from collections.abc import Sequence

from backproof.report.page import Curves, page
from backproof.sweeps.recorded import RecordedSweep, read
from backproof.sweeps.result import Point
from backproof.sweeps.stat import Stat
from backproof.tracking import Store, query
from backproof.tracking.schema import Artifact

#: Points whose learning curves are drawn, and the runs of each whose histories are read, at most.
TOP, RUNS = 6, 12
#: Epochs of a curve; longer curves are thinned.
LENGTH = 240


def build(store: Store, parent_id: str) -> str:
    """Return the page of the sweep whose parent run has this id: one self-contained file.

    Raise TrackingError if the store cannot be read.
    """
    sweep = read(store, parent_id)
    return page(sweep, curves(store, sweep))


def log_report(store: Store, parent_id: str) -> None:
    """Write the page and log it as an artifact of the sweep's parent run."""
    store.resume(parent_id).text(build(store, parent_id), Artifact.REPORT)


def curves(store: Store, sweep: RecordedSweep) -> Curves:
    """Return objective and losses of the best points by epoch, as mean and standard deviation over seeds."""
    names = list(dict.fromkeys([sweep.objective.name, "val/loss", "train/loss"]))
    shown: Curves = {}
    for name in names:
        drawn = [_curve(store, point, name) for point in sweep.points[:TOP]]
        if any(drawn):
            shown[name] = drawn
    return shown


def _curve(store: Store, point: Point, name: str) -> dict[int, Stat]:
    """Return a curve by epoch. A run with repeats has recorded mean and standard deviation itself."""
    runs = [run.record for run in point.done if run.record is not None][:RUNS]
    if len(runs) == 1 and runs[0].repeats > 1:
        run = runs[0]
        means, stds = query.history(store, run.id, name), query.history(store, run.id, f"{name}_std")
        curve = {step: Stat(mean, stds.get(step), run.repeats) for step, mean in means.items()}
    else:
        histories = [query.history(store, run.id, name) for run in runs if name in run.metrics]
        steps = sorted({step for history in histories for step in history})
        curve = {step: Stat.of([values[step] for values in histories if step in values]) for step in steps}
    return thinned({step: stat for step, stat in curve.items() if math.isfinite(stat.mean)})


def thinned(curve: dict[int, Stat]) -> dict[int, Stat]:
    """Return at most LENGTH epochs of a curve, evenly spaced, with the first and the last."""
    steps: Sequence[int] = sorted(curve)
    if len(steps) > LENGTH:
        chosen = {round(k * (len(steps) - 1) / (LENGTH - 1)) for k in range(LENGTH)}
        steps = [steps[index] for index in sorted(chosen)]
    return {step: curve[step] for step in steps}
