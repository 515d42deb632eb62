"""What a check is about: the slopes that someone derived, what the user asks for, and what is known of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from backproof.contracts import Array
from backproof.gradcheck.lines import Lines

AUTO, COMPLEX, CENTRAL = "auto", "complex_step", "central_differences"


@dataclass(frozen=True)
class Claim:
    """Slopes (S,) that someone derived."""

    slopes: Array
    #: What rounding in the gradient's own dtype may do to them.
    rounding: Array
    #: The usual size of such slopes, for those that are nearly zero.
    usual: Array
    #: The lines and the slopes where theta has moved by up to a part of its size.
    moved: Callable[[np.random.Generator, float], tuple[Lines, Array]]
    #: Whether f iterates until it is accurate enough.
    iterates: Callable[[], bool]


@dataclass(frozen=True)
class Settings:
    """What a user asks for."""

    oracle: str = AUTO
    tolerance: float | None = None
    noise: float | None = None


@dataclass
class Evidence:
    """What is known of S slopes; arrays (S,)."""

    got: Array
    expected: Array
    allowed: Array  # absolute
    size: Array  # what errors are relative to
    resolution: Array  # the relative error that would have shown
    status: list[str]
    oracle: list[str]
    notes: list[str]
    low: Array  # the slopes at a kink; NaN elsewhere
    high: Array
    bend: Array  # 1 where the slope jumps up at a kink, -1 where down, 0 elsewhere

    @classmethod
    def of(cls, got: Array, status: str, oracle: str) -> Evidence:
        """Return the evidence on slopes (S,) of which nothing is known yet."""
        S = len(got)
        nan, zeros = np.full(S, np.nan), np.zeros(S)
        return cls(
            got=got,
            expected=nan.copy(),
            allowed=zeros.copy(),
            size=np.ones(S),
            resolution=np.full(S, np.inf),
            status=[status] * S,
            oracle=[oracle] * S,
            notes=[""] * S,
            low=nan.copy(),
            high=nan.copy(),
            bend=zeros.copy(),
        )
