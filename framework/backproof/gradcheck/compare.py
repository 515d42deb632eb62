"""Compare a hand-derived gradient with an oracle, tensor by tensor.

The measure is the relative error by norm, ‖got − expected‖ / max(‖got‖, ‖expected‖), of each tensor separately. A
norm over all parameters would let a large tensor hide a small one; a comparison entry by entry would take the
rounding of a nearly zero entry for a mistake.

The tolerance is `options.tolerance` plus an allowance for rounding. A gradient is a sum of terms. Where they cancel
(p − y of a network that has learnt its data), their rounding remains: about ε times *their* size, not that of the
sum. Their size is estimated at other parameters of the same magnitude, where nothing has been learnt: the same
numbers, shuffled within each tensor. So the tolerance grows by 100 ε ‖∇f(shuffled)‖ / ‖∇f(θ)‖. If that exceeds
1e-3, the comparison shows nothing about the tensor, and its result is `untested`, not `passed`.

A tensor that fails gets a second test: how much do the oracle's derivatives change when the last bits of the
parameters change? If by as much as the error, the loss is too rough there to test a gradient.

An entry that lies on a kink has no derivative. Any slope between the two one-sided slopes is right, and no other;
such entries are compared with the two slopes and left out of the norm.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from backproof.contracts import Array
from backproof.gradcheck.differences import EPS, differences
from backproof.gradcheck.directions import Axes, Dense, Values
from backproof.gradcheck.norms import MOST_TOLERANCE, ROUNDINGS, ratio, relative, rms, worst_entry
from backproof.gradcheck.options import CheckOptions
from backproof.gradcheck.oracles import Oracle, central_differences, complex_step
from backproof.gradcheck.report import FAILED, NOTHING, PASSED, UNTESTED, TensorResult

#: The number of directions from which the norm of the gradient at shuffled parameters is estimated.
SCALE_DIRECTIONS = 5
#: The distance, relative to an entry, at which the slopes on its two sides are compared to detect a kink.
KINK_DISTANCE = 1e-7
#: The most by which the slopes of a smooth function differ over that distance, relative to the larger slope.
JUMP = 1e-5


@dataclass(frozen=True)
class Part:
    """A term of the objective: its values (S, P) -> (S,), and its hand-derived gradient (P,) -> (P,)."""

    name: str
    value: Values
    gradient: Callable[[Array], Array]
    #: Whether `value` is written for complex parameters; if not, central differences are used.
    complex_step: bool = True

    @property
    def oracle(self) -> tuple[str, Oracle]:
        """Return the name of the method that differentiates `value`, and the method."""
        return (
            ("complex step", complex_step)
            if self.complex_step
            else ("central differences", central_differences)
        )


@dataclass(frozen=True)
class Sample:
    """Random directions v (S, n) and some entries of a tensor of n entries, with the oracle's slopes and errors."""

    v: Array
    slopes: Array
    errors: Array
    entries: Array
    expected: Array
    entry_errors: Array


def _kink_note(count: int, of: int, near: str) -> str:
    return (
        f"{count} of {of} entries lie on a kink{near}: any slope between those on its two sides is right there"
    )


@dataclass(frozen=True)
class Tensor:
    """The gradient of one tensor as `got` (n,), to be compared."""

    part: Part
    theta: Array
    name: str
    index: Array
    got: Array
    scale: float
    eps: float

    def by_entry(self, options: CheckOptions) -> TensorResult:
        """Compare every entry."""
        every = np.arange(self.got.size)
        if self.part.complex_step:
            expected, errors = self._slopes(every)
            result = self._compared(expected, errors, options)
            if result.status == FAILED and np.isfinite(result.relative_error):
                result = self._allowing_kinks(result, expected, options)
        else:
            result = self._by_differences(options)
        if result.status != FAILED:
            return result
        return self._untested_if_rough(result)

    def _compared(self, expected: Array, errors: Array, options: CheckOptions, kinks: str = "") -> TensorResult:
        """Return the result of comparing every entry; `kinks` is a note on the entries on kinks."""
        error = relative(self.got - expected, self.got, expected)
        norm = float(np.linalg.norm(expected))
        result = self._judged(error, norm, float(np.linalg.norm(errors)), options, self.got.size, 0)
        usual = max(norm, float(np.linalg.norm(self.got))) / np.sqrt(self.got.size) or 1.0
        off = (np.abs(self.got - expected) / usual).reshape(self.index.shape)
        note = "; ".join(filter(None, (result.note, kinks)))
        result = dataclasses.replace(result, errors=off, note=note)
        if result.status != FAILED:
            return result
        return self._with_worst(result, np.arange(self.got.size), expected)

    def _by_differences(self, options: CheckOptions) -> TensorResult:
        """Return the result of comparing with central differences.

        An entry too near to a kink may have any value within the error that the differences report.
        """
        slopes = differences(self.part.value, self.theta, Axes(self.index.ravel()))
        expected, errors = slopes.values, slopes.errors
        usual = max(float(np.linalg.norm(expected)), float(np.linalg.norm(self.got))) / np.sqrt(self.got.size)
        unsure = slopes.kinked | (errors > MOST_TOLERANCE * np.maximum(usual, np.abs(expected)))
        # All unsure without kinks: the loss is too rough for differences, and the result is untested.
        if not unsure.any() or (unsure.all() and not slopes.kinked.all()):
            return self._compared(expected, errors, options)
        nearest = np.clip(self.got, expected - errors, expected + errors)
        step = float(slopes.steps[unsure].max())
        return self._compared(
            np.where(unsure, nearest, expected),
            np.where(unsure, 0, errors),
            options,
            _kink_note(int(unsure.sum()), self.got.size, f" or within {step:.0e} of one"),
        )

    def _allowing_kinks(self, result: TensorResult, expected: Array, options: CheckOptions) -> TensorResult:
        """Return the result with wrong entries compared with both one-sided slopes, if all of them lie on kinks."""
        off = np.abs(self.got - expected)
        allowed = result.tolerance * float(np.linalg.norm(expected)) / np.sqrt(self.got.size)
        entries = np.argsort(-off)[: int((off > allowed).sum())]
        explained = expected.copy()
        for entry in map(int, entries):
            sides = self._sides(entry)
            # The worst entry of a mistake seldom lies on a kink, so one evaluation usually decides.
            if sides is None:
                return result
            explained[entry] = np.clip(self.got[entry], *sides)
        return self._compared(
            explained, np.zeros_like(off), options, _kink_note(len(entries), self.got.size, "")
        )

    def _sides(self, entry: int) -> tuple[float, float] | None:
        """Return the smaller and the larger one-sided slope at an entry, by the complex step.

        Return None if the slopes converge as the distance shrinks, so that there is no kink.
        """
        at = int(self.index.ravel()[entry])
        step = KINK_DISTANCE * (abs(self.theta[at]) or float(np.abs(self.theta).max(initial=0.0)) or 1.0)
        points = np.repeat(self.theta[None], 4, axis=0)
        points[:, at] += step * np.array([-1, 1, -1 / 16, 1 / 16])
        far, near = (
            np.array([complex_step(self.part.value, point, Axes(np.array([at])))[0][0] for point in pair])
            for pair in (points[:2], points[2:])
        )
        jump, usual = abs(near[1] - near[0]), float(np.abs(near).max())
        if not jump > max(0.5 * abs(far[1] - far[0]), JUMP * usual):
            return None
        slack = float(np.abs(far - near).max()) + ROUNDINGS * EPS * usual
        return float(near.min()) - slack, float(near.max()) + slack

    def by_sample(self, sample: Sample, options: CheckOptions, rng: np.random.Generator) -> TensorResult:
        """Compare along random directions and at some entries.

        Along v ~ N(0, 1) the mean square of (got − expected)·v is ‖got − expected‖².
        """
        n, chosen, expected = self.got.size, sample.entries, sample.expected
        count = len(chosen)
        gap, norm = rms(sample.v @ self.got - sample.slopes), rms(sample.slopes)
        along = ratio(gap, max(float(np.linalg.norm(self.got)), norm))
        # The sampled entries may be far smaller than the others, but have the same rounding.
        usual = norm * np.sqrt(count / n)
        difference = self.got[chosen] - expected
        single = ratio(
            float(np.linalg.norm(difference)),
            max(float(np.linalg.norm(self.got[chosen])), float(np.linalg.norm(expected)), float(usual)),
        )
        oracle_error = max(
            rms(sample.errors), float(np.linalg.norm(sample.entry_errors)) * np.sqrt(n / max(count, 1))
        )
        result = self._judged(max(along, single), norm, oracle_error, options, count, options.directions)
        if result.status != FAILED:
            return result
        bad = np.flatnonzero(~np.isfinite(self.got))
        if len(bad):
            return self._with_worst(result, bad[:1], self._slopes(bad[:1])[0])
        if single > result.tolerance:
            result = self._with_worst(result, chosen, expected)
        else:
            wrong = np.array([self._search(rng)])
            result = self._with_worst(result, wrong, self._slopes(wrong)[0])
        return self._untested_if_rough(self._untested_if_kinked(result))

    def _untested_if_kinked(self, result: TensorResult) -> TensorResult:
        """Return an untested result if the worst entry lies on a kink and is right, since others may be hidden."""
        if result.worst is None or not self.part.complex_step or not np.isfinite(result.relative_error):
            return result
        sides = self._sides(int(np.ravel_multi_index(result.worst.index, self.index.shape)))
        if sides is None or not sides[0] <= result.worst.got <= sides[1]:
            return result
        return dataclasses.replace(
            result,
            status=UNTESTED,
            worst=None,
            note=f"{result.name} lies on a kink, which may hide a mistake in other entries",
        )

    def _untested_if_rough(self, result: TensorResult) -> TensorResult:
        """Return an untested result if the slope changes by as much as the error within the last bits of theta."""
        size = max(result.norm, float(np.linalg.norm(self.got)))
        if result.status != FAILED or not np.isfinite(result.relative_error):
            return result
        if result.relative_error > result.tolerance + 2 * ratio(self._roughness(), size):
            return result
        note = "the slope of the loss changes by as much within the rounding of theta"
        return dataclasses.replace(result, status=UNTESTED, note=note, worst=None)

    def _roughness(self) -> float:
        """Return the norm of the change of the tensor's derivative within the last bits of theta, by the oracle."""
        rng = np.random.default_rng(0)
        _, oracle = self.part.oracle
        flat = self.index.ravel()
        along = Dense(flat, rng.standard_normal((SCALE_DIRECTIONS, len(flat))))
        unmoved, _ = oracle(self.part.value, self.theta, along)
        moved = [
            oracle(self.part.value, self.theta * (1 + 4 * EPS * rng.uniform(-1, 1, self.theta.shape)), along)[0]
            for _ in range(4)
        ]
        shift = max(rms(slopes - unmoved) for slopes in moved)
        return shift if np.isfinite(shift) else 0.0

    def _slopes(self, entries: Array) -> tuple[Array, Array]:
        _, oracle = self.part.oracle
        return oracle(self.part.value, self.theta, Axes(self.index.ravel()[entries]))

    def _search(self, rng: np.random.Generator) -> int:
        """Return a wrong entry by bisection: continue with the half along which the error is larger."""
        _, oracle = self.part.oracle
        flat, entries = self.index.ravel(), np.arange(self.got.size)
        while len(entries) > 1:
            halves = np.array_split(entries, 2)
            off: list[float] = []
            for half in halves:
                v = rng.standard_normal((2, len(half)))
                slopes, _ = oracle(self.part.value, self.theta, Dense(flat[half], v))
                off.append(rms(v @ self.got[half] - slopes))
            entries = halves[int(np.argmax(off))]
        return int(entries[0])

    def _judged(
        self,
        error: float,
        norm: float,
        oracle_error: float,
        options: CheckOptions,
        checked: int,
        directions: int,
    ) -> TensorResult:
        """Return the result without its worst entry; `oracle_error` is the norm of the oracle's own errors."""
        size = max(norm, float(np.linalg.norm(self.got)))
        rounding = ROUNDINGS * self.eps * max(1.0, ratio(self.scale, size)) + 2 * ratio(oracle_error, size)
        tolerance, status, note = options.tolerance + rounding, PASSED, ""
        # First, since max(0, NaN) makes the size 0.
        if not np.isfinite(error):
            tolerance, status, note = options.tolerance, FAILED, "a number is not finite"
        elif size == 0:
            status, note = self._without_slope()
        elif rounding > MOST_TOLERANCE and error <= tolerance:
            status, note = UNTESTED, "the gradient is no larger than its rounding error here"
        elif error > tolerance:
            status = FAILED
        return TensorResult(
            part=self.part.name,
            tensor=self.name,
            shape=self.index.shape,
            oracle=self.part.oracle[0],
            checked=checked,
            directions=directions,
            relative_error=error,
            tolerance=tolerance,
            status=status,
            norm=norm,
            scale=self.scale,
            note=note,
        )

    def _without_slope(self) -> tuple[str, str]:
        """Return the status and note of a gradient that is zero, like the derivative.

        There is nothing to check if the value stays the same, bit for bit, for any change of the tensor.
        """
        rng = np.random.default_rng(0)
        index = self.index.ravel()
        sizes = np.where(self.theta[index] == 0, 1, self.theta[index])
        points = np.repeat(self.theta[None], 5, axis=0)
        for row, step in zip(points[1:], (1e-6, 1e-2, 1.0, 10.0), strict=True):
            row[index] += step * sizes * rng.standard_normal(len(index))
        # One at a time: a product of several rows may be rounded differently.
        values = [np.array(self.part.value(row[None])) for row in points]
        if all(np.array_equal(value, values[0]) for value in values):
            return NOTHING, f"the {self.part.name} does not depend on it"
        return UNTESTED, "the gradient is zero here"

    def _with_worst(self, result: TensorResult, entries: Array, expected: Array) -> TensorResult:
        worst = worst_entry(self.index, entries, self.got[entries], expected)
        return dataclasses.replace(result, worst=worst)
