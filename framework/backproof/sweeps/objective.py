"""What the points of a sweep are ranked by."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

from backproof.app.sweep_options import MAXIMIZE, MINIMIZE, SweepOptions
from backproof.contracts.errors import InvalidValue, PluginError, did_you_mean
from backproof.discovery.registry import PluginWarning, registry
from backproof.experiment.experiment import PreparedExperiment
from backproof.tracking.schema import Tag


@dataclass(frozen=True)
class Objective:
    """A metric that points are ranked by, and whether a greater value is better."""

    name: str  # as val/accuracy
    greater: bool

    @property
    def direction(self) -> str:
        return MAXIMIZE if self.greater else MINIMIZE

    @property
    def description(self) -> str:
        return f"{self.name} ({'greater' if self.greater else 'smaller'} is better)"

    def cost(self, value: float) -> tuple[bool, float]:
        """Return a sort key: the best first, a value that is not finite last."""
        return (False, -value if self.greater else value) if math.isfinite(value) else (True, 0.0)


def objectives(prepared: PreparedExperiment, options: SweepOptions) -> tuple[Objective, ...]:
    """Return the objectives of a sweep over such experiments. Raise InvalidValue for a metric that they lack."""
    known: dict[str, bool] = {}
    for part in prepared.data.parts:
        known |= {f"{part}/{metric.name}": metric.greater_is_better for metric in prepared.metrics}
        known[f"{part}/loss"] = False
    if prepared.experiment.run.repeats > 1:
        known |= {f"{name}_std": False for name in known}
    default, greater = prepared.objective
    names = options.objectives or (default,)
    for name in names:
        if name not in known:
            raise InvalidValue(
                "sweep.objective", name, f"one of {', '.join(known)}{did_you_mean(name, list(known))}"
            )
    if options.directions:
        return tuple(
            Objective(name, direction == MAXIMIZE)
            for name, direction in zip(names, options.directions, strict=True)
        )
    return tuple(Objective(name, greater if name == default else known[name]) for name in names)


def greater_is_better(name: str) -> bool:
    """Return whether a greater value of a metric such as `val/accuracy` is better, according to its plugin."""
    last = name.rpartition("/")[2]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PluginWarning)
        try:
            return bool(getattr(registry().entry("metric", last).cls, "greater_is_better", True))
        except PluginError:
            # A loss, a time, a spread or an error; or a metric whose plugin is not installed here.
            return not any(part in last for part in ("loss", "error", "seconds", "_std"))


def recorded_objectives(parent: Mapping[str, str]) -> list[Objective]:
    """Return the objectives in a parent run's tags."""
    names = [name for name in parent.get(Tag.OBJECTIVE, "").split(",") if name]
    directions = parent.get(Tag.DIRECTION, "").split(",")
    if len(directions) != len(names):
        return [Objective(name, greater_is_better(name)) for name in names]
    return [Objective(name, text == MAXIMIZE) for name, text in zip(names, directions, strict=True)]
