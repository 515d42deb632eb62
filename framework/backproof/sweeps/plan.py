"""Plan a sweep: compose every point, build it and fit it to its data before anything runs."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf

from backproof.app.config import Settings, construct
from backproof.app.session import Session
from backproof.app.sweep_options import ADAPTIVE, GRID, NO_PRUNER, OFF, SweepOptions
from backproof.contracts.errors import InvalidValue
from backproof.experiment import describe
from backproof.experiment.experiment import PreparedExperiment
from backproof.experiment.stackable import stacking_key
from backproof.render.terminal import print_status
from backproof.sweeps import resume, search
from backproof.sweeps.compose import Composer
from backproof.sweeps.objective import Objective, objectives
from backproof.sweeps.planned import PlannedRun, digest, point_key
from backproof.sweeps.planned_job import plugin_code
from backproof.sweeps.space import Space, conditional, parse
from backproof.tracking.run import param_values
from backproof.tracking.schema import Status

#: The most parameters of a network for which a stack is faster than one point after the other.
MAX_PARAMETERS = 10_000
#: Hexadecimal digits of a sweep's hash.
HASH_DIGITS = 16
#: From this many points on, planning takes long enough for a message.
MANY_POINTS = 2_000


@dataclass
class Plan:
    """A sweep that is checked and not started yet."""

    space: Space
    options: SweepOptions
    points: list[PlannedRun]  # empty for a search, whose points are chosen one by one
    settings: Settings
    wanted: tuple[Objective, ...]
    hash: str  # of the points, or of a search with everything that determines its points
    space_hash: str  # of a search without its limits

    @property
    def adaptive(self) -> bool:
        return self.options.sampler in ADAPTIVE

    @property
    def total(self) -> int | None:
        """The number of its runs; None for a search without a limit."""
        return self.options.n_trials if self.adaptive else len(self.points)

    def done(self, previous: resume.PreviousSweep) -> int:
        """Return how many of its runs a previous sweep has finished."""
        return len(previous.finished if self.adaptive else resume.match(self.points, previous.children))

    def complete(self, previous: resume.PreviousSweep) -> bool:
        """Return whether a previous sweep has finished everything."""
        if self.total is None:
            return previous.parent.status == Status.FINISHED
        return self.done(previous) >= self.total


class Planner:
    """Composes points with Hydra, and builds them to see that they can be run."""

    def __init__(self, config: DictConfig, context: HydraContext, session: Session, *, caches: bool) -> None:
        self.config, self.context, self.session = config, context, session
        self.caches = caches  # whether built points are kept for their jobs, which run in this process
        self.compose = Composer(config, context)
        self._stack_keys: list[Any] = []
        self._folders: set[Path] = set()  # of the jobs that were started

    def plan(self, arguments: list[str]) -> Plan:
        """Plan the sweep of these arguments. Raise whatever is wrong with it, before anything is written."""
        config, context = self.config, self.context
        parser = OverridesParser.create(config_loader=context.config_loader)
        parsed = parser.parse_overrides(arguments)
        values = OmegaConf.to_container(config.sweep, resolve=True)
        options: SweepOptions = construct(SweepOptions, cast("dict[str, Any]", values), "sweep.")
        space = parse(parsed, options.groups, self._is_integer)
        if options.space is not None:
            space = space.with_plugin(conditional(options.space, self.session.plugins))
        search.check(options, space, len(options.objectives))
        if options.sampler == GRID:
            drawn = [(overrides, None) for overrides in space.grid()[: options.n_trials]]
        elif options.sampler in ADAPTIVE:
            drawn = [(overrides, None) for overrides in space.probes()]
        else:
            # An end of an interval that is out of bounds must show, even if no drawn point comes near it.
            self._planned([(overrides, None) for overrides in space.probes()])
            drawn = [(space.at(params), params) for params in search.draw(space, options)]
        points, settings, prepared, texts = self._planned(drawn)
        wanted = objectives(prepared, options)
        if options.pruner != NO_PRUNER and not wanted[0].name.startswith(("val/", "train/loss")):
            raise InvalidValue(
                "sweep.pruner", options.pruner, f"none: {wanted[0].name} is not known at the end of each epoch"
            )
        if options.sampler in ADAPTIVE:
            texts += [
                options.sampler,
                str(options.seed),
                *(f"{objective.name} {objective.direction}" for objective in wanted),
            ]
            texts += [f"{name}={text}" for name, text in space.texts.items()]
            points = []
        limits = [str(options.n_trials), str(options.timeout)] if options.sampler in ADAPTIVE else []
        hash_, space_hash = (digest(sorted(lines), HASH_DIGITS) for lines in ([*texts, *limits], texts))
        return Plan(space, options, points, settings, wanted, hash_, space_hash)

    def _planned(
        self, drawn: Sequence[tuple[list[str], dict[str, Any] | None]]
    ) -> tuple[list[PlannedRun], Settings, Any, list[str]]:
        """Compose and build points. Return the planned runs, settings and experiment of the first, and the texts
        whose hash identifies the sweep. An error names the point."""
        runs: list[PlannedRun] = []
        first: tuple[Settings, Any] | None = None
        digests: dict[str, None] = {}
        if len(drawn) >= MANY_POINTS:
            print_status(f"checking {describe.counted(len(drawn), 'point')} before the first one runs")
        folders: dict[Path, list[str]] = {}
        for number, (overrides, params) in enumerate(drawn):
            try:
                chosen, prepared, planned = self.prepare(overrides, params, number=number)
                self._check_folder(folders, overrides, number)
            except Exception as error:
                if len(drawn) > 1:
                    error.add_note(f"in the point {' '.join(overrides)} of the sweep; nothing was run")
                raise
            first = first or (chosen, prepared)
            digests.setdefault(prepared.data.digest)
            runs.append(planned)
        if first is None:
            raise ValueError("the sweep has no points: one of the lists is empty")
        return numbered(runs), *first, [*(run.hash for run in runs), *digests]

    def prepare(
        self,
        overrides: list[str],
        params: dict[str, Any] | None = None,
        trial: int | None = None,
        *,
        number: int = 0,
    ) -> tuple[Settings, PreparedExperiment, PlannedRun]:
        """Return the settings and experiment of a point, and the planned run. Raise whatever is wrong with it."""
        settings, prepared = self.session.prepare(self.compose(overrides, number))
        parameters = describe.parameters(prepared)
        hash_ = describe.config_hash(parameters)
        choices, values = self.compose.split(overrides)
        stack = None
        if self._may_stack(prepared):
            keys = [text.partition("=")[0] for text in values]
            key = (choices, keys, dataclasses.replace(settings.tracking, tags={}), stacking_key(prepared))
            if key not in self._stack_keys:
                self._stack_keys.append(key)
            stack = self._stack_keys.index(key)
        options = prepared.experiment.run
        point = point_key(parameters)
        planned = PlannedRun(
            overrides,
            hash_,
            params,
            trial,
            stack,
            [*values],
            point,
            options.seed,
            options.repeats,
            code=plugin_code(prepared, self.session.plugins),
            data=prepared.data.digest,
        )
        if self.caches and stack is not None:
            self.session.cache(planned.digest, settings, prepared)
        return settings, prepared, planned

    def _may_stack(self, prepared: PreparedExperiment) -> bool:
        """Return whether points like this one may be stacked.

        Large networks gain nothing; folders that the user names, and pruning, need a job for each run.
        """
        small = prepared.net.layout.P * prepared.experiment.run.repeats <= MAX_PARAMETERS
        sweep = self.config.sweep
        return small and self._numbered and sweep.stack != OFF and sweep.pruner == NO_PRUNER

    @functools.cached_property
    def _numbered(self) -> bool:
        """Whether the folders of the jobs are their numbers."""
        raw = OmegaConf.to_container(self.config.hydra.sweep, resolve=False)
        return cast("dict[str, Any]", raw)["subdir"] == "${hydra.job.num}"

    def _check_folder(self, folders: dict[Path, list[str]], overrides: list[str], number: int) -> None:
        """Add a point's folder. Raise InvalidValue if another point has it."""
        if self._numbered:
            return
        parent, subdir = self.compose.folder(overrides, number)
        other = folders.setdefault(parent / subdir, overrides)
        if other is not overrides:
            differ = " ".join(text for text in other if text not in overrides)
            raise InvalidValue(
                "hydra.sweep.subdir",
                subdir,
                f"another folder for each point, and {differ} has this one: add -${{hydra.job.num}} to it",
            )

    def new_folder(self, run: PlannedRun, number: int) -> tuple[Path, list[str]]:
        """Return the folder of a job, and the override that gives it another one if it is taken."""
        parent, subdir = self.compose.folder(run.overrides, number)
        new, k = subdir, 2
        while (folder := parent / new) in self._folders or folder.exists():
            new, k = f"{subdir}-{k}", k + 1
        self._folders.add(folder)
        quoted = QuotedString(new, Quote.single).with_quotes()
        return folder, [] if new == subdir else [f"hydra.sweep.subdir={quoted}"]

    def parameters(self, run: PlannedRun, number: int) -> dict[str, str]:
        """Return the parameters of a planned run, as MLflow stores them."""
        prepared = self.session.prepare(self.compose(run.overrides, number))[1]
        return param_values(describe.parameters(prepared))

    def _is_integer(self, key: str) -> bool:
        config = self.config
        value: object = OmegaConf.select(config, key.lstrip("+"), throw_on_missing=False)
        return isinstance(value, int) and not isinstance(value, bool)


def numbered(planned: Sequence[PlannedRun]) -> list[PlannedRun]:
    """Return the runs with their indices, and with the number of seeds that their point has."""
    seeds: dict[str, set[int]] = {}
    for run in planned:
        seeds.setdefault(run.point, set()).update(run.all_seeds)
    return [
        dataclasses.replace(run, index=index, seeds=len(seeds[run.point])) for index, run in enumerate(planned)
    ]
