"""What every schedule must keep."""

from __future__ import annotations

import math
from typing import cast

from backproof.conformance.base import Check, ConformanceError, require
from backproof.contracts import Plugin, Schedule

TOTALS = (1, 2, 3, 10, 1000)


def _schedule(plugin: Plugin) -> Schedule:
    if not isinstance(plugin, Schedule):
        raise ConformanceError(f"expected a Schedule, got {type(plugin).__name__}")
    return plugin


def check_factors(plugin: Plugin) -> None:
    """A finite Python float from 0 to 1 for every step: `lr` is the largest step size."""
    schedule = _schedule(plugin)
    for total in TOTALS:
        for t in range(total):
            factor = cast("object", schedule.factor(t, total))
            # A NumPy number would make float64 of a float32 step.
            require(type(factor) is float, f"factor({t}, {total}) must be a float, got {type(factor).__name__}")
            value = cast("float", factor)
            require(
                math.isfinite(value) and 0 <= value <= 1 + 1e-12,
                f"factor({t}, {total}) must lie between 0 and 1, got {value}",
            )


def check_starts(plugin: Plugin) -> None:
    """The first step moves something, and one of the steps has the full step size, or nearly."""
    schedule = _schedule(plugin)
    for total in TOTALS:
        require(
            schedule.factor(0, total) > 0,
            f"factor(0, {total}) must be above 0, got {schedule.factor(0, total)}",
        )
    largest = max(schedule.factor(t, 1000) for t in range(1000))
    require(largest > 0.99, f"the largest of 1000 factors must be 1, got {largest}")


def check_repeatable(plugin: Plugin) -> None:
    """The same step has the same factor, in whatever order steps are asked for."""
    schedule = _schedule(plugin)
    forward = [schedule.factor(t, 50) for t in range(50)]
    backward = [schedule.factor(t, 50) for t in reversed(range(50))][::-1]
    require(forward == backward, "a factor must depend on t and total alone, it depends on the calls before")


def check_scales(plugin: Plugin) -> None:
    """Its shape does not depend on the number of steps: half-way is half-way."""
    schedule = _schedule(plugin)
    for part in (0.1, 0.37, 0.6, 0.9):
        few, many = (
            schedule.factor(round(part * 10_000), 10_000),
            schedule.factor(round(part * 100_000), 100_000),
        )
        require(
            abs(few - many) < 0.01,
            f"at {part:.0%} of the training the factor is {few:.4g} in 10,000 steps and {many:.4g} in 100,000",
        )


CHECKS: tuple[Check, ...] = (check_factors, check_starts, check_repeatable, check_scales)
