"""Floor 1: the comparison of a hand-derived gradient with an oracle, tensor by tensor, and its tolerance.

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
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from framework.gradcheck.options import CheckOptions
from framework.gradcheck.oracles import Axes, Dense, Oracle, Values, central_differences, complex_step
from framework.gradcheck.report import FAILED, LOWER, PASSED, UNTESTED, Entry, Section, TensorResult
from framework.kinds import Array

#: Roundings that the longest chain of sums and products of a gradient may add up to.
ROUNDINGS = 100.0
#: A tolerance above this would let mistakes pass; the tensor is then untested.
MOST_TOLERANCE = 1e-3
#: The same for the arithmetic in float32.
MOST_TOLERANCE_LOW = 0.1
#: Directions from which the norm of a gradient at shuffled parameters is estimated.
SCALE_DIRECTIONS = 5


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
    # What is not finite is reported as such, not warned about.
    with np.errstate(all="ignore"):
        for part in parts:
            got = np.asarray(part.gradient(theta), dtype=np.float64).copy()
            again = np.asarray(part.gradient(theta), dtype=np.float64)
            steady = np.array_equal(*(np.array(part.value(theta[None])) for _ in range(2)), equal_nan=True)
            rng = np.random.default_rng((seed, len(theta)))
            scales = _scales(part, theta, tensors, rng)
            for name, index in tensors.items():
                own = index.ravel()
                tensor = _Tensor(part, theta, name, index, got[own], scales[name])
                whole = len(theta) <= options.all_coordinates_up_to
                result = tensor.by_entry(options) if whole else tensor.by_sample(options, rng)
                if not steady or not np.array_equal(got[own], again[own], equal_nan=True):
                    what = "gradient" if steady else "loss"
                    note = f"two calls at the same parameters gave a different {what}"
                    result = dataclasses.replace(result, status=FAILED, note=note)
                results.append(result)
    return Section(moment, tuple(results))


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
    scales: dict[str, float] = {}
    for name, index in tensors.items():
        flat = index.ravel()
        slopes, _ = oracle(
            part.value, shuffled, Dense(flat, rng.standard_normal((SCALE_DIRECTIONS, len(flat))))
        )
        scale = _rms(slopes)
        scales[name] = scale if np.isfinite(scale) else 0.0
    return scales


@dataclass(frozen=True)
class _Tensor:
    """One tensor's gradient as `got` (n,), to be compared."""

    part: Part
    theta: Array
    name: str
    index: Array
    got: Array
    scale: float

    def by_entry(self, options: CheckOptions) -> TensorResult:
        """Compare every entry."""
        expected, errors = self._slopes(np.arange(self.got.size))
        error = _relative(self.got - expected, self.got, expected)
        norm = float(np.linalg.norm(expected))
        result = self._judged(error, norm, float(np.linalg.norm(errors)), options, self.got.size, 0)
        usual = max(norm, float(np.linalg.norm(self.got))) / np.sqrt(self.got.size) or 1.0
        off = (np.abs(self.got - expected) / usual).reshape(self.index.shape)
        result = dataclasses.replace(result, errors=off)
        if result.status != FAILED:
            return result
        return self._with_worst(result, np.arange(self.got.size), expected)

    def by_sample(self, options: CheckOptions, rng: np.random.Generator) -> TensorResult:
        """Compare along random directions and at some entries.

        Along v ~ N(0, 1) the mean square of (got − expected)·v is ‖got − expected‖².
        """
        n, count = self.got.size, min(options.coordinates, self.got.size)
        v = rng.standard_normal((options.directions, n))
        _, oracle = self.part.oracle
        slopes, errors = oracle(self.part.value, self.theta, Dense(self.index.ravel(), v))
        gap, norm = _rms(v @ self.got - slopes), max(_rms(slopes), 0.0)
        along = _ratio(gap, max(float(np.linalg.norm(self.got)), norm))
        chosen = np.sort(rng.choice(n, count, replace=False))
        expected, more_errors = self._slopes(chosen)
        # The entries drawn may be far smaller than the rest, whose rounding they share.
        usual = norm * np.sqrt(count / n)
        difference = self.got[chosen] - expected
        single = _ratio(
            float(np.linalg.norm(difference)),
            max(float(np.linalg.norm(self.got[chosen])), float(np.linalg.norm(expected)), float(usual)),
        )
        left = max(_rms(errors), float(np.linalg.norm(more_errors)) * np.sqrt(n / max(count, 1)))
        result = self._judged(max(along, single), norm, left, options, count, options.directions)
        if result.status != FAILED:
            return result
        if single > result.tolerance:
            return self._with_worst(result, chosen, expected)
        found = np.array([self._search(rng)])
        return self._with_worst(result, found, self._slopes(found)[0])

    def _roughness(self) -> float:
        """How far the norm of the tensor's derivative moves, by the oracle, within the last bits of theta."""
        rng = np.random.default_rng(0)
        _, oracle = self.part.oracle
        flat = self.index.ravel()
        along = Dense(flat, rng.standard_normal((SCALE_DIRECTIONS, len(flat))))
        still, _ = oracle(self.part.value, self.theta, along)
        eps = np.finfo(np.float64).eps
        moved = [
            oracle(self.part.value, self.theta * (1 + 4 * eps * rng.uniform(-1, 1, self.theta.shape)), along)[0]
            for _ in range(4)
        ]
        shift = max(_rms(each - still) for each in moved)
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
                off.append(_rms(v @ self.got[half] - slopes))
            entries = halves[int(np.argmax(off))]
        return int(entries[0])

    def _judged(
        self, error: float, norm: float, left: float, options: CheckOptions, checked: int, directions: int
    ) -> TensorResult:
        """The result, without its worst entry. `left` is the norm of the errors that the oracle leaves."""
        eps = np.finfo(np.float64).eps
        size = max(norm, float(np.linalg.norm(self.got)))
        rounding = ROUNDINGS * eps * max(1.0, _ratio(self.scale, size)) + 2 * _ratio(left, size)
        tolerance, status, note = options.tolerance + rounding, PASSED, ""
        if size == 0:
            status, note = UNTESTED, "the gradient is zero here"
        elif not np.isfinite(error):
            tolerance, status, note = options.tolerance, FAILED, "a number is not finite"
        elif rounding > MOST_TOLERANCE and error <= tolerance:
            status, note = UNTESTED, "the gradient is as small as its rounding here"
        elif error > tolerance:
            status = FAILED
            if error <= tolerance + 2 * _ratio(self._roughness(), size):
                status, note = UNTESTED, "the loss is as rough as that within rounding here"
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

    def _with_worst(self, result: TensorResult, entries: Array, expected: Array) -> TensorResult:
        worst = _worst(self.index, entries, self.got[entries], expected)
        return dataclasses.replace(result, worst=worst)


def compare_dtypes(
    low: Array,
    gradient: Callable[[Array], Array],
    theta: Array,
    section: Section,
    tensors: Mapping[str, Array],
    dtype: np.dtype[Any],
    seed: int = 0,
) -> list[TensorResult]:
    """Compare a gradient `low` (P,) computed in `dtype` with the float64 one at the same theta (P,).

    `section` is the float64 check, from which the size of the terms is known. The tolerance is that of the
    float64 check with the ε of `dtype`, plus how far the float64 gradient itself moves when each parameter moves
    by some roundings of `dtype`: a pre-activation that near to a kink falls on either side of it.
    """
    eps = float(np.finfo(dtype).eps)
    high = np.array(gradient(theta))
    rng = np.random.default_rng((seed, 32))
    moved = [
        np.array(gradient(theta * (1 + 8 * eps * rng.uniform(-1, 1, theta.shape)))) - high for _ in range(6)
    ]
    scales = {result.tensor: result.scale for result in section.results if result.part == "loss"}
    results: list[TensorResult] = []
    for name, index in tensors.items():
        flat = index.ravel()
        got, expected = low[flat].astype(np.float64), high[flat]
        norm = float(np.linalg.norm(expected))
        error = _relative(got - expected, got, expected)
        shift = max(float(np.linalg.norm(each[flat])) for each in moved)
        tolerance = ROUNDINGS * eps * max(1.0, _ratio(scales[name], norm)) + 2 * _ratio(shift, norm)
        status, note = (PASSED if error <= tolerance else FAILED), ""
        if norm == 0 and error == 0:
            status, note = UNTESTED, "the gradient is zero here"
        elif status == PASSED and tolerance > MOST_TOLERANCE_LOW:
            status, note = UNTESTED, f"the gradient is as small as its rounding in {dtype} here"
        results.append(
            TensorResult(
                part=str(dtype),
                tensor=name,
                shape=index.shape,
                oracle=LOWER,
                checked=index.size,
                directions=0,
                relative_error=error,
                tolerance=tolerance,
                status=status,
                norm=norm,
                scale=scales[name],
                worst=None if status != FAILED else _worst(index, np.arange(index.size), got, expected),
                note=note,
            )
        )
    return results


def _worst(index: Array, entries: Array, got: Array, expected: Array) -> Entry:
    """The one of the tensor's `entries` that is furthest off; one that is not finite before all."""
    off = np.abs(got - expected)
    at = int(np.argmax(np.where(np.isfinite(off), off, np.inf)))
    place = tuple(int(each) for each in np.unravel_index(int(entries[at]), index.shape))
    return Entry(place, float(got[at]), float(expected[at]))


def _relative(difference: Array, got: Array, expected: Array) -> float:
    return _ratio(
        float(np.linalg.norm(difference)), max(float(np.linalg.norm(got)), float(np.linalg.norm(expected)))
    )


def _ratio(part: float, whole: float) -> float:
    """0 for 0 / 0; infinite for what is not finite."""
    if part == 0:
        return 0.0
    ratio = part / whole if whole else np.inf
    return float(ratio) if np.isfinite(ratio) else float("inf")


def _rms(values: Array) -> float:
    return float(np.sqrt(np.mean(np.square(values)))) if values.size else 0.0
