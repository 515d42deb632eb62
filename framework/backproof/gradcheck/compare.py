"""The comparison of a hand-derived gradient with an oracle, tensor by tensor, and its tolerance.

The measure is the relative error by norm, ‖got − expected‖ / max(‖got‖, ‖expected‖), for each tensor by itself: a
sum over all parameters would let a large tensor hide a small one, and entry by entry any rounding of an entry
that is nearly zero would look like a mistake.

The tolerance is `options.tolerance` plus what rounding can do. A gradient is a sum of terms, and where they cancel
(p − y of a network that has learnt its data) the rounding of the terms stays: about ε times *their* size, not that
of the sum. Their size is seen at other parameters of the same magnitude, where nothing has been learnt: the same
numbers, shuffled within each tensor. So the tolerance grows by 100 ε ‖∇f(shuffled)‖ / ‖∇f(θ)‖. Where that is over
one in a thousand, the numbers cannot say anything about the tensor, and its result is `untested`, not `passed`.

A tensor that fails is looked at once more: how far do the oracle's own derivatives move when the parameters move by
their last bits? Where that is as much as the error, the loss is too rough there to judge a gradient by.

An entry that lies on a kink has no derivative. Any slope between those on its two sides is right there, whichever
the derivation takes, and no other one is; such entries are compared with the two slopes and left out of the norm.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from backproof.contracts import Array
from backproof.gradcheck.differences import EPS, differences
from backproof.gradcheck.directions import Axes, Concatenated, Dense, Directions, Values
from backproof.gradcheck.norms import ROUNDINGS, ratio, relative, rms, worst_entry
from backproof.gradcheck.options import CheckOptions
from backproof.gradcheck.oracles import Oracle, central_differences, complex_step
from backproof.gradcheck.preconditions import Precondition
from backproof.gradcheck.report import FAILED, NOTHING, PASSED, UNTESTED, Section, TensorResult

#: A tolerance above this would let mistakes pass; the tensor is then untested.
MOST_TOLERANCE = 1e-3
#: Directions from which the norm of a gradient at shuffled parameters is estimated.
SCALE_DIRECTIONS = 5
#: On either side of an entry, relative to its size, the slopes are looked at to see whether it lies on a kink.
ASIDE = 1e-7
#: The slopes of a smooth function differ by no more than this over that distance, relative to the usual entry.
JUMP = 1e-5


@dataclass(frozen=True)
class Part:
    """A term of the objective: its values (S, P) -> (S,), and its hand-derived gradient (P,) -> (P,)."""

    name: str
    value: Values
    gradient: Callable[[Array], Array]
    #: Whether `value` is written for complex parameters; if not, central differences are taken.
    complex_step: bool = True

    @property
    def oracle(self) -> tuple[str, Oracle]:
        """The way to differentiate its values, and what it is called."""
        return (
            ("complex step", complex_step)
            if self.complex_step
            else ("central differences", central_differences)
        )


def check_parts(
    parts: Sequence[Part],
    theta: Array,
    tensors: Mapping[str, Array],
    options: CheckOptions,
    *,
    moment: str,
    seed: int = 0,
) -> Section:
    """Check each part at theta (P,) float64. `tensors` gives each tensor's indices in theta, of its shape.

    Up to `options.all_coordinates_up_to` parameters every entry is compared; beyond, random Gaussian directions
    (in which one wrong entry shows) and some entries. A wrong tensor is searched for its worst entry.
    """
    results: list[TensorResult] = []
    steady_loss, steady_gradient, finite = True, True, True
    # What is not finite is reported as such, not warned about.
    with np.errstate(all="ignore"):
        for part in parts:
            given = np.array(part.gradient(theta))
            again = np.asarray(part.gradient(theta))
            values = [np.array(part.value(theta[None])) for _ in range(2)]
            steady = np.array_equal(*values, equal_nan=True)
            steady_loss &= steady
            steady_gradient &= np.array_equal(given, again, equal_nan=True)
            number = bool(np.isfinite(values).all())
            finite &= number and bool(np.isfinite(given).all())
            rng = np.random.default_rng((seed, len(theta)))
            scales = _scales(part, theta, tensors, rng)
            whole = len(theta) <= options.all_coordinates_up_to
            samples = {} if whole else _samples(part, theta, tensors, options, rng)
            eps = _eps(given)
            got = given.astype(np.float64)
            for name, index in tensors.items():
                own = index.ravel()
                tensor = _Tensor(part, theta, name, index, got[own], scales[name], eps)
                result = tensor.by_entry(options) if whole else tensor.by_sample(samples[name], options, rng)
                if not number:
                    result = dataclasses.replace(result, status=FAILED, note="the loss is not finite here")
                if not steady or not np.array_equal(given[own], again[own], equal_nan=True):
                    what = "gradient" if steady else "loss"
                    note = f"two calls at the same parameters gave a different {what}"
                    result = dataclasses.replace(result, status=FAILED, note=note)
                results.append(result)
    looked = (
        Precondition("the loss repeats bit for bit", steady_loss, everywhere=True),
        Precondition("the gradient repeats bit for bit", steady_gradient, everywhere=True),
        Precondition("loss and gradient are finite", finite, everywhere=True),
    )
    return Section(moment, tuple(results), preconditions=looked)


def _eps(gradient: Array) -> float:
    """The rounding of a gradient's own dtype."""
    return max(EPS, float(np.finfo(gradient.dtype).eps)) if gradient.dtype.kind == "f" else EPS


def _scales(
    part: Part, theta: Array, tensors: Mapping[str, Array], rng: np.random.Generator
) -> dict[str, float]:
    """‖∇f‖ of each tensor where theta's numbers are shuffled within each tensor. From the oracle: a wrong
    hand-derived gradient must not widen its own tolerance."""
    shuffled = theta.copy()
    for index in tensors.values():
        flat = index.ravel()
        shuffled[flat] = rng.permutation(theta[flat])
    _, oracle = part.oracle
    along = Concatenated(
        [
            Dense(index.ravel(), rng.standard_normal((SCALE_DIRECTIONS, index.size)))
            for index in tensors.values()
        ]
    )
    slopes, _ = oracle(part.value, shuffled, along)
    scales = {name: rms(slopes[rows]) for name, rows in zip(tensors, along.rows, strict=True)}
    return {name: scale if np.isfinite(scale) else 0.0 for name, scale in scales.items()}


@dataclass(frozen=True)
class _Sample:
    """Of a tensor of n entries: random directions v (S, n), some entries, and the oracle's slopes along both with
    the errors that it leaves."""

    v: Array
    slopes: Array
    errors: Array
    entries: Array
    expected: Array
    entry_errors: Array


def _samples(
    part: Part, theta: Array, tensors: Mapping[str, Array], options: CheckOptions, rng: np.random.Generator
) -> dict[str, _Sample]:
    """Directions and entries of all tensors, of which the oracle is asked at once."""
    drawn: list[tuple[Array, Array]] = []
    along: list[Directions] = []
    for index in tensors.values():
        n, flat = index.size, index.ravel()
        v = rng.standard_normal((options.directions, n))
        entries = np.sort(rng.choice(n, min(options.coordinates, n), replace=False))
        drawn.append((v, entries))
        along += [Dense(flat, v), Axes(flat[entries])]
    together = Concatenated(along)
    _, oracle = part.oracle
    slopes, errors = oracle(part.value, theta, together)
    return {
        name: _Sample(v, slopes[rows], errors[rows], entries, slopes[at], errors[at])
        for name, (v, entries), rows, at in zip(
            tensors, drawn, together.rows[::2], together.rows[1::2], strict=True
        )
    }


def _kink_note(count: int, of: int, near: str) -> str:
    return (
        f"{count} of {of} entries lie on a kink{near}: any slope between those on its two sides is right there"
    )


@dataclass(frozen=True)
class _Tensor:
    """One tensor's gradient as `got` (n,), to be compared."""

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
                result = self._beside_kinks(result, expected, options)
        else:
            result = self._by_differences(options)
        if result.status != FAILED:
            return result
        return self._unless_rough(result)

    def _compared(self, expected: Array, errors: Array, options: CheckOptions, kinks: str = "") -> TensorResult:
        """Every entry beside what is expected of it. `kinks` says what was done about entries on kinks."""
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
        """Compare with central differences, and apart from the rest the entries that lie too near to a kink for
        them: what such an entry may be is known up to the error that they give themselves."""
        found = differences(self.part.value, self.theta, Axes(self.index.ravel()))
        expected, errors = found.values, found.errors
        usual = max(float(np.linalg.norm(expected)), float(np.linalg.norm(self.got))) / np.sqrt(self.got.size)
        unsure = found.kinked | (errors > MOST_TOLERANCE * np.maximum(usual, np.abs(expected)))
        # Where they can tell none and it is no kink, the loss is too rough for them, and the result untested.
        if not unsure.any() or (unsure.all() and not found.kinked.all()):
            return self._compared(expected, errors, options)
        nearest = np.clip(self.got, expected - errors, expected + errors)
        step = float(found.steps[unsure].max())
        return self._compared(
            np.where(unsure, nearest, expected),
            np.where(unsure, 0, errors),
            options,
            _kink_note(int(unsure.sum()), self.got.size, f" or within {step:.0e} of one"),
        )

    def _beside_kinks(self, result: TensorResult, expected: Array, options: CheckOptions) -> TensorResult:
        """The result where all entries that are off lie on kinks: each beside the slopes on its two sides."""
        off = np.abs(self.got - expected)
        allowed = result.tolerance * float(np.linalg.norm(expected)) / np.sqrt(self.got.size)
        entries = np.argsort(-off)[: int((off > allowed).sum())]
        explained = expected.copy()
        for entry in map(int, entries):
            sides = self._sides(entry)
            # A mistake is seldom on a kink in its worst entry: one evaluation tells.
            if sides is None:
                return result
            explained[entry] = np.clip(self.got[entry], *sides)
        return self._compared(
            explained, np.zeros_like(off), options, _kink_note(len(entries), self.got.size, "")
        )

    def _sides(self, entry: int) -> tuple[float, float] | None:
        """The smaller and the larger one of the slopes on the two sides of an entry, by the complex step; None
        where they are the same: where they come together as the distance shrinks."""
        at = int(self.index.ravel()[entry])
        step = ASIDE * (abs(self.theta[at]) or float(np.abs(self.theta).max(initial=0.0)) or 1.0)
        points = np.repeat(self.theta[None], 4, axis=0)
        points[:, at] += step * np.array([-1, 1, -1 / 16, 1 / 16])
        far, near = (
            np.array([complex_step(self.part.value, each, Axes(np.array([at])))[0][0] for each in pair])
            for pair in (points[:2], points[2:])
        )
        jump, usual = abs(near[1] - near[0]), float(np.abs(near).max())
        if not jump > max(0.5 * abs(far[1] - far[0]), JUMP * usual):
            return None
        slack = float(np.abs(far - near).max()) + ROUNDINGS * EPS * usual
        return float(near.min()) - slack, float(near.max()) + slack

    def by_sample(self, sample: _Sample, options: CheckOptions, rng: np.random.Generator) -> TensorResult:
        """Compare along random directions and at some entries.

        Along v ~ N(0, 1) the mean square of (got − expected)·v is ‖got − expected‖².
        """
        n, chosen, expected = self.got.size, sample.entries, sample.expected
        count = len(chosen)
        gap, norm = rms(sample.v @ self.got - sample.slopes), rms(sample.slopes)
        along = ratio(gap, max(float(np.linalg.norm(self.got)), norm))
        # The entries drawn may be far smaller than the rest, whose rounding they share.
        usual = norm * np.sqrt(count / n)
        difference = self.got[chosen] - expected
        single = ratio(
            float(np.linalg.norm(difference)),
            max(float(np.linalg.norm(self.got[chosen])), float(np.linalg.norm(expected)), float(usual)),
        )
        left = max(rms(sample.errors), float(np.linalg.norm(sample.entry_errors)) * np.sqrt(n / max(count, 1)))
        result = self._judged(max(along, single), norm, left, options, count, options.directions)
        if result.status != FAILED:
            return result
        bad = np.flatnonzero(~np.isfinite(self.got))
        if len(bad):
            return self._with_worst(result, bad[:1], self._slopes(bad[:1])[0])
        if single > result.tolerance:
            result = self._with_worst(result, chosen, expected)
        else:
            found = np.array([self._search(rng)])
            result = self._with_worst(result, found, self._slopes(found)[0])
        return self._unless_rough(self._unless_kinked(result))

    def _unless_kinked(self, result: TensorResult) -> TensorResult:
        """Untested where the worst entry lies on a kink and is right there: what else is wrong does not show."""
        if result.worst is None or not self.part.complex_step or not np.isfinite(result.relative_error):
            return result
        sides = self._sides(int(np.ravel_multi_index(result.worst.index, self.index.shape)))
        if sides is None or not sides[0] <= result.worst.got <= sides[1]:
            return result
        return dataclasses.replace(
            result,
            status=UNTESTED,
            worst=None,
            note=f"{result.name} lies on a kink, and hides what else is wrong",
        )

    def _unless_rough(self, result: TensorResult) -> TensorResult:
        """Untested where the loss is too rough to judge by: its slope moves that far in the last bits of theta."""
        size = max(result.norm, float(np.linalg.norm(self.got)))
        if result.status != FAILED or not np.isfinite(result.relative_error):
            return result
        if result.relative_error > result.tolerance + 2 * ratio(self._roughness(), size):
            return result
        note = "the loss is as rough as that within rounding here"
        return dataclasses.replace(result, status=UNTESTED, note=note, worst=None)

    def _roughness(self) -> float:
        """How far the norm of the tensor's derivative moves, by the oracle, within the last bits of theta."""
        rng = np.random.default_rng(0)
        _, oracle = self.part.oracle
        flat = self.index.ravel()
        along = Dense(flat, rng.standard_normal((SCALE_DIRECTIONS, len(flat))))
        still, _ = oracle(self.part.value, self.theta, along)
        moved = [
            oracle(self.part.value, self.theta * (1 + 4 * EPS * rng.uniform(-1, 1, self.theta.shape)), along)[0]
            for _ in range(4)
        ]
        shift = max(rms(each - still) for each in moved)
        return shift if np.isfinite(shift) else 0.0

    def _slopes(self, entries: Array) -> tuple[Array, Array]:
        _, oracle = self.part.oracle
        return oracle(self.part.value, self.theta, Axes(self.index.ravel()[entries]))

    def _search(self, rng: np.random.Generator) -> int:
        """An entry that is wrong, by halving: the half along which the gradient is further off is kept."""
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
        self, error: float, norm: float, left: float, options: CheckOptions, checked: int, directions: int
    ) -> TensorResult:
        """The result, without its worst entry. `left` is the norm of the errors that the oracle leaves."""
        size = max(norm, float(np.linalg.norm(self.got)))
        rounding = ROUNDINGS * self.eps * max(1.0, ratio(self.scale, size)) + 2 * ratio(left, size)
        tolerance, status, note = options.tolerance + rounding, PASSED, ""
        # First of all: beside a derivative of zero, NaN has no size.
        if not np.isfinite(error):
            tolerance, status, note = options.tolerance, FAILED, "a number is not finite"
        elif size == 0:
            status, note = self._without_slope()
        elif rounding > MOST_TOLERANCE and error <= tolerance:
            status, note = UNTESTED, "the gradient is as small as its rounding here"
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
        """Return the status and note of a gradient of zero beside a derivative of zero: there is nothing to check
        where the value stays the same bit for bit however the tensor moves."""
        rng = np.random.default_rng(0)
        index = self.index.ravel()
        sizes = np.where(self.theta[index] == 0, 1, self.theta[index])
        points = np.repeat(self.theta[None], 5, axis=0)
        for row, step in zip(points[1:], (1e-6, 1e-2, 1.0, 10.0), strict=True):
            row[index] += step * sizes * rng.standard_normal(len(index))
        # One at a time: a product of several rows may be rounded another way.
        values = [np.array(self.part.value(row[None])) for row in points]
        if all(np.array_equal(value, values[0]) for value in values):
            return NOTHING, f"the {self.part.name} does not depend on it"
        return UNTESTED, "the gradient is zero here"

    def _with_worst(self, result: TensorResult, entries: Array, expected: Array) -> TensorResult:
        worst = worst_entry(self.index, entries, self.got[entries], expected)
        return dataclasses.replace(result, worst=worst)
