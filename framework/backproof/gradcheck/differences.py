"""Central differences that choose their own steps and know how wrong they may be."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from backproof.contracts import Array
from backproof.gradcheck.directions import Directions, Values, ranges

EPS = float(np.finfo(np.float64).eps)
#: The first step, relative to the size of the parameters that a direction moves.
FIRST = 2e-2
#: A step that truncates too much is divided by this, one that rounds too much multiplied.
SHRINK, GROW = 8.0, 16.0
ROUNDS = 10
#: An error of this much of the slope is good enough, and no further step is tried.
ENOUGH = 1e-11
#: Roundings of f that a difference may hold: those of its own sums.
PER_VALUE = 4.0
#: The weight of the narrowest difference in the extrapolation below: 64/45.
WEIGHT = 1.5


@dataclass(frozen=True)
class Slopes:
    """Slopes along S directions, how wrong they may be, and where a kink decides them. Arrays (S,)."""

    values: Array
    errors: Array  # truncation and rounding; at a kink, half the jump of the slope
    steps: Array  # h of the narrowest difference
    kinked: Array  # True where the slope on one side is not that on the other, at any step


def central_differences(value: Values, theta: Array, along: Directions) -> tuple[Array, Array]:
    """Slopes by central differences and their errors; see `differences`."""
    found = differences(value, theta, along)
    return found.values, found.errors


def differences(value: Values, theta: Array, along: Directions, *, all_steps: bool = False) -> Slopes:
    """D(h) = (f(θ + hv) − f(θ − hv)) / 2h at h, h/2, h/4, extrapolated (Richardson 1911; Romberg 1955).

    Every direction has a step of its own: first 0.02 of the size of the parameters that it moves, then smaller
    where what is truncated is the larger error, larger where it is rounding, as long as the error falls. So
    coordinates of 1e-6 and of 1e6 may stand side by side.

    truncation   what the last extrapolation changed: A(h/4) − A(h/2), with A(h) = (4 D(h) − D(2h)) / 3
    rounding     6 ε|f| / (h/4), or the noise of f in the place of 4 ε|f|, which is measured; and ε|θ| / (h/4) of
                 the slope
    kink         where the slopes on the two sides, (f(θ ± hv) − f(θ)) / ±h, do not come together as h shrinks, the
                 difference is their mean, whichever of them a gradient may take: the error is half the jump

    `all_steps` tries smaller and smaller steps however the error grows, for a function that itself jumps.
    """
    S = len(along)
    found = Slopes(np.zeros(S), np.full(S, np.inf), np.zeros(S), np.zeros(S, dtype=bool))
    f0 = float(value(theta[None])[0])
    noise = max(PER_VALUE * EPS * abs(f0), 2 * measured_noise(value, theta))
    for rows, v in ranges(theta, along):
        _Range(value, theta, v, f0, noise, all_steps).into(found, rows)
    return found


def measured_noise(value: Values, theta: Array) -> float:
    """How much f jumps about from rounding: its fourth differences at points so near that f itself is a straight
    line there (after Moré & Wild 2011). That tells a loss that is computed in float32. By their median, so that a
    kink among the points does not count as noise."""
    v = np.random.default_rng(0).uniform(-1, 1, len(theta))
    sizes = np.where(theta == 0, smallest(theta), np.abs(theta))
    points = theta + 1e-6 * np.arange(24)[:, None] * sizes * v
    values = np.array([value(each[None])[0] for each in points], dtype=np.float64)
    # 8! / 4!² is the variance of the fourth differences of white noise over its own; 0.67 its median.
    spread = float(np.median(np.abs(np.diff(values, 4)))) / 0.67
    spread *= math.factorial(4) / math.sqrt(math.factorial(8))
    return spread if np.isfinite(spread) else 0.0


class _Range:
    """Some of the directions, v (count, P)."""

    def __init__(self, value: Values, theta: Array, v: Array, f0: float, noise: float, all_steps: bool) -> None:
        self.value, self.theta, self.v, self.f0, self.noise = value, theta, v, f0, noise
        self.sizes, self.all_steps = _sizes(theta, v), all_steps

    def into(self, found: Slopes, rows: slice) -> None:
        count = len(self.v)
        best = Slopes(np.zeros(count), np.full(count, np.inf), np.zeros(count), np.zeros(count, dtype=bool))
        h, rising = FIRST * self.sizes, np.zeros(count, dtype=int)
        going, turned = np.ones(count, dtype=bool), np.zeros(count, dtype=bool)
        first = h.copy()
        for number in range(ROUNDS):
            at = np.flatnonzero(going)
            if not len(at):
                break
            slopes, truncation, rounding, kinked = self._tried(at, h[at])
            errors = truncation + rounding
            better = errors < best.errors[at]
            _take(best, at[better], slopes[better], errors[better], h[at][better] / 4, kinked[better])
            if self.all_steps:
                rising[at] = -1
            elif number == 0:
                rising[at] = np.where(truncation > rounding, -1, 1)
            # A way that makes it worse is left for the other one, once.
            lost = at[~better] if number and not self.all_steps else at[:0]
            going[lost[turned[lost]]] = False
            back = lost[~turned[lost]]
            turned[back], rising[back], h[back] = True, -rising[back], first[back]
            going &= ~(best.errors <= ENOUGH * np.abs(best.values))
            h = np.where(rising > 0, h * GROW, h / SHRINK)
        _take(found, rows, best.values, best.errors, best.steps, best.kinked)

    def _tried(self, at: Array, h: Array) -> tuple[Array, Array, Array, Array]:
        """Along some of the directions, with steps h: slopes, truncation, rounding, and whether a kink is there."""
        v = self.v[at]
        D: list[Array] = []
        bends: list[Array] = []
        largest = np.full(len(at), abs(self.f0))
        for step in (h, h / 2, h / 4):
            moved = v * step[:, None]
            # A value function may own what it returns.
            plus = np.array(self.value(self.theta + moved), dtype=np.float64)
            minus = np.array(self.value(self.theta - moved), dtype=np.float64)
            largest = np.maximum(largest, np.maximum(np.abs(plus), np.abs(minus)))
            D.append((plus - minus) / (2 * step))
            bends.append(np.abs(plus - 2 * self.f0 + minus) / (2 * step))
        A = [(4 * narrow - wide) / 3 for wide, narrow in (D[:2], D[1:])]
        slopes = (16 * A[1] - A[0]) / 15
        truncation = np.abs(A[1] - A[0])
        noise = np.maximum(self.noise, PER_VALUE * EPS * largest)
        rounding = WEIGHT * noise / (h / 4) + EPS * self.sizes[at] / (h / 4) * np.abs(slopes)
        # Of a smooth function half the bend is left at half the step, of a kink at θ all of it.
        kinked = (bends[2] > 0.6 * bends[0]) & (bends[2] > 0.6 * bends[1]) & (bends[2] > 4 * noise / (h / 4))
        truncation = np.where(kinked, np.maximum(truncation, bends[2]), truncation)
        finite = np.isfinite(slopes) & np.isfinite(truncation)
        return (
            np.where(finite, slopes, np.nan),
            np.where(finite, truncation, np.inf),
            np.where(finite, rounding, 0),
            kinked,
        )


def _take(into: Slopes, at: Array | slice, slopes: Array, errors: Array, steps: Array, kinked: Array) -> None:
    into.values[at], into.errors[at], into.steps[at], into.kinked[at] = slopes, errors, steps, kinked


def _sizes(theta: Array, v: Array) -> Array:
    """By how much a unit of each direction (count, P) may be stretched to move its parameters by their own size:
    ‖θ‖/‖v‖ over those that it moves. Where these are all zero, the smallest of the others stands in: a step that is
    too small shows by its rounding, one across several waves of f would not."""
    moved = v != 0
    own = np.sqrt(np.where(moved, theta**2, 0).sum(-1))
    count, length = np.sqrt(moved.sum(-1)), np.sqrt((v**2).sum(-1))
    own[own == 0] = (smallest(theta) * count)[own == 0]
    length[length == 0] = 1.0
    return own / length


def smallest(theta: Array) -> float:
    """The smallest parameter that is not zero, in absolute value; 1 where all are."""
    sizes = np.abs(theta[theta != 0])
    return float(sizes.min()) if len(sizes) else 1.0
