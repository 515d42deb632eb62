"""Floor 3: early stopping, for each member of a stack by itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from backproof.contracts import Array, Metric
from backproof.nn.training import EarlyStopping


class Stopper:
    """Keeps, for each member, the parameters of its best epoch, and says when all have stopped.

    A member that has stopped is still computed with the others, since a stack is one product; but its metrics
    and its parameters are those it would have alone. Without `patience` nothing stops and the last count.
    """

    def __init__(self, options: EarlyStopping, metrics: Sequence[Metric], theta: Array) -> None:
        self.options, self.theta = options, theta
        R = len(theta)
        greater = {metric.name for metric in metrics if metric.greater_is_better}
        self.sign = -1.0 if options.monitor.partition("/")[2] in greater else 1.0
        self.active = np.ones(R, dtype=bool)
        self.best = np.full(R, np.inf)
        self.best_epochs, self.epochs = np.zeros(R, dtype=int), np.zeros(R, dtype=int)
        self._kept = theta.copy()
        self._last: dict[str, Array] = {}

    def frozen(self, metrics: dict[str, Array]) -> dict[str, Array]:
        """The epoch's metrics (R,), where a member that has stopped keeps those of its last epoch."""
        if self._last:
            metrics = {name: np.where(self.active, now, self._last[name]) for name, now in metrics.items()}
        self._last = metrics
        return metrics

    def update(self, epoch: int, metrics: dict[str, Array]) -> bool:
        """Note an epoch, and whether any member goes on after it."""
        self.epochs[self.active] = epoch
        patience = self.options.patience
        if patience is None:
            self.best_epochs[:] = epoch
            return True
        values = self.sign * metrics[self.options.monitor]
        # A first epoch always counts, so that a NaN metric still leaves trained parameters.
        better = self.active & ((values < self.best - self.options.min_delta) | (self.best_epochs == 0))
        self.best[better] = values[better]
        self.best_epochs[better] = epoch
        self._kept[better] = self.theta[better]
        self.active &= epoch - self.best_epochs < patience
        return bool(self.active.any())

    def restore(self) -> None:
        """Write each member's best parameters into theta."""
        if self.options.patience is not None:
            self.theta[...] = self._kept
