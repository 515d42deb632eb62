"""A sweep as it is planned: every point composed, built and fitted to its data before anything runs."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, open_dict

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
from backproof.sweeps.planned import PlannedRun, point_key
from backproof.sweeps.result import Objective, objectives
from backproof.sweeps.space import Space, conditional, parse
from backproof.tracking.schema import Status

#: Parameters of a point up to which a stack of them is quicker than one after the other.
MOST_PARAMETERS = 10_000
#: Points whose planning takes a while, so that a line says what goes on.
MANY = 2_000


@dataclass
class Plan:
    """A sweep that is checked and not yet begun."""

    space: Space
    options: SweepOptions
    points: list[PlannedRun]  # of a search none: they come one by one
    settings: Settings
    wanted: tuple[Objective, ...]
    hash: str  # of the points, or of the search with all that decides them
    space_hash: str  # of a search without how long it goes on

    @property
    def adaptive(self) -> bool:
        return self.options.sampler in ADAPTIVE

    def complete(self, earlier: resume.PreviousSweep) -> bool:
        """Whether nothing is left to do of it."""
        if not self.adaptive:
            return len(earlier.match(self.points)) == len(self.points)
        if self.options.n_trials is not None:
            return len(earlier.finished) >= self.options.n_trials
        return earlier.parent.status == Status.FINISHED


class Planner:
    """Composes points with Hydra, and builds them to see that they can be run."""

    def __init__(self, config: DictConfig, context: HydraContext, session: Session, *, keeps: bool) -> None:
        self.config, self.context, self.session = config, context, session
        self.keeps = keeps  # what is built, as its points run in this process
        self.compose = Composer(config, context)
        self._kinds: list[Any] = []

    def plan(self, arguments: list[str]) -> Plan:
        """Everything that can be wrong with a sweep is found here, before it leaves a trace."""
        config, context = self.config, self.context
        parser = OverridesParser.create(config_loader=context.config_loader)
        parsed = parser.parse_overrides(arguments)
        given = OmegaConf.to_container(config.sweep, resolve=True)
        options: SweepOptions = construct(SweepOptions, cast("dict[str, Any]", given), "sweep.")
        space = parse(parsed, options.groups, self._is_integer)
        if options.space is not None:
            space = space.with_plugin(conditional(options.space, self.session.plugins))
        search.check(options, space, len(options.objectives))
        if options.sampler == GRID:
            drawn = [(overrides, None) for overrides in space.grid()[: options.n_trials]]
        elif options.sampler in ADAPTIVE:
            drawn = [(overrides, None) for overrides in space.probes()]
        else:
            # What is out of bounds at an end of an interval shall show, even if no point comes near.
            self._planned([(overrides, None) for overrides in space.probes()])
            drawn = [(space.at(params), params) for params in search.draw(space, options)]
        points, settings, prepared, texts = self._planned(drawn)
        wanted = objectives(prepared, options)
        if options.pruner != NO_PRUNER and not wanted[0].name.startswith(("val/", "train/loss")):
            raise InvalidValue(
                "sweep.pruner", options.pruner, f"none: {wanted[0].name} is not known at the end of each epoch"
            )
        if options.sampler in ADAPTIVE:
            texts += [options.sampler, str(options.seed), *(f"{each.name} {each.direction}" for each in wanted)]
            texts += [f"{name}={text}" for name, text in space.texts.items()]
            points = []
        space_hash = resume.fingerprint(texts)
        limits = [str(options.n_trials), str(options.timeout)] if options.sampler in ADAPTIVE else []
        return Plan(space, options, points, settings, wanted, resume.fingerprint([*texts, *limits]), space_hash)

    def _planned(
        self, drawn: Sequence[tuple[list[str], dict[str, Any] | None]]
    ) -> tuple[list[PlannedRun], Settings, Any, list[str]]:
        """Compose and build points: the points with their hashes, settings and experiment of the first, and what
        the sweep is known by. An error names the point."""
        found: list[PlannedRun] = []
        first: tuple[Settings, Any] | None = None
        digests: dict[str, None] = {}
        if len(drawn) >= MANY:
            print_status(
                f"{describe.counted(len(drawn), 'point')} are composed and built, to see that they can be run"
            )
        for overrides, params in drawn:
            try:
                chosen, prepared, planned = self.prepare(overrides, params)
            except Exception as error:
                if len(drawn) > 1:
                    error.add_note(f"in the point {' '.join(overrides)} of the sweep; nothing was run")
                raise
            first = first or (chosen, prepared)
            digests.setdefault(prepared.data.digest)
            found.append(planned)
        if first is None:
            raise ValueError("the sweep has no points: one of the lists is empty")
        return numbered(found), *first, [*(each.hash for each in found), *digests]

    def prepare(
        self, overrides: list[str], params: dict[str, Any] | None = None, trial: int | None = None
    ) -> tuple[Settings, PreparedExperiment, PlannedRun]:
        """The settings and the experiment of a point, and the point as planned. Raises what is wrong with it."""
        chosen, prepared = self.session.prepare(self.compose(overrides))
        parameters = describe.parameters(prepared)
        hash_ = describe.config_hash(parameters)
        choices, values = self.compose.apart(overrides)
        alike = None
        if self._may_stack(prepared):
            keys = [each.partition("=")[0] for each in values]
            kind = (choices, keys, dataclasses.replace(chosen.tracking, tags={}), stacking_key(prepared))
            if kind not in self._kinds:
                self._kinds.append(kind)
            alike = self._kinds.index(kind)
        options = prepared.experiment.run
        key = point_key(parameters)
        planned = PlannedRun(overrides, hash_, params, trial, alike, values, key, options.seed, options.repeats)
        if self.keeps and alike is not None:
            self.session.cache(planned.digest, chosen, prepared)
        return chosen, prepared, planned

    def _may_stack(self, prepared: PreparedExperiment) -> bool:
        """A large network gains nothing. A sweep whose folders have names of the user's own keeps a job for each,
        and so does one whose runs are pruned, which computes no more of a run than it must."""
        small = prepared.net.layout.P * prepared.experiment.run.repeats <= MOST_PARAMETERS
        sweep = self.config.sweep
        return small and self._numbered and sweep.stack != OFF and sweep.pruner == NO_PRUNER

    @functools.cached_property
    def _numbered(self) -> bool:
        raw = OmegaConf.to_container(self.config.hydra.sweep, resolve=False)
        return cast("dict[str, Any]", raw)["subdir"] == "${hydra.job.num}"

    def folder_of(self, job: list[str], number: int) -> list[str]:
        """An override that gives a job a folder of its own, where its own choice of one is there already."""
        config, context = self.config, self.context
        if self._numbered:
            return []  # Numbers go on from those that are there.
        composed = context.config_loader.load_sweep_config(config, job)
        with open_dict(composed):
            composed.hydra.job.num = composed.hydra.job.id = number
        chosen, k = str(composed.hydra.sweep.subdir), 2
        if not os.path.exists(os.path.join(composed.hydra.sweep.dir, chosen)):
            return []
        while os.path.exists(os.path.join(composed.hydra.sweep.dir, f"{chosen}-{k}")):
            k += 1
        return [f"hydra.sweep.subdir='{chosen}-{k}'"]

    def _is_integer(self, key: str) -> bool:
        config = self.config
        value: object = OmegaConf.select(config, key.lstrip("+"), throw_on_missing=False)
        return isinstance(value, int) and not isinstance(value, bool)


def numbered(planned: Sequence[PlannedRun]) -> list[PlannedRun]:
    """Return the runs with their positions, and with the number of seeds that their point has."""
    seeds: dict[str, set[int]] = {}
    for run in planned:
        seeds.setdefault(run.point, set()).update(run.all_seeds)
    return [
        dataclasses.replace(run, index=index, seeds=len(seeds[run.point])) for index, run in enumerate(planned)
    ]
