"""Early stopping of each member of a stack separately."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from backproof.contracts import Array, Metric, hyper
from backproof.contracts.fields import check_fields


@dataclass(frozen=True)
class EarlyStopping:
    """End a member's training when the monitored metric stops improving, and keep its best parameters."""

    patience: int | None = hyper(None, "epochs without improvement before training ends; null for never", ge=1)
    monitor: str = hyper("val/loss", "the metric that must improve")
    min_delta: float = hyper(0.0, "smallest change that counts as an improvement", ge=0)

    def __post_init__(self) -> None:
        check_fields(self)


class Stopper:
    """Keep the parameters of each member's best epoch, and decide which members have stopped.

    A stopped member is still computed with the others, since a stack is one product, but its metrics and its
    parameters are those of the network trained alone. Without `patience` nothing stops and the last epoch counts.
    """

    def __init__(self, options: EarlyStopping, metrics: Sequence[Metric], theta: Array) -> None:
        self.options, self.theta = options, theta
        R = len(theta)
        greater = {metric.name for metric in metrics if metric.greater_is_better}
        self.sign = -1.0 if options.monitor.partition("/")[2] in greater else 1.0
        self.active = np.ones(R, dtype=bool)
        self.best = np.full(R, np.inf)
        self.best_epochs, self.epochs = np.zeros(R, dtype=int), np.zeros(R, dtype=int)
        self._best_theta = theta.copy()
        self._last: dict[str, Array] = {}

    def mask_stopped(self, metrics: dict[str, Array]) -> dict[str, Array]:
        """Return the epoch's metrics (R,), with those of its last epoch for a member that has stopped."""
        if self._last:
            metrics = {
                name: np.where(self.active, values, self._last[name]) for name, values in metrics.items()
            }
        self._last = metrics
        return metrics

    def update(self, epoch: int, metrics: dict[str, Array]) -> bool:
        """Record an epoch, and return whether any member continues."""
        self.epochs[self.active] = epoch
        patience = self.options.patience
        if patience is None:
            self.best_epochs[:] = epoch
            return True
        values = self.sign * metrics[self.options.monitor]
        # The first epoch always counts, so that a NaN metric still leaves trained parameters.
        better = self.active & ((values < self.best - self.options.min_delta) | (self.best_epochs == 0))
        self.best[better] = values[better]
        self.best_epochs[better] = epoch
        self._best_theta[better] = self.theta[better]
        self.active &= epoch - self.best_epochs < patience
        return bool(self.active.any())

    def restore(self) -> None:
        """Write each member's best parameters into theta."""
        if self.options.patience is not None:
            self.theta[...] = self._best_theta
