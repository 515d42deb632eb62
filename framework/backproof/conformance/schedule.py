"""The checks of schedules."""

from __future__ import annotations

import math
from typing import cast

from backproof.conformance.harness import Checks
from backproof.contracts import Schedule
from backproof.contracts.errors import require

CHECKS = Checks(Schedule)
TOTALS = (1, 2, 3, 10, 1000)


@CHECKS.add
def check_factors(schedule: Schedule) -> None:
    """The factor is a finite Python float from 0 to 1 for every step: `lr` is the largest step size."""
    for total in TOTALS:
        for t in range(total):
            factor = cast("object", schedule.factor(t, total))
            # A NumPy number would turn a float32 step into a float64 one.
            require(type(factor) is float, f"factor({t}, {total}) must be a float, got {type(factor).__name__}")
            value = cast("float", factor)
            require(
                math.isfinite(value) and 0 <= value <= 1 + 1e-12,
                f"factor({t}, {total}) must lie between 0 and 1, got {value}",
            )


@CHECKS.add
def check_starts(schedule: Schedule) -> None:
    """The first step moves the parameters, and one of the steps has the full step size, or nearly."""
    for total in TOTALS:
        factor = schedule.factor(0, total)
        require(factor > 0, f"factor(0, {total}) must be above 0, got {factor}")
    largest = max(schedule.factor(t, 1000) for t in range(1000))
    require(largest > 0.99, f"the largest of 1000 factors must be 1, got {largest}")


@CHECKS.add
def check_repeatable(schedule: Schedule) -> None:
    """The same step has the same factor, in whatever order the factors are requested."""
    forward = [schedule.factor(t, 50) for t in range(50)]
    backward = [schedule.factor(t, 50) for t in reversed(range(50))][::-1]
    require(forward == backward, "a factor must depend on t and total alone, not on the calls before")


@CHECKS.add
def check_scales(schedule: Schedule) -> None:
    """Its shape does not depend on the number of steps: half-way is half-way."""
    for part in (0.1, 0.37, 0.6, 0.9):
        few, many = (schedule.factor(round(part * total), total) for total in (10_000, 100_000))
        require(
            abs(few - many) < 0.01,
            f"at {part:.0%} of the training the factor is {few:.4g} in 10,000 steps and {many:.4g} in 100,000",
        )
