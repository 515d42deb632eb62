"""The verdict on each slope: what the oracles say, how wrong each may be, and what follows from all of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from backproof.contracts import Array
from backproof.gradcheck.claim import CENTRAL, COMPLEX, Claim, Evidence, Settings
from backproof.gradcheck.exact import circle_slope, complex_slopes
from backproof.gradcheck.ladder import FIRST, SAFETY, Ladder, Slopes
from backproof.gradcheck.ladder import NARROW as NARROW_STEPS
from backproof.gradcheck.lines import EPS, Lines
from backproof.gradcheck.noise import PER_VALUE
from backproof.gradcheck.report import FAILED, NOTHING, PASSED, UNTESTED
from backproof.gradcheck.roughness import Roughness

NAMES = {COMPLEX: "complex step", CENTRAL: "central differences"}
#: Relative error that a slope may have beyond rounding.
TOLERANCE = 1e-12
#: A parameter below this part of the usual size may be moved by the usual size, if its own shows too little.
SMALL = 0.5
#: An oracle that knows a slope no better than this, relative to its size, decides nothing.
COARSEST = 2e-2
#: What differences may be wrong by, times what a claim is off, if they do not contradict it at several steps.
UNDECIDED = 3.0
#: A step function that is constant on one side up to this part of the size of a parameter, and on both sides up to
#: the second one, has a slope of zero. Values that are rounded more finely have the slope of what is rounded.
FLAT, NARROW = 2.0**-10, 2.0**-20
#: Why differences may know little of a slope where the values of f are accurate.
NEAR_KINK = "there may be a kink or a jump next to theta: check at another theta, or give tolerance="
#: Where differences know a slope less well than this, relative to its size, a circle is tried.
FINE = 1e-6
#: Points that must bear out the complex step, for it to be believed where the slope is below the rounding of f, and
#: the errors of differences, in roundings of f, that are taken for rounding.
FEWEST_SETTLED, NEAR_ROUNDING = 5, 1e4
#: Steps of coarse values go up to the size of a parameter: this many times the first ones.
WIDER = 8.0
#: Differences that are this good need no further steps.
ENOUGH = 1e-7
#: Two neighbouring differences that agree with the complex step this closely, relative to it, confirm it.
CONFIRMED = 1e-4
#: A complex step with a larger error than this, relative to the slope, is not a derivative.
DROPPED = 1e-6
#: The accuracy that the values of an iterative function are believed to have: a smaller error may be theirs.
ITERATIVE = 1e-2
#: One up to this may be, unless it is the same at wide steps.
COARSE_ITERATIVE = 0.2


def judge(lines: Lines, claim: Claim, noise: Array, settings: Settings) -> Evidence:
    """Return the verdict on each line. `noise` (S,) is that of the values."""
    with np.errstate(all="ignore"):
        return _Judge(lines, claim, noise, settings).evidence()


class _Judge:
    def __init__(self, lines: Lines, claim: Claim, noise: Array, settings: Settings) -> None:
        self.lines, self.claim, self.settings = lines, claim, settings
        self.noise = noise if settings.noise is None else np.maximum(noise, settings.noise)
        self.got, S = claim.slopes, len(claim.slopes)
        self.exact, self.why = np.full(S, np.nan), ""
        if settings.oracle != CENTRAL:
            self.exact, self.why = complex_slopes(lines)
        self.rounding = TOLERANCE * np.abs(self.got) + claim.rounding
        self.roughness = Roughness(claim, self.exact)
        self.settled: set[int] = set()
        self.found = Evidence.of(self.got, UNTESTED, NAMES[CENTRAL])
        self._iterative: bool | None = None

    def evidence(self) -> Evidence:
        """Look at every line, closer where the first steps do not settle it."""
        if self.settings.oracle == COMPLEX:
            if self.why:
                raise ValueError(
                    f"f cannot be checked by the complex step: {self.why}; take oracle={CENTRAL!r}"
                )
            for row in range(len(self.got)):
                self._by_complex_step_alone(row)
            return self.found
        rows = np.arange(len(self.got))
        ladder = Ladder.of(self.lines, self.noise, self.lines.sizes)
        for steps in (FIRST, slice(FIRST.stop, FIRST.stop + 3)):
            ladder.climb(rows, steps)
            rows = rows[~self._settled(ladder, rows)]
            if not len(rows):
                return self.found
        # The furthest off first, in case that the calls of f are limited.
        values, errors = ladder.slopes(rows).best()
        off = np.nan_to_num(np.abs(self.got[rows] - values) / np.where(errors > 0, errors, 1.0), nan=np.inf)
        rows = rows[np.argsort(-off, kind="stable")]
        for some in [rows] if self.lines.together else rows[:, None]:
            ladder.climb(some)
        self._look_further(ladder, rows)
        slopes = ladder.slopes(rows)
        kinked, low, high, bends = slopes.kinks()
        values, errors = slopes.best()
        contradicted = slopes.contradict(self.got[rows])
        agreement, confirmed_at = slopes.agreement(self.exact[rows], CONFIRMED)
        # Differences over many periods of an oscillation are near zero, far from a slope that narrow ones confirm.
        most = np.where(agreement <= CONFIRMED, 10 * CONFIRMED * np.abs(self.exact[rows]), np.inf)
        exact_contradicted = slopes.contradict(self.exact[rows], most, confirmed_at)
        means, spreads = slopes.spread()
        everywhere = slopes.off_at_wide_steps(self.got[rows], values)
        for i, row in enumerate(rows.tolist()):
            self._size(row, values[i], errors[i], slopes, i)
            if not np.isfinite(self.got[row]):
                self._set(row, FAILED, values[i], 0.0, "a number is not finite")
            elif self._constant(row, slopes, i):
                continue
            elif kinked[i]:
                self.found.bend[row] = bends[i]
                self._at_kink(row, float(low[i]), float(high[i]))
            elif not np.isfinite(slopes.values[i]).any():
                self._set(row, UNTESTED, np.nan, np.inf, "f can only be evaluated at theta, not near it")
            else:
                line = _Line(
                    row,
                    float(values[i]),
                    float(errors[i]),
                    bool(contradicted[i]),
                    (float(means[i]), float(spreads[i])),
                    bool(everywhere[i]),
                )
                if self._complex_step_holds(line, float(agreement[i]), bool(exact_contradicted[i])):
                    self._by_both(line, float(agreement[i]))
                else:
                    self._by_differences(line)
        return self.found

    def _settled(self, ladder: Ladder, rows: Array) -> Array:
        """Return which lines are settled: the differences are fine enough, and all oracles agree with the claim, or
        both of them contradict it grossly."""
        slopes = ladder.slopes(rows)
        values, errors = slopes.best()
        got, exact = self.got[rows], self.exact[rows]
        size = np.where(np.isfinite(got), np.maximum(np.abs(got), np.abs(values)), 0.0)
        kinked = slopes.kinks()[0]
        fine = (errors <= ENOUGH * size) & (size > 0) & ~kinked
        agree = np.abs(got - values) <= errors + self.rounding[rows]
        known = np.isfinite(exact)
        close = np.abs(exact - values) <= SAFETY * errors + self.rounding[rows]
        exact_agrees = close & (np.abs(got - exact) <= self.rounding[rows])
        # Where f drops the imaginary part, differences that are as fine as this settle it alone.
        dropped = np.abs(exact - values) > DROPPED * size + 10 * errors
        both = known & exact_agrees
        right = fine & agree & (both | ~known | dropped)
        # Nothing that a closer look finds explains an error that is as large as this.
        apart = np.abs(got - exact) > max(COARSE_ITERATIVE, 2 * self._coarsest()) * size
        wrong = fine & known & np.isfinite(got) & apart & close
        done = right | wrong
        seen = np.flatnonzero(done)
        if len(seen):
            # A feature that is narrower than these steps would not show, and the complex step may drop it.
            for k in NARROW_STEPS:
                ladder.climb(rows[seen], slice(k, k + 1))
            narrow = ladder.slopes(rows[seen])
            done[seen] &= narrow.shown_at(NARROW_STEPS, values[seen], errors[seen])
        for i in np.flatnonzero(done):
            row = int(rows[i])
            self._size(row, values[i], errors[i], slopes, int(i))
            if wrong[i]:
                self._set(row, FAILED, exact[i], self.rounding[row], "", COMPLEX)
                continue
            self.settled.add(row)
            by = COMPLEX if both[i] else CENTRAL
            allowed = self.rounding[row] + (0.0 if both[i] else errors[i])
            self._set(row, PASSED, exact[i] if both[i] else values[i], allowed, "", by, errors[i])
        return done

    def _look_further(self, ladder: Ladder, rows: Array) -> None:
        """Take wider steps where a parameter is far smaller than the others and its own steps show too little, and
        where noise or coarse values let narrow steps show nothing."""
        slopes = ladder.slopes(rows)
        values, errors = slopes.best()
        size = np.maximum(np.abs(self.got[rows]), self.claim.usual[rows])
        size = np.maximum(size, np.where(errors <= COARSEST * np.abs(values), np.abs(values), 0))
        usual = self.lines.usual
        # Over wider steps a function may be another one: what its own steps know of a slope is not given up.
        known = slopes.kinks()[0] | slopes.contradict(self.got[rows]) | slopes.contradict(np.zeros(len(rows)))
        small = (errors > ENOUGH * size) & (ladder.sizes[rows] < SMALL * usual) & ~known
        coarse = (errors > COARSEST / 4 * size) & ~known
        poor = rows[small | coarse]
        values, errors = values[small | coarse], errors[small | coarse]
        if not len(poor):
            return
        wider_sizes = ladder.sizes.copy()
        wider_sizes[rows[small]] = usual
        wider_sizes[rows[coarse]] = WIDER * np.maximum(ladder.sizes[rows[coarse]], usual)
        wide = Ladder.of(self.lines, self.noise, wider_sizes)
        wide.climb(poor)
        wide_values, wider = wide.slopes(poor).best()
        alike = ~np.isfinite(errors) | (np.abs(wide_values - values) <= errors / 2 + wider)
        better = poor[(wider < errors) & alike]
        for name in ("sizes", "h", "plus", "minus"):
            getattr(ladder, name)[better] = getattr(wide, name)[better]

    def _size(self, row: int, value: float, error: float, slopes: Slopes, i: int) -> None:
        """Set what errors on this line are relative to: the slope, or where it is nearly zero the usual one, or a
        part of how much the values vary."""
        varies = np.nanmax(np.abs(np.concatenate([slopes.right[i], slopes.left[i]])), initial=0.0)
        known = abs(value) if np.isfinite(value) and error <= COARSEST * abs(value) else 0.0
        floor = 1e-3 * varies if np.isfinite(varies) else 0.0
        self.found.size[row] = max(abs(self.got[row]), known, self.claim.usual[row]) or floor or 1.0

    def _set(
        self,
        row: int,
        status: str,
        expected: float,
        allowed: float,
        note: str = "",
        oracle: str = CENTRAL,
        unseen: float = 0.0,
    ) -> None:
        """Set a verdict. `unseen` is an error that the oracle itself may have without showing it."""
        found = self.found
        found.status[row], found.notes[row], found.oracle[row] = status, note, NAMES[oracle]
        found.expected[row], found.allowed[row] = expected, allowed
        found.resolution[row] = (allowed + unseen) / found.size[row]

    def _accept(
        self, row: int, expected: float, allowed: float, oracle: str = CENTRAL, unseen: float = 0.0
    ) -> None:
        """Set `passed`, or `untested` where a mistake could be too large to be called right."""
        error, size = allowed + unseen, self.found.size[row]
        if error <= self._coarsest() * size:
            self._set(row, PASSED, expected, allowed, "", oracle, unseen)
            return
        noisy = self.noise[row] > 2 * PER_VALUE * EPS * abs(float(self.lines.origin[row]))
        why = "f looks noisy: give noise= or tolerance=" if noisy else NEAR_KINK
        note = f"the differences of f know the slope to {error / size:.0e} of its size only; {why}"
        self._set(row, UNTESTED, expected, allowed, note, oracle, unseen)

    def _constant(self, row: int, slopes: Slopes, i: int) -> bool:
        """Set the verdict where the claim is zero and the values stay the same bit for bit around theta: at every
        step, or, if all of the claim is zero, at narrow ones. Further away a step function jumps."""
        h, sides = slopes.h[i] / self.lines.sizes[row], np.stack([slopes.right[i], slopes.left[i]])
        narrow = sides[:, h <= NARROW]
        if self.got[row] != 0 or not np.isfinite(narrow).any() or np.nan_to_num(narrow).any():
            return False
        if not np.nan_to_num(sides).any():
            t = np.array([1.0, -1.0, 10.0, -10.0, 1e3]) * self.lines.sizes[row]
            values = self.lines.values(np.full(len(t), row), t)
            if (values[np.isfinite(values)] == self.lines.origin[row]).all():
                self._set(row, NOTHING, 0.0, 0.0, "f does not depend on it")
            else:
                unseen = float(self.noise[row] / slopes.h[i].max()) if self.claim.usual[row] else 0.0
                self._set(row, PASSED, 0.0, 0.0, "f is constant here", unseen=unseen)
            return True
        if self.claim.usual[row]:
            return False
        if not np.nan_to_num(sides[:, h <= FLAT]).any(axis=1).all():
            self._set(row, PASSED, 0.0, 0.0, "f is constant here, and jumps further away")
        else:
            note = "f is constant here and jumps nearby: a step function, or rounded values"
            self._set(row, UNTESTED, 0.0, np.inf, note)
        return True

    def _at_kink(self, row: int, low: float, high: float) -> None:
        self.found.low[row], self.found.high[row] = low, high
        got, slack = float(self.got[row]), float(self.rounding[row])
        right = low - slack <= got <= high + slack
        nearest = min(max(got, low), high)
        self.found.size[row] = max(abs(low), abs(high), abs(got))
        several = row >= self.lines.single and not self.lines.at_zero[row]
        if several and right and high - low > 2 * COARSEST * self.found.size[row]:
            note = "the direction crosses kinks of several entries, which hide the others"
            self._set(row, UNTESTED, nearest, high - low, note)
            return
        self._set(row, PASSED if right else FAILED, nearest, slack)

    def _complex_step_holds(self, line: _Line, agreement: float, contradicted: bool) -> bool:
        """Return whether the differences bear the complex step out."""
        if not np.isfinite(self.exact[line.row]):
            return False
        return not contradicted and (self._near(line) or agreement <= CONFIRMED)

    def _near(self, line: _Line) -> bool:
        exact = float(self.exact[line.row])
        return abs(exact - line.value) <= SAFETY * line.error + 100 * EPS * abs(exact)

    def _by_both(self, line: _Line, agreement: float) -> None:
        """The verdict where the complex step and the differences agree."""
        row, got, exact = line.row, float(self.got[line.row]), float(self.exact[line.row])
        self.found.size[row] = size = max(float(self.found.size[row]), abs(exact))
        unseen = line.error if self._near(line) else SAFETY * agreement * size
        if agreement <= CONFIRMED:
            unseen = min(unseen, SAFETY * agreement * size)
        allowed = float(self.rounding[row]) + self._asked(size)
        if abs(got - exact) > allowed:
            allowed += self.roughness.of(row, size)
        off = abs(got - exact)
        circle, error = float("nan"), float("inf")
        if unseen > FINE * size or (off > allowed and abs(got - line.value) <= line.error):
            circle, error = circle_slope(self.lines, row, float(self.noise[row]))
            if abs(circle - exact) <= error:
                # Half of the slope of a term that drops the imaginary part shows on a circle.
                unseen = min(unseen, SAFETY * error)
        if off <= allowed:
            if allowed + unseen > self._coarsest() * size and self._below_rounding(line):
                note = "the slope is below the rounding of f, where the complex step alone shows it"
                self._set(row, PASSED, exact, allowed, note, COMPLEX)
                return
            self._accept(row, exact, allowed, COMPLEX, unseen)
        elif self._undecided(line, allowed) and not (off > 2 * error and unseen <= error):
            # The differences cannot tell the two apart, and no circle confirms the complex step.
            self._accept(row, exact, line.error + allowed, COMPLEX)
        else:
            self._reject(line, exact, allowed, COMPLEX)

    def _undecided(self, line: _Line, allowed: float) -> bool:
        """Return whether the differences bear out the claim too, and are not those of another function, over many
        periods of an oscillation."""
        exact = float(self.exact[line.row])
        alike = self._near(line) or abs(exact - line.value) <= 10 * CONFIRMED * abs(exact)
        return alike and abs(float(self.got[line.row]) - line.value) <= line.error + allowed

    def _below_rounding(self, line: _Line) -> bool:
        """Return whether the differences of an elementwise function are as good as the rounding of f lets them be,
        and the complex step was right at the points at which they show more."""
        row = line.row
        if not self.lines.together or not self._near(line):
            return False
        by_complex = sum(self.found.oracle[point] == NAMES[COMPLEX] for point in self.settled)
        right = FEWEST_SETTLED <= by_complex == len(self.settled)
        return right and line.error * float(self.lines.sizes[row]) <= NEAR_ROUNDING * float(self.noise[row])

    def _by_differences(self, line: _Line) -> None:
        """Return the verdict if there is no complex step, or the differences contradict it."""
        row, got = line.row, float(self.got[line.row])
        size = self.found.size[row]
        extra = float(self.rounding[row]) + self._asked(size)
        allowed = line.error + extra
        if abs(got - line.value) > allowed:
            allowed += self.roughness.of(row, float(size), complex_step=False)
        if abs(got - line.value) <= allowed:
            self._accept(row, line.value, allowed)
            return
        if line.contradicted:
            self._reject(line, line.value, allowed, CENTRAL)
            return
        mean, spread = line.spread
        if abs(got - mean) <= spread + extra <= self._coarsest() * size:
            self._set(row, PASSED, mean, spread + extra)
        else:
            # The differences say neither that it is wrong nor how wrong they are: at least by this.
            self._accept(row, line.value, UNDECIDED * abs(got - line.value) + extra)

    def _reject(self, line: _Line, expected: float, allowed: float, oracle: str) -> None:
        """Fail the claim, unless its error may be that of values which are accurate to so much only."""
        row, got = line.row, float(self.got[line.row])
        size = self.found.size[row]
        error = abs(got - expected) / size
        if error <= (ITERATIVE if line.everywhere else COARSE_ITERATIVE) and self._is_iterative():
            note = f"f looks accurate to about {error:.0e}: its number of iterations depends on theta"
            if error <= ITERATIVE:
                self._set(row, PASSED, expected, ITERATIVE * size, note, oracle)
            else:
                self._set(row, UNTESTED, expected, allowed, f"{note}; give noise= or tolerance=", oracle)
            return
        self._set(row, FAILED, expected, allowed, "", oracle)

    def _by_complex_step_alone(self, row: int) -> None:
        """The verdict by the complex step, on which the user insists."""
        exact, got = float(self.exact[row]), float(self.got[row])
        self.found.size[row] = max(abs(exact), abs(got), self.claim.usual[row]) or 1.0
        allowed = float(self.rounding[row]) + self._asked(self.found.size[row])
        if abs(got - exact) > allowed:
            allowed += self.roughness.of(row, float(self.found.size[row]))
        if not np.isfinite(got) or not np.isfinite(exact):
            self._set(row, FAILED, exact, allowed, "a number is not finite", COMPLEX)
        elif got == exact == 0:
            self._set(row, UNTESTED, exact, allowed, "the gradient is zero here", COMPLEX)
        else:
            self._set(row, PASSED if abs(got - exact) <= allowed else FAILED, exact, allowed, "", COMPLEX)

    def _is_iterative(self) -> bool:
        if self._iterative is None:
            self._iterative = self.claim.iterates()
        return self._iterative

    def _asked(self, size: float) -> float:
        return (self.settings.tolerance or 0.0) * size

    def _coarsest(self) -> float:
        return max(COARSEST, 2 * (self.settings.tolerance or 0.0))


@dataclass(frozen=True)
class _Line:
    """What the differences say of one line."""

    row: int
    value: float
    error: float
    contradicted: bool
    spread: tuple[float, float]
    everywhere: bool  # whether the claim is off by as much at wide steps
