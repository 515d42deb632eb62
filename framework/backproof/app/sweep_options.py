"""Floor 4: what a sweep may be told. Apart from the sweeper, so that the config's schema need not know it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

from backproof.contracts import hyper
from backproof.contracts.errors import InvalidValue
from backproof.contracts.fields import check_fields

GRID, RANDOM, QMC = "grid", "random", "qmc"
#: Samplers whose next point depends on what the earlier ones came to.
ADAPTIVE = ("tpe", "cmaes", "nsga2", "gp")
SAMPLERS = (GRID, RANDOM, QMC, *ADAPTIVE)
AUTO, ON, OFF, LAST = "auto", "on", "off", "last"
NO_PRUNER = "none"
PRUNERS = (NO_PRUNER, "median", "hyperband")
MAXIMIZE, MINIMIZE = "maximize", "minimize"


@dataclass(frozen=True)
class SweepOptions:
    """How the points of a sweep are chosen, what they are ranked by, and what happens when one fails."""

    sampler: str = hyper(GRID, "every combination, or that many points by an Optuna sampler", choices=SAMPLERS)
    n_trials: int | None = hyper(None, "points that a sampler takes; grid: all there are", ge=1)
    timeout: float | None = hyper(None, "seconds after which no further point is started", gt=0)
    seed: int = hyper(0, "of the sampler", ge=0, lt=2**32)
    #: Keys whose lists are walked together: [[optimizer.lr,train.batch_size]].
    zip: list[Any] = field(default_factory=list[Any])
    #: A plugin whose choices decide what else there is to choose, for the samplers: NAME or {name: NAME, ...}.
    space: Any = None
    objective: Any = field(
        default=None,
        metadata={
            "doc": "the metric that points are ranked by, or a list; null: the run's own, as val/accuracy"
        },
    )
    directions: list[str] = field(
        default_factory=list[str],
        metadata={"doc": "maximize or minimize, one per objective; []: as the metric says"},
    )
    resume: str = hyper(
        AUTO, "auto: the same sweep if it was left unfinished; off; last; the name or id of a sweep"
    )
    fail_fast: bool = hyper(False, "stop at the first run that fails")
    retries: int = hyper(1, "times that a run is started again whose worker process died", ge=0)
    batch: int | None = hyper(
        None, "jobs handed to the launcher at once; null: one to the basic launcher, all to others", ge=1
    )
    pruner: str = hyper(NO_PRUNER, "end runs early that are worse than others were", choices=PRUNERS)
    stack: str = hyper(
        AUTO,
        "auto: points that differ only in seeds and numbers train as one stack, where the network is small; off",
        choices=(AUTO, OFF),
    )
    stack_size: int = hyper(32, "points of one stack at most", ge=1)
    writer: str = hyper(
        AUTO,
        "a process of its own that writes runs to MLflow while others are trained; auto: for many stacked points",
        choices=(AUTO, ON, OFF),
    )
    stacked: str | None = hyper(None, "file that names the points of a job, as the sweeper sets it")
    study: str | None = hyper(None, "file and trial that a run reports its epochs to, as the sweeper sets it")

    def __post_init__(self) -> None:
        check_fields(self)
        if self.objective is not None and not self.objectives:
            raise InvalidValue("objective", self.objective, "a metric such as val/accuracy, or a list of some")
        named = self.objectives
        if len(set(named)) < len(named):
            raise InvalidValue("objective", list(named), "different metrics")
        for each in self.directions:
            if each not in (MAXIMIZE, MINIMIZE):
                raise InvalidValue("directions", list(self.directions), "a list of maximize and minimize")
        if self.directions and len(self.directions) != max(1, len(self.objectives)):
            raise InvalidValue(
                "directions",
                list(self.directions),
                f"one for each of {max(1, len(self.objectives))} objectives",
            )

    @property
    def objectives(self) -> tuple[str, ...]:
        """The metrics that are named; none where the run's own is taken."""
        return _texts(self.objective)

    @property
    def groups(self) -> list[list[str]]:
        """The keys that are walked together; `sweep.zip=[a,b]` is one group."""
        if self.zip and all(isinstance(each, str) for each in self.zip):
            return [list(self.zip)]
        for each in self.zip:
            keys = cast("list[Any]", each) if isinstance(each, list) else [None]
            if not all(isinstance(key, str) for key in keys):
                raise InvalidValue("sweep.zip", self.zip, "lists of keys: [[optimizer.lr,train.batch_size]]")
        return [list(each) for each in self.zip]


def _texts(given: Any) -> tuple[str, ...]:
    """A text, or a list of texts, as a tuple; nothing of anything else."""
    listed: list[Any] = cast("list[Any]", given) if isinstance(given, list) else [given]
    return tuple(listed) if all(isinstance(each, str) for each in listed) else ()
