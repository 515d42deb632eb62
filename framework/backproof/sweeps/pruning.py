"""Runs of a sweep that are ended early because others did better by the same epoch."""

from __future__ import annotations

from backproof.app.session import NullObserver
from backproof.app.sweep_options import SweepOptions
from backproof.nn.training import Pruned


class Pruning(NullObserver):
    """An observer that reports each epoch's objective to the sweep's study."""

    def __init__(self, options: SweepOptions, objective: str) -> None:
        from backproof.sweeps.search import Trial

        self.objective = options.objectives[0] if options.objectives else objective
        self.trial = Trial(options.study or "", options.pruner)

    def on_epoch(self, epoch: int, metrics: dict[str, float]) -> None:
        """Raise Pruned where the study says that the run is worse than others were."""
        value = metrics.get(self.objective)
        if value is not None and self.trial.report(epoch, value):
            raise Pruned(epoch, metrics)


def observer(options: SweepOptions, objective: str) -> NullObserver:
    """What watches a point of a sweep."""
    return Pruning(options, objective) if options.study else NullObserver()
