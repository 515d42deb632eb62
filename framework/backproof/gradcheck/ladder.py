"""Central differences over thirteen decades of step sizes, what they agree on, and the kinks that they meet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np

from backproof.contracts import Array
from backproof.gradcheck.lines import EPS, Lines

#: Step sizes relative to the size of the parameters, from one to the next a factor of 4.
STEPS = 2.0 ** np.arange(-3, -48, -2)
#: The steps that a smooth function needs.
FIRST = slice(1, 5)
#: The weight of the rounding of f in an extrapolated difference.
WEIGHT = 1.5
#: Truncation is estimated as this many times what the last extrapolation changed.
SAFETY = 3.0
#: A wrong slope is off by the same amount, within this, at three steps that span a factor of 64 or more.
PERSISTENT = 0.1
WINDOWS = ((0, 2, 4), (0, 2, 3), (0, 1, 3))
#: Wide steps, and how closely, and at how many of them, a mistake shows as it does at narrow steps.
WIDE, ALIKE, MOST_WIDE = slice(1, 6), 0.3, 4
#: How often the slope at ever narrower steps takes the place of that at wider ones.
REFINED = 3
#: Narrow steps at which a slope that wide ones settle must show too.
NARROW = (10, 13)
#: A kink that is nearer than this, relative to the widest step, is at theta.
AT_KINK = 2.0**-34
#: A jump of the slope that stays within this as the step shrinks is a kink.
STEADY = 0.2


@dataclass
class Ladder:
    """Values on S lines at plus and minus K steps, and the slopes that follow from them."""

    lines: Lines
    noise: Array  # (S,) of the values
    sizes: Array  # (S,)
    h: Array  # (S, K)
    plus: Array
    minus: Array

    @classmethod
    def of(cls, lines: Lines, noise: Array, sizes: Array) -> Ladder:
        """Return a ladder on which nothing has been evaluated."""
        shape = len(sizes), len(STEPS)
        return cls(lines, noise, sizes, sizes[:, None] * STEPS, *(np.full(shape, np.nan) for _ in range(2)))

    def climb(self, rows: Array, steps: slice = slice(None)) -> None:
        """Evaluate the lines `rows` at those of the steps that have not been evaluated."""
        for k in range(*steps.indices(len(STEPS))):
            left = rows[np.isnan(self.plus[rows, k]) & np.isnan(self.minus[rows, k])]
            if len(left):
                self.plus[left, k] = self.lines.values(left, self.h[left, k])
                self.minus[left, k] = self.lines.values(left, -self.h[left, k])

    def slopes(self, rows: Array) -> Slopes:
        """Return the slopes of some lines at every step."""
        f0, h = self.lines.origin[rows, None], self.h[rows]
        right, left = (self.plus[rows] - f0) / h, (f0 - self.minus[rows]) / h
        central = (right + left) / 2
        # At the edge of the domain there is one side only, and differences of first order.
        alone = np.isnan(central).all(1, keepdims=True)
        side = np.where(np.isfinite(right).any(1, keepdims=True), right, left)
        D = np.where(alone, side, central)
        first, second = np.where(alone, 4.0, 16.0), np.where(alone, 16.0, 256.0)
        A = (first * D[:, 1:] - D[:, :-1]) / (first - 1)
        B = (second * A[:, 1:] - A[:, :-1]) / (second - 1)
        values, truncation = np.full_like(D, np.nan), np.full_like(D, np.inf)
        values[:, 0] = D[:, 0]
        values[:, 1:], truncation[:, 1:] = A, np.abs(A - D[:, 1:])
        better = np.isfinite(B)
        values[:, 2:] = np.where(better, B, values[:, 2:])
        truncation[:, 2:] = np.where(better, np.abs(B - A[:, 1:]), truncation[:, 2:])
        noise = self.noise[rows, None]
        rounding = WEIGHT * noise / h + EPS * self.sizes[rows, None] / h * np.abs(values)
        return Slopes(h, values, truncation, rounding, right, left, D, noise)


@dataclass
class Slopes:
    """Slopes (S, K) at every step, extrapolated from the wider ones, and how wrong they may be."""

    h: Array
    values: Array
    truncation: Array
    rounding: Array
    right: Array  # one-sided slopes
    left: Array
    plain: Array  # not extrapolated
    noise: Array  # (S, 1)

    def best(self) -> tuple[Array, Array]:
        """Return the slope of each line and its error: from the step where it is least. Two neighbouring steps must
        agree, since the least of many errors is a lucky one."""
        values = self.values
        apart = np.full_like(values, np.inf)
        gap = np.abs(np.diff(values, axis=1))
        apart[:, 1:] = np.where(np.isfinite(gap), gap, np.inf)
        apart[:, :-1] = np.minimum(apart[:, :-1], np.where(np.isfinite(gap), gap, np.inf))
        errors = SAFETY * self.truncation + self.rounding + apart
        errors = np.where(np.isfinite(values) & np.isfinite(errors), errors, np.inf)
        each = np.arange(len(values))
        for _ in range(REFINED):
            at = errors.argmin(1)
            narrower = self._narrower(values[each, at], at)
            if not narrower.any():
                break
            # The derivative is what narrow steps come to: wide ones see another function there.
            wide = cast("Array", np.arange(values.shape[1])[None] < narrower[:, None])
            errors = np.where(wide, np.inf, errors)
        at = errors.argmin(1)
        value = values[each, at]
        return value, errors[each, at] + self._hidden(value, at)

    def _hidden(self, value: Array, at: Array) -> Array:
        """Return by how much slopes at steps narrower than `at` differ from `value` beyond rounding.

        Two neighbouring steps must differ to the same side: that may be a feature too narrow to show at a third.
        """
        off = self.values - value[:, None]
        excess = np.maximum(np.abs(off) - SAFETY * self.rounding, 0)
        narrower = cast("Array", np.arange(off.shape[1])[None] > at[:, None])
        excess = np.where(np.isfinite(excess) & narrower, excess, 0)
        pairs = np.minimum(excess[:, 1:], excess[:, :-1]) * (off[:, 1:] * off[:, :-1] > 0)
        return np.array(pairs.max(axis=1))

    def _narrower(self, value: Array, at: Array) -> Array:
        """Return the first of three neighbouring steps, all narrower than `at`, at which the slope is off `value`
        by the same amount and by more than rounding; 0 where there are none."""
        off = self.values - value[:, None]
        usable: Array = np.isfinite(off) & (np.abs(off) > SAFETY * self.rounding)
        usable &= cast("Array", np.arange(off.shape[1])[None] > at[:, None])
        same = _persistent(off, usable, (0, 1, 2))
        return np.where(same.any(1), same.argmax(1), 0)

    def spread(self) -> tuple[Array, Array]:
        """Return the mean of the four neighbouring slopes that agree best, and twice their spread."""
        count = self.values.shape[1] - 3
        runs = np.stack([self.values[:, i : i + count] for i in range(4)])
        apart = runs.max(0) - runs.min(0) + self.rounding[:, 3:]
        apart = np.where(np.isfinite(apart), apart, np.inf)
        at, each = apart.argmin(1), np.arange(len(self.values))
        return runs.mean(0)[each, at], 2 * apart[each, at]

    def shown_at(self, steps: tuple[int, ...], slope: Array, error: Array) -> Array:
        """Return where a slope (S,) shows at these steps too, up to rounding."""
        at = np.array(steps)
        off, h = np.abs(self.plain[:, at] - slope[:, None]), self.h[:, at]
        rounding = WEIGHT * self.noise / h + EPS * self.h[:, :1] / STEPS[0] / h * np.abs(slope)[:, None]
        shown: Array = off <= SAFETY * rounding + error[:, None]
        shown |= ~np.isfinite(off)
        return np.array(shown.all(axis=1))

    def contradict(self, slope: Array, most: Array | None = None, after: Array | None = None) -> Array:
        """Return where a slope (S,) is off by the same amount at three steps that are far apart, and by more than
        rounding; at the steps up to `after` (S,) by no more than `most` (S,).

        Where it is off by less than half of that at two neighbouring narrower steps, what the wide steps show is
        another function, over several periods of a ripple for instance.
        """
        off = self.values - slope[:, None]
        usable: Array = np.isfinite(off) & (np.abs(off) > SAFETY * self.rounding)
        if most is not None and after is not None:
            narrow = cast("Array", np.arange(off.shape[1])[None] > after[:, None])
            usable &= narrow | (np.abs(off) <= most[:, None])
        bound = np.abs(off) + SAFETY * self.rounding
        pairs = np.maximum(bound[:, 1:], bound[:, :-1])
        # The least of all pairs of steps from each step on.
        least = np.fmin.accumulate(np.where(np.isfinite(pairs), pairs, np.inf)[:, ::-1], axis=1)[:, ::-1]
        found = np.zeros(len(off), dtype=bool)
        for window in WINDOWS:
            count = off.shape[1] - window[-1]
            narrower = np.pad(least[:, window[-1] :], ((0, 0), (0, 1)), constant_values=np.inf)
            found |= (_persistent(off, usable, window) & (narrower > np.abs(off[:, :count]) / 2)).any(1)
        return found

    def off_at_wide_steps(self, slope: Array, value: Array) -> Array:
        """Return where a slope (S,) is off at most of the wide steps by as much as from the best value (S,)."""
        off, error = self.values[:, WIDE] - slope[:, None], (value - slope)[:, None]
        return (np.abs(off - error) <= ALIKE * np.abs(error)).sum(axis=1) >= MOST_WIDE

    def agreement(self, slope: Array, within: float) -> tuple[Array, Array]:
        """Return how closely two neighbouring steps give the slope (S,), relative to it, or infinity where it is 0;
        and the narrowest step that gives it `within` a part of it."""
        with np.errstate(all="ignore"):
            off = np.fmin(np.abs(self.plain - slope[:, None]), np.abs(self.values - slope[:, None]))
            off = np.nan_to_num((off + self.rounding) / np.abs(slope)[:, None], nan=np.inf)
        pairs = np.maximum(off[:, 1:], off[:, :-1])
        narrowest = cast("Array", (pairs <= within) * np.arange(1, off.shape[1]))
        return pairs.min(axis=1), np.max(narrowest, axis=1)

    def kinks(self) -> tuple[Array, Array, Array, Array]:
        """Return where a line has a kink at t = 0, the lowest and highest slope that a gradient may have there, and
        whether the slope jumps up (1) or down (-1).

        The jump between the one-sided slopes of a smooth function shrinks with the step; that of a kink stays.
        """
        jump = self.right - self.left
        size = np.nanmax(np.where(np.isfinite(jump), np.abs(jump), 0), axis=1)
        low, high, bend = (np.zeros(len(jump)) for _ in range(3))
        found = np.zeros(len(jump), dtype=bool)
        for row in np.flatnonzero(size > 0).tolist():
            # The narrowest steps at which the jump would be seen above the noise.
            typical = float(np.nanmedian(np.abs(jump[row])))
            sure = np.isfinite(jump[row]) & (20 * self.noise[row, 0] / self.h[row] <= typical)
            sure &= self.h[row] >= AT_KINK * self.h[row, 0]
            steps = np.flatnonzero(sure)
            if len(steps) < 3:
                continue
            jumps = jump[row, steps[-3:]]
            if not (np.ptp(jumps) <= STEADY * np.abs(jumps).min() and np.abs(jumps).min() > 0):
                continue
            found[row] = True
            low[row], high[row] = self._sides(row, steps)
            bend[row] = np.sign(jumps[-1])
        return found, low, high, bend

    def _sides(self, row: int, steps: Array) -> tuple[float, float]:
        """Return the slopes on the two sides of a kink, the lower one less and the higher one plus their error.

        They are taken from the three neighbouring steps at which they are known best.
        """
        best = (np.inf, np.nan, np.nan)
        for i in range(len(steps) - 2):
            sides = np.stack([self.right[row, steps[i : i + 3]], self.left[row, steps[i : i + 3]]])
            error = float(np.ptp(sides, axis=1).max()) + 4 * self.noise[row, 0] / self.h[row, steps[i + 2]]
            if error < best[0]:
                best = error, float(sides[:, -1].min()) - error, float(sides[:, -1].max()) + error
        return best[1], best[2]


def _persistent(off: Array, usable: Array, window: tuple[int, int, int]) -> Array:
    """Return at which triples of usable steps (S, n) slopes are off by the same amount."""
    last = off.shape[1] - window[-1]
    with np.errstate(all="ignore"):
        runs = np.stack([off[:, i : i + last] for i in window])
        same = runs.max(0) - runs.min(0) <= PERSISTENT * np.abs(runs).min(0)
    return same & np.stack([usable[:, i : i + last] for i in window]).all(0)
