"""A sweep read from its store and put on a page."""

from __future__ import annotations

import math
from collections.abc import Sequence

from backproof.report.page import Curves, page
from backproof.sweeps.recorded import RecordedSweep, read
from backproof.sweeps.result import Point, Stat
from backproof.tracking import Store, query
from backproof.tracking.schema import Artifact

#: Points whose learning curves are drawn, and the most runs of each whose histories are asked for.
TOP, RUNS = 6, 12
#: Epochs of a curve; a longer one is thinned out.
LENGTH = 240


def build(store: Store, parent_id: str) -> str:
    """The HTML page of the sweep whose parent run has this id: all of it in one file, and no network.

    Raises TrackingError where the store cannot be read.
    """
    sweep = read(store, parent_id)
    return page(sweep, curves(store, sweep))


def log_report(store: Store, parent_id: str) -> None:
    """Write the page and log it as an artifact of the sweep's parent run."""
    store.resume(parent_id).text(build(store, parent_id), Artifact.REPORT)


def curves(store: Store, sweep: RecordedSweep) -> Curves:
    """Of the best points the objective and the losses by epoch, each as mean and deviation over seeds."""
    names = list(dict.fromkeys([sweep.objective.name, "val/loss", "train/loss"]))
    found: Curves = {}
    for name in names:
        drawn = [_curve(store, point, name) for point in sweep.points[:TOP]]
        if any(drawn):
            found[name] = drawn
    return found


def _curve(store: Store, point: Point, name: str) -> dict[int, Stat]:
    """By epoch. A run of several seeds has recorded mean and deviation itself."""
    runs = [run.record for run in point.done if run.record is not None][:RUNS]
    if len(runs) == 1 and runs[0].repeats > 1:
        run = runs[0]
        means, stds = query.history(store, run.id, name), query.history(store, run.id, f"{name}_std")
        curve = {step: Stat(mean, stds.get(step), run.repeats) for step, mean in means.items()}
    else:
        histories = [query.history(store, run.id, name) for run in runs if name in run.metrics]
        steps = sorted({step for each in histories for step in each})
        curve = {step: Stat.of([each[step] for each in histories if step in each]) for step in steps}
    return thinned({step: stat for step, stat in curve.items() if math.isfinite(stat.mean)})


def thinned(curve: dict[int, Stat]) -> dict[int, Stat]:
    """At most LENGTH of the epochs, evenly, the first and the last among them."""
    steps: Sequence[int] = sorted(curve)
    if len(steps) > LENGTH:
        chosen = {round(k * (len(steps) - 1) / (LENGTH - 1)) for k in range(LENGTH)}
        steps = [steps[index] for index in sorted(chosen)]
    return {step: curve[step] for step in steps}
