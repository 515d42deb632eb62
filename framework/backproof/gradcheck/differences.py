"""Central differences with adaptive steps and error estimates."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from backproof.contracts import Array
from backproof.gradcheck.directions import Directions, Values, ranges

EPS = float(np.finfo(np.float64).eps)
#: The first step, relative to the size of the parameters that a direction changes.
FIRST = 2e-2
#: If the truncation error dominates, the step is divided by SHRINK; if rounding does, it is multiplied by GROW.
SHRINK, GROW = 8.0, 16.0
ROUNDS = 10
#: The error, relative to the slope, at which no further step is tried.
ENOUGH = 1e-11
#: Roundings of f in one difference, from the sums that compute f.
PER_VALUE = 4.0
#: The weight of the narrowest difference in the extrapolation below: 64/45.
WEIGHT = 1.5


@dataclass(frozen=True)
class Slopes:
    """Slopes along S directions, their errors, and whether a kink was met. Arrays (S,)."""

    values: Array
    errors: Array  # truncation and rounding; at a kink, half the jump of the slope
    steps: Array  # h of the narrowest difference
    kinked: Array  # True if the slopes on the two sides differ at every step


def central_differences(value: Values, theta: Array, along: Directions) -> tuple[Array, Array]:
    """Return slopes by central differences, and their errors; see `differences`."""
    slopes = differences(value, theta, along)
    return slopes.values, slopes.errors


def differences(value: Values, theta: Array, along: Directions, *, all_steps: bool = False) -> Slopes:
    """Return D(h) = (f(θ + hv) − f(θ − hv)) / 2h at h, h/2, h/4, extrapolated (Richardson 1911; Romberg 1955).

    The step of each direction is adapted separately: first 0.02 of the size of the parameters that it changes, then
    smaller if truncation is the larger error, larger if rounding is, as long as the error falls. So parameters of
    1e-6 and of 1e6 may occur in one function.

    truncation   the change of the last extrapolation, A(h/4) − A(h/2), with A(h) = (4 D(h) − D(2h)) / 3
    rounding     6 ε|f| / (h/4), with the measured noise of f in place of 4 ε|f| if that is larger; and ε|θ| / (h/4)
                 times the slope
    kink         if the one-sided slopes, (f(θ ± hv) − f(θ)) / ±h, do not converge as h shrinks, the difference is
                 their mean, while a gradient may be either of them: the error is half the jump

    `all_steps` tries ever smaller steps even if the error grows, for a function that has jumps.
    """
    S = len(along)
    slopes = Slopes(np.zeros(S), np.full(S, np.inf), np.zeros(S), np.zeros(S, dtype=bool))
    f0 = float(value(theta[None])[0])
    noise = max(PER_VALUE * EPS * abs(f0), 2 * measured_noise(value, theta))
    for rows, v in ranges(theta, along):
        _Range(value, theta, v, f0, noise, all_steps).into(slopes, rows)
    return slopes


def measured_noise(value: Values, theta: Array) -> float:
    """Return the standard deviation of f from rounding (after Moré & Wild 2011).

    It is estimated from fourth differences of f at points so close that f is a straight line there, by their
    median, so that a kink between the points does not count as noise. It detects a loss computed in float32.
    """
    v = np.random.default_rng(0).uniform(-1, 1, len(theta))
    sizes = np.where(theta == 0, smallest(theta), np.abs(theta))
    points = theta + 1e-6 * np.arange(24)[:, None] * sizes * v
    values = np.array([value(point[None])[0] for point in points], dtype=np.float64)
    # Fourth differences of white noise have 8! / 4!² times its variance; |N(0, 1)| has the median 0.67.
    spread = float(np.median(np.abs(np.diff(values, 4)))) / 0.67
    spread *= math.factorial(4) / math.sqrt(math.factorial(8))
    return spread if np.isfinite(spread) else 0.0


class _Range:
    """Differences along some of the directions, v (count, P)."""

    def __init__(self, value: Values, theta: Array, v: Array, f0: float, noise: float, all_steps: bool) -> None:
        self.value, self.theta, self.v, self.f0, self.noise = value, theta, v, f0, noise
        self.sizes, self.all_steps = _sizes(theta, v), all_steps

    def into(self, slopes: Slopes, rows: slice) -> None:
        """Write the slopes along these directions into `rows`."""
        count = len(self.v)
        best = Slopes(np.zeros(count), np.full(count, np.inf), np.zeros(count), np.zeros(count, dtype=bool))
        h, rising = FIRST * self.sizes, np.zeros(count, dtype=int)
        active, turned = np.ones(count, dtype=bool), np.zeros(count, dtype=bool)
        first = h.copy()
        for number in range(ROUNDS):
            at = np.flatnonzero(active)
            if not len(at):
                break
            values, truncation, rounding, kinked = self._try(at, h[at])
            errors = truncation + rounding
            better = errors < best.errors[at]
            _write(best, at[better], values[better], errors[better], h[at][better] / 4, kinked[better])
            if self.all_steps:
                rising[at] = -1
            elif number == 0:
                rising[at] = np.where(truncation > rounding, -1, 1)
            # Steps that make the error grow change in the other direction from the first step on, once.
            worse = at[~better] if number and not self.all_steps else at[:0]
            active[worse[turned[worse]]] = False
            back = worse[~turned[worse]]
            turned[back], rising[back], h[back] = True, -rising[back], first[back]
            active &= ~(best.errors <= ENOUGH * np.abs(best.values))
            h = np.where(rising > 0, h * GROW, h / SHRINK)
        _write(slopes, rows, best.values, best.errors, best.steps, best.kinked)

    def _try(self, at: Array, h: Array) -> tuple[Array, Array, Array, Array]:
        """Return slopes along directions `at` with steps h, truncation, rounding, and whether there is a kink."""
        v = self.v[at]
        D: list[Array] = []
        bends: list[Array] = []
        largest = np.full(len(at), abs(self.f0))
        for step in (h, h / 2, h / 4):
            moved = v * step[:, None]
            # Copies, since a value function may reuse its result array.
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
        # Half the step halves the bend of a smooth function, but not that of a kink at θ.
        kinked = (bends[2] > 0.6 * bends[0]) & (bends[2] > 0.6 * bends[1]) & (bends[2] > 4 * noise / (h / 4))
        truncation = np.where(kinked, np.maximum(truncation, bends[2]), truncation)
        finite = np.isfinite(slopes) & np.isfinite(truncation)
        return (
            np.where(finite, slopes, np.nan),
            np.where(finite, truncation, np.inf),
            np.where(finite, rounding, 0),
            kinked,
        )


def _write(into: Slopes, at: Array | slice, slopes: Array, errors: Array, steps: Array, kinked: Array) -> None:
    into.values[at], into.errors[at], into.steps[at], into.kinked[at] = slopes, errors, steps, kinked


def _sizes(theta: Array, v: Array) -> Array:
    """Return for each direction (count, P) the factor that scales it to the size of the parameters that it changes.

    It is ‖θ‖/‖v‖ over these parameters. If they are all zero, the smallest other parameter is used: a step that is
    too small is seen by its rounding, one across several periods of f would not be.
    """
    moved = v != 0
    size = np.sqrt(np.where(moved, theta**2, 0).sum(-1))
    count, length = np.sqrt(moved.sum(-1)), np.sqrt((v**2).sum(-1))
    size[size == 0] = (smallest(theta) * count)[size == 0]
    length[length == 0] = 1.0
    return size / length


def smallest(theta: Array) -> float:
    """Return the smallest absolute value of the parameters that are not zero; 1 if all are zero."""
    sizes = np.abs(theta[theta != 0])
    return float(sizes.min()) if len(sizes) else 1.0
