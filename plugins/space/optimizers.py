"""Optimizers, each with its own hyperparameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from backproof.contracts import Space, Suggest


@dataclass(frozen=True)
class Optimizers(Space):
    """sgd with momentum, or adam with its betas; each has its own range of learning rates."""

    def overrides(self, trial: Suggest) -> Mapping[str, str | float | bool]:
        """Suggest an optimizer and its hyperparameters; β1 and β2 as 1 − β, on a logarithmic scale."""
        optimizer = trial.suggest_categorical("optimizer", ["sgd", "adam"])
        if optimizer == "sgd":
            momentum = trial.suggest_float("sgd.momentum", 0.0, 0.95)
            return {
                "optimizer": optimizer,
                "optimizer.lr": trial.suggest_float("sgd.lr", 1e-3, 1.0, log=True),
                "optimizer.momentum": momentum,
            }
        return {
            "optimizer": optimizer,
            "optimizer.lr": trial.suggest_float("adam.lr", 1e-4, 0.1, log=True),
            "optimizer.beta1": 1 - trial.suggest_float("adam.1-beta1", 0.01, 0.5, log=True),
            "optimizer.beta2": 1 - trial.suggest_float("adam.1-beta2", 1e-4, 0.1, log=True),
        }
