"""Options of a sweep. They are separate from the sweeper because they are part of the config's schema."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

from backproof.contracts import hyper
from backproof.contracts.errors import InvalidValue
from backproof.contracts.fields import check_fields

GRID, RANDOM, QMC = "grid", "random", "qmc"
#: Samplers whose next point depends on the results of earlier ones.
ADAPTIVE = ("tpe", "cmaes", "nsga2", "gp")
SAMPLERS = (GRID, RANDOM, QMC, *ADAPTIVE)
AUTO, ON, OFF, LAST = "auto", "on", "off", "last"
NO_PRUNER = "none"
PRUNERS = (NO_PRUNER, "median", "hyperband")
MAXIMIZE, MINIMIZE = "maximize", "minimize"


@dataclass(frozen=True)
class SweepOptions:
    """How the points of a sweep are chosen and ranked, and what happens when one fails."""

    sampler: str = hyper(
        GRID, "grid: every combination; or an Optuna sampler for n_trials points", choices=SAMPLERS
    )
    n_trials: int | None = hyper(None, "points for a sampler to choose; a grid runs all of its points", ge=1)
    timeout: float | None = hyper(None, "seconds after which no more points are started", gt=0)
    seed: int = hyper(0, "the seed of the sampler", ge=0, lt=2**32)
    #: Keys whose lists advance together: [[optimizer.lr,train.batch_size]].
    zip: list[Any] = field(default_factory=list[Any])
    #: A plugin that defines a conditional search space for the samplers: NAME or {name: NAME, ...}.
    space: Any = None
    objective: Any = field(
        default=None,
        metadata={
            "doc": "the metric by which points are ranked, or a list; null: that of the task, as val/accuracy"
        },
    )
    directions: list[str] = field(
        default_factory=list[str],
        metadata={"doc": "maximize or minimize, one per objective; []: what suits the metric"},
    )
    resume: str = hyper(
        AUTO, "auto: continue the same sweep if it is unfinished; off; last; the name or id of a sweep"
    )
    ignore_code: bool = hyper(
        False, "keep the finished runs of a resumed sweep though the code of their plugins has changed since"
    )
    fail_fast: bool = hyper(False, "stop at the first run that fails")
    retries: int = hyper(1, "how often a run is restarted when its worker process dies", ge=0)
    batch: int | None = hyper(
        None, "jobs given to the launcher at once; null: one for the basic launcher, all for others", ge=1
    )
    pruner: str = hyper(NO_PRUNER, "stop runs early that do worse than earlier ones", choices=PRUNERS)
    stack: str = hyper(
        AUTO,
        "auto: train points that differ only in seeds and numbers as one stack, if the network is small; off",
        choices=(AUTO, OFF),
    )
    stack_size: int = hyper(32, "the most points in one stack", ge=1)
    writer: str = hyper(
        AUTO,
        "write runs to MLflow in a separate process during training; auto: for many stacked points",
        choices=(AUTO, ON, OFF),
    )

    def __post_init__(self) -> None:
        check_fields(self)
        if self.objective is not None and not self.objectives:
            raise InvalidValue("objective", self.objective, "a metric such as val/accuracy, or a list of some")
        if len(set(self.objectives)) < len(self.objectives):
            raise InvalidValue("objective", list(self.objectives), "different metrics")
        for direction in self.directions:
            if direction not in (MAXIMIZE, MINIMIZE):
                raise InvalidValue("directions", list(self.directions), "a list of maximize and minimize")
        if self.directions and len(self.directions) != max(1, len(self.objectives)):
            raise InvalidValue(
                "directions",
                list(self.directions),
                f"one for each of {max(1, len(self.objectives))} objectives",
            )

    @property
    def objectives(self) -> tuple[str, ...]:
        """The chosen metrics; empty for that of the task."""
        return _texts(self.objective)

    @property
    def groups(self) -> list[list[str]]:
        """The keys that advance together; `sweep.zip=[a,b]` is one group."""
        if self.zip and all(isinstance(key, str) for key in self.zip):
            return [list(self.zip)]
        for group in self.zip:
            keys = cast("list[Any]", group) if isinstance(group, list) else [None]
            if not all(isinstance(key, str) for key in keys):
                raise InvalidValue("sweep.zip", self.zip, "lists of keys: [[optimizer.lr,train.batch_size]]")
        return [list(group) for group in self.zip]


def _texts(value: Any) -> tuple[str, ...]:
    """Return a text, or a list of texts, as a tuple; an empty one for anything else."""
    values: list[Any] = cast("list[Any]", value) if isinstance(value, list) else [value]
    return tuple(values) if all(isinstance(text, str) for text in values) else ()
