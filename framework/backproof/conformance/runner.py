"""Runs the conformance checks of a kind on a plugin, with each of its example hyperparameters."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from importlib import import_module

from backproof.conformance.base import Check, Outcome
from backproof.discovery.entry import Entry


def checks(kind: str) -> tuple[Check, ...]:
    """The checks that every plugin of a kind must pass."""
    return import_module(f"backproof.conformance.{kind}").CHECKS


def outcomes(entry: Entry) -> Iterator[Outcome]:
    """The outcome of every check on every example of a plugin. A warning counts as an error."""
    for params in entry.cls.examples():
        for check in checks(entry.kind):
            error = None
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("error")
                    check(entry.cls(**params))
            # A plugin under test may raise anything; it is reported as what it is.
            except Exception as raised:  # noqa: BLE001
                error = f"{type(raised).__name__}: {raised}"
            yield Outcome(check.__name__, dict(params), error)
