"""What every search space must keep, at the ends of its ranges, for all choices, and at random points between."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator
from typing import Any

from backproof.conformance.base import Check, ConformanceError, require
from backproof.contracts import KINDS, Plugin, Space
from backproof.discovery.registry import registry
from backproof.sweeps.suggest import Domain, Interval, Suggestions, explore, point

#: Points between the ends.
DRAWN = 40


def _space(plugin: Plugin) -> Space:
    if not isinstance(plugin, Space):
        raise ConformanceError(f"expected a Space, got {type(plugin).__name__}")
    return plugin


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


def check_returns(plugin: Plugin) -> None:
    """A mapping from keys of the config to plain values, for whatever is suggested, and something is."""
    for overrides, _ in _points(_space(plugin)):
        require(overrides, "overrides() must name at least one key, it returned an empty mapping")


def check_repeatable(plugin: Plugin) -> None:
    """The same suggestions make the same point, so that it can be run again."""
    space = _space(plugin)
    for overrides, asked in _points(space):
        again, _ = point(space, lambda name, domain, asked=asked: asked.values[name])
        require(
            again == overrides,
            f"the same suggestions must give the same overrides, got {overrides} and then {again}",
        )


def check_names(plugin: Plugin) -> None:
    """A name stands for one range, or for one list of choices, in all points."""
    known: dict[str, Domain] = {}
    for _, asked in _points(_space(plugin)):
        for name, domain in asked.domains.items():
            require(
                known.setdefault(name, domain) == domain,
                f"{name!r} must always be the same range, got {known[name]} and {domain}: use two names",
            )


def check_plugins(plugin: Plugin) -> None:
    """Plugins that it chooses are installed, and have the hyperparameters that it gives them."""
    for overrides, _ in _points(_space(plugin)):
        given = dict(each.split("=", 1) for each in overrides)
        for key in given:
            kind, _, name = key.partition(".")
            if kind not in KINDS or kind not in given or not name:
                continue
            cls = registry().get(kind, given[kind])
            fields = [each.name for each in dataclasses.fields(cls)]
            require(name in fields, f"{kind} {given[kind]!r} has no hyperparameter {name!r}, it has {fields}")


CHECKS: tuple[Check, ...] = (check_returns, check_repeatable, check_names, check_plugins)
