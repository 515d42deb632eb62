"""The checks of search spaces: at the ends of their ranges, for all choices, and at random points between."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator
from typing import Any

from backproof.conformance.harness import Checks
from backproof.contracts import KINDS, Space
from backproof.contracts.errors import require
from backproof.discovery.registry import registry
from backproof.sweeps.suggest import Domain, Interval, Suggestions, explore, point

CHECKS = Checks(Space)
#: Random points between the ends.
DRAWN = 40


def _points(space: Space) -> Iterator[tuple[list[str], Suggestions]]:
    yield from explore(space)
    draws = random.Random(0)

    def take(name: str, domain: Domain) -> Any:
        if not isinstance(domain, Interval):
            return draws.choice(domain)
        share = draws.random()
        if domain.log:
            value = domain.low * (domain.high / domain.low) ** share
        elif domain.step:
            value = domain.low + domain.step * int(share * ((domain.high - domain.low) // domain.step + 1))
        else:
            value = domain.low + (domain.high - domain.low) * share
        return round(value) if domain.integer else value

    for _ in range(DRAWN):
        yield point(space, take)


@CHECKS.add
def check_returns(space: Space) -> None:
    """It returns a mapping from keys of the config to plain values, not an empty one, for any suggestions."""
    for overrides, _ in _points(space):
        require(overrides, "overrides() must name at least one key, it returned an empty mapping")


@CHECKS.add
def check_repeatable(space: Space) -> None:
    """The same suggestions make the same point, so that it can be run again."""
    for overrides, asked in _points(space):
        again, _ = point(space, lambda name, domain, asked=asked: asked.values[name])
        require(
            again == overrides,
            f"the same suggestions must give the same overrides, got {overrides} and then {again}",
        )


@CHECKS.add
def check_names(space: Space) -> None:
    """A name denotes the same range, or the same list of choices, in all points."""
    known: dict[str, Domain] = {}
    for _, asked in _points(space):
        for name, domain in asked.domains.items():
            require(
                known.setdefault(name, domain) == domain,
                f"{name!r} must always be the same range, got {known[name]} and {domain}: use two names",
            )


@CHECKS.add
def check_plugins(space: Space) -> None:
    """The plugins that it chooses are installed, and have the hyperparameters that it sets."""
    for overrides, _ in _points(space):
        values = dict(override.split("=", 1) for override in overrides)
        for key in values:
            kind, _, name = key.partition(".")
            if kind not in KINDS or kind not in values or not name:
                continue
            fields = [field.name for field in dataclasses.fields(registry().get(kind, values[kind]))]
            require(name in fields, f"{kind} {values[kind]!r} has no hyperparameter {name!r}, it has {fields}")
