"""Run the conformance checks of a plugin, with each of its example hyperparameters."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module

from backproof.conformance.harness import Check
from backproof.discovery.entry import Entry
from backproof.discovery.guard import plugin_failure, reason, stopped_by_signal


@dataclass(frozen=True)
class Outcome:
    """The result of one check on one plugin with one set of hyperparameters."""

    check: str
    params: dict[str, object]
    error: str | None

    @property
    def passed(self) -> bool:
        """Whether the check raised nothing."""
        return self.error is None


def checks(kind: str) -> Sequence[Check]:
    """Return the checks that every plugin of a kind must pass."""
    return import_module(f"backproof.conformance.{kind}").CHECKS


def outcomes(entry: Entry) -> Iterator[Outcome]:
    """Yield the outcome of every check on every example of a plugin. A warning counts as an error."""
    for params in entry.cls.examples():
        for check in checks(entry.kind):
            error = None
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("error")
                    check(entry.cls(**params))
            # A plugin under test may raise anything; the error is reported, with the line that raised it.
            except BaseException as raised:
                if stopped_by_signal(raised):
                    raise
                error = str(plugin_failure(raised) or reason(raised))
            yield Outcome(check.__name__, dict(params), error)
