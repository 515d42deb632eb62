"""Pruning: end a run early because others were better at the same epoch."""

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
        """Raise Pruned if the study's pruner says that the run is worse than earlier ones."""
        value = metrics.get(self.objective)
        if value is not None and self.trial.report(epoch, value):
            raise Pruned(epoch, metrics)


def observer(options: SweepOptions, objective: str) -> NullObserver:
    """Return the observer of a point: one that prunes, if the sweep does."""
    return Pruning(options, objective) if options.study else NullObserver()
