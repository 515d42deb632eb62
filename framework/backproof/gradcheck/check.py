"""`check(f, theta)`: the gradient check of any function, for tests and notebooks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from backproof.contracts import Array
from backproof.gradcheck.claim import AUTO, CENTRAL, COMPLEX, Claim, Evidence, Settings
from backproof.gradcheck.evidence import Sample, interval_text, tensor_results
from backproof.gradcheck.exact import complex_slopes
from backproof.gradcheck.function import Function
from backproof.gradcheck.iterations import iterates
from backproof.gradcheck.judge import judge
from backproof.gradcheck.ladder import FIRST, Ladder
from backproof.gradcheck.lines import EPS, Lines, ParameterLines, on_line
from backproof.gradcheck.noise import noise_along
from backproof.gradcheck.norms import ROUNDINGS
from backproof.gradcheck.preconditions import of_values
from backproof.gradcheck.report import FAILED, GradcheckReport, Section, TensorResult, without_value
from backproof.gradcheck.taylor import taylor_test

#: Parameters up to which every entry is compared; calls of f that an entry needs when nothing is unusual.
EVERY_ENTRY, PER_ENTRY = 3000, 13
#: Calls for what is asked of all parameters together, and for a closer look at one entry.
OVERHEAD, CLOSER = 110, 50
#: Random directions and single entries of each tensor beyond.
DIRECTIONS, ENTRIES = 8, 12
#: Two calls that differ by no more than this, relatively, differ in their rounding; others draw random numbers.
LAST_BITS = 1e-7
ALMOST = ": the order of its sums varies, with threads for instance; nondet_tol= allows for it"
RANDOM = (
    ": it looks random (dropout, sampling, augmentation); draw the same numbers at every call, with a generator "
    "that is seeded inside f or a mask that is passed in args="
)
#: Random directions over the entries that lie on kinks.
KINK_DIRECTIONS = 6
#: Roundings that the longest chain of sums and products of a gradient may add up to below float64.
NARROW_ROUNDINGS = 16.0


def check(
    f: Callable[..., Any],
    theta: Any,
    *,
    grad: Callable[..., Any] | None = None,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    oracle: str = AUTO,
    tolerance: float | None = None,
    noise: float | None = None,
    nondet_tol: float = 0.0,
    bounds: tuple[Any, Any] | None = None,
    max_calls: int | None = None,
    seed: int | None = 0,
) -> GradcheckReport:
    """Compare a gradient with the derivative of the loss that it claims to belong to.

        assert check(f, theta)                # f(theta) -> (loss, gradient)
        assert check(loss, theta, grad=grad)  # two functions

    theta is a number, an array, or any nest of dicts, lists, tuples and named tuples of arrays, of torch or jax
    too where these are installed; the gradient has the same form. f receives float64 copies,
    and then `*args, **kwargs`.

    oracle      auto compares with the complex step and with central differences, and says where they disagree;
                complex_step or central_differences insists on one
    tolerance   relative error allowed beyond what the oracles leave
    noise       absolute error of the values of f; by default it is measured
    nondet_tol  how far two calls at the same parameters may differ, relative to the loss and to the gradient
    bounds      (low, high), numbers or nests like theta: f is not evaluated outside
    max_calls   most calls of f; random directions take the place of entries where it is small
    seed        of the random directions

    Raises ValueError or TypeError where theta cannot be differentiated at, where what f returns has another form,
    and where f writes into its theta. What f raises at theta is raised; elsewhere it has left its domain.
    """
    settings = Settings(_oracle(oracle), tolerance, noise)
    function = Function(f, theta, grad, args, kwargs, bounds, max_calls)
    return GradcheckReport((check_function(function, settings, nondet_tol, seed or 0),))


def check_function(
    function: Function, settings: Settings, nondet_tol: float = 0.0, seed: int = 0, moment: str = "given"
) -> Section:
    """Check the claimed gradient of a function, tensor by tensor."""
    loss, gradient = function.at_theta()
    again = function.at_theta()
    function.set_scale(loss, gradient)
    # What is not finite is reported as such, not warned about.
    with np.errstate(all="ignore"):
        results = _Check(function, settings, seed).results()
        taylor = _taylor(function, seed) if np.isfinite(loss) else None
    losses = np.array([loss]), np.array([again[0]])
    steady_loss, steady = _same(*losses, nondet_tol), _same(gradient, again[1], nondet_tol)
    unsteady = "loss" if not steady_loss else "" if steady else "gradient"
    random = not (_same(*losses, LAST_BITS) and _same(gradient, again[1], LAST_BITS))
    finite = bool(np.isfinite(loss))
    results = [
        without_value(result, finite=finite, unsteady=unsteady, hint=RANDOM if random else ALMOST)
        for result in results
    ]
    preconditions = of_values(steady_loss, steady, finite and bool(np.isfinite(gradient).all()))
    return Section(moment, tuple(results), preconditions=preconditions, taylor=taylor)


class _Check:
    """One check of a function: which lines it takes, what is claimed along them, and the results by tensor."""

    def __init__(self, function: Function, settings: Settings, seed: int) -> None:
        self.function, self.settings = function, settings
        self.theta, self.tensors = function.theta, function.tensors
        self.rng = np.random.default_rng((seed, len(self.theta)))
        raw = function.gradient(self.theta)
        self.eps = max(EPS, float(np.finfo(raw.dtype).eps))
        self.gradient = raw.astype(np.float64)

    def results(self) -> list[TensorResult]:
        """The result of each tensor."""
        samples, entries, groups = self._sampled()
        lines = ParameterLines(self.function.value, self.theta, entries, groups)
        count = len(lines.sizes)
        self.function.planned = self.function.calls + PER_ENTRY * count + OVERHEAD
        noise = np.full(count, self._noise())
        found = judge(lines, self._claim(lines), noise, self.settings)
        self._across_kinks(found, entries, noise)
        results = tensor_results(samples, found, self.gradient, self._wrong_entry, 1 / self.function.scale)
        return [self._explained(result) for result in results]

    def _sampled(self) -> tuple[list[Sample], Array, list[tuple[Array, Array]]]:
        """Which entries and directions of each tensor are compared: every entry, unless there are too many."""
        P, most = len(self.theta), self.function.max_calls
        every = P <= EVERY_ENTRY and (
            most is None or self.function.calls + PER_ENTRY * P + OVERHEAD + CLOSER <= most
        )
        directions, single = DIRECTIONS, ENTRIES
        if not every and most is not None:
            room = (most - self.function.calls - OVERHEAD - CLOSER) // (PER_ENTRY * len(self.tensors))
            directions = int(np.clip(room, 2, DIRECTIONS))
            single = int(np.clip(room - directions, 0, ENTRIES))
        samples: list[Sample] = []
        chosen: list[Array] = []
        groups: list[tuple[Array, Array]] = []
        first, row = 0, 0
        for name, index in self.tensors.items():
            flat = index.ravel()
            entries = flat if every else np.sort(self.rng.choice(flat, min(single, flat.size), replace=False))
            chosen.append(entries)
            samples.append(Sample(name, index, slice(first, first + len(entries)), entries, slice(0, 0)))
            first += len(entries)
        if not every:
            for at, (index, sample) in enumerate(zip(self.tensors.values(), samples, strict=True)):
                flat = index.ravel()
                vectors = self.rng.standard_normal((directions, flat.size))
                own = np.abs(self.theta[flat])
                zero = own == 0
                if zero.any() and not zero.all():
                    # At zero is where kinks are: they would hide the other entries.
                    vectors[::4, ~zero] = 0
                    vectors[np.arange(directions) % 4 != 0] *= ~zero
                if own.max() > 1e3 * own.min() > 0:
                    vectors *= own / own.mean()
                groups.append((flat, vectors))
                samples[at] = dataclasses.replace(
                    sample, directions=slice(first + row, first + row + directions), vectors=vectors
                )
                row += directions
        return samples, np.concatenate(chosen), groups

    def _noise(self) -> float:
        """The noise of the values, along a direction that moves every parameter by its own size."""
        everything = np.arange(len(self.theta))
        sizes = np.where(self.theta == 0, 1.0, np.abs(self.theta))
        v = self.rng.uniform(-1, 1, len(self.theta)) * sizes
        lines = ParameterLines(self.function.value, self.theta, everything[:0], [(everything, v[None])])
        given = 0.0 if self.settings.noise is None else self.settings.noise * self.function.scale
        return max(noise_along(lines, 0), given)

    def _claim(self, lines: ParameterLines) -> Claim:
        along = lines.along(self.gradient)
        terms = lines.terms(self.gradient)
        usual = self._usual(lines)
        chain = ROUNDINGS if self.eps < 1e-10 else NARROW_ROUNDINGS
        rounding = chain * self.eps * np.maximum(terms, 0 if self.eps < 1e-10 else usual) + 4 * self.eps * usual

        def moved(rng: np.random.Generator, by: float) -> tuple[Lines, Array]:
            near = lines.moved(rng, by)
            return near, near.along(self._gradient(near.theta))

        return Claim(along, rounding, usual, moved, self._iterates)

    def _usual(self, lines: ParameterLines) -> Array:
        """The usual size of a slope along each line: that of its tensor by the root mean square, or, where the
        parameters of a tensor differ in scale, that of the slopes times the parameters."""
        by_entry = np.zeros(len(self.theta))
        scale = np.where(self.theta == 0, lines.usual, np.abs(self.theta))
        for index in self.tensors.values():
            flat = index.ravel()
            own = np.where(np.isfinite(self.gradient[flat]), self.gradient[flat], 0.0)
            relative = np.sqrt(np.mean((own * scale[flat]) ** 2)) / scale[flat]
            by_entry[flat] = np.minimum(np.sqrt(np.mean(own**2)), relative)
        single = by_entry[lines.entries]
        dense = [np.linalg.norm(v * by_entry[index]) for index, vectors in lines.groups for v in vectors]
        return np.concatenate([single, np.array(dense)])

    def _gradient(self, at: Array) -> Array:
        """Return the claimed gradient at another point; NaN if it does not exist."""
        try:
            return self.function.gradient(at).astype(np.float64)
        except Exception:  # noqa: BLE001 - outside of its domain f may raise anything
            return np.full(len(at), np.nan)

    def _iterates(self) -> bool:
        """Whether f iterates, along a line that moves every parameter."""
        everything = np.arange(len(self.theta))
        sizes = np.where(self.theta == 0, 1.0, np.abs(self.theta))
        v = np.random.default_rng(1).uniform(-1, 1, len(self.theta)) * sizes
        through = ParameterLines(self.function.value, self.theta, everything[:0], [(everything, v[None])])
        # The loops of a stream that progress is printed to are not those of f.
        self.function.silent = True
        try:
            return iterates(on_line(through, 0), float(through.sizes[0]))
        finally:
            self.function.silent = False

    def _across_kinks(self, found: Evidence, entries: Array, noise: Array) -> None:
        """Look along random directions over the entries that lie on kinks: at a tie of a maximum each entry may be
        right by itself and the gradient wrong. The slopes on the two sides bound that of a gradient only where all
        kinks bend the same way."""
        rows = np.flatnonzero(np.isfinite(found.low[: len(entries)]))
        bends = set(found.bend[rows].tolist())
        if len(rows) < 2 or len(bends) != 1:
            return
        index = entries[rows]
        vectors = np.concatenate(
            [self.rng.choice([-1.0, 1.0], (KINK_DIRECTIONS, len(index))), np.ones((1, len(index)))]
        ) * np.where(self.theta[index] == 0, 1.0, np.abs(self.theta[index]))
        lines = ParameterLines(self.function.value, self.theta, entries[:0], [(index, vectors)])
        ladder = Ladder.of(lines, np.full(len(vectors), noise[0]), lines.sizes)
        every = np.arange(len(vectors))
        ladder.climb(every)
        kinked, low, high, bend = ladder.slopes(every).kinks()
        slopes, (values, errors) = lines.along(self.gradient), ladder.slopes(every).best()
        slack = 1e-6 * np.abs(slopes)
        outside = kinked & (bend == next(iter(bends))) & ((slopes < low - slack) | (slopes > high + slack))
        outside |= (
            ~kinked & (np.abs(slopes - values) > errors + slack) & ladder.slopes(every).contradict(slopes)
        )
        if outside.any():
            at, unit = int(np.flatnonzero(outside)[0]), 1 / self.function.scale
            bounds = (low[at], high[at]) if kinked[at] else (values[at], values[at])
            for row in rows.tolist():
                found.status[row] = FAILED
                found.notes[row] = (
                    f"together these entries give the slope {slopes[at] * unit:.6g} in a direction in which it "
                    f"lies in {interval_text(bounds[0] * unit, bounds[1] * unit)}"
                )

    def _wrong_entry(self, index: Array, oracle: str) -> tuple[int, float]:
        """An entry that is wrong, by halving the tensor, and the slope expected there."""
        entries = index.ravel()
        while len(entries) > 1:
            halves = np.array_split(entries, 2)
            off: list[float] = []
            for half in halves:
                vectors = self.rng.standard_normal((2, len(half)))
                lines = ParameterLines(self.function.value, self.theta, entries[:0], [(half, vectors)])
                off.append(float(np.abs(lines.along(self.gradient) - self._slopes(lines, oracle)).max()))
            entries = halves[int(np.argmax(off))]
        lines = ParameterLines(self.function.value, self.theta, entries)
        return int(entries[0]), float(self._slopes(lines, oracle)[0])

    def _slopes(self, lines: ParameterLines, oracle: str) -> Array:
        if oracle == COMPLEX.replace("_", " "):
            return complex_slopes(lines)[0]
        ladder = Ladder.of(lines, np.zeros(len(lines.sizes)), lines.sizes)
        every = np.arange(len(lines.sizes))
        ladder.climb(every, slice(FIRST.start, FIRST.stop + 4))
        return ladder.slopes(every).best()[0]

    def _explained(self, result: TensorResult) -> TensorResult:
        """The result in the scale of f, with what helps where it failed."""
        scale = 1 / self.function.scale
        worst = result.worst and dataclasses.replace(
            result.worst, got=result.worst.got * scale, expected=result.worst.expected * scale
        )
        note = result.note
        if result.status == FAILED and result.norm == 0 and not note:
            note = "f does not change with theta: does it use its argument?"
        if self.function.exhausted:
            note = "; ".join(filter(None, (note, f"max_calls={self.function.max_calls} has been reached")))
        return dataclasses.replace(
            result, worst=worst, norm=result.norm * scale, scale=result.scale * scale, note=note
        )


def _taylor(function: Function, seed: int) -> Any:
    """The remainder test along a random direction that moves every parameter by its own size."""
    theta = function.theta
    direction = np.random.default_rng(seed).normal(0, 1, theta.shape) * np.where(theta == 0, 1.0, np.abs(theta))
    everything = np.arange(len(theta))
    lines = ParameterLines(function.value, theta, everything[:0], [(everything, direction[None])])
    return taylor_test(
        lambda at: float(np.real(function.value(at))),
        function.gradient(theta),
        theta,
        direction,
        noise=noise_along(lines, 0),
    )


def complex_values_of(function: Function, seed: int) -> bool:
    """Whether the complex step works on a function, in each tensor and in every one of some entries."""
    theta = function.theta
    rng = np.random.default_rng(seed)
    entries = np.sort(rng.choice(len(theta), min(len(theta), 64), replace=False))
    groups = [(index.ravel(), rng.standard_normal((1, index.size))) for index in function.tensors.values()]
    lines = ParameterLines(function.value, theta, entries, groups)
    with np.errstate(all="ignore"):
        exact, why = complex_slopes(lines)
        if why:
            return False
        rows = np.arange(len(exact))
        ladder = Ladder.of(lines, np.full(len(rows), noise_along(lines, len(rows) - 1)), lines.sizes)
        ladder.climb(rows)
        values, errors = ladder.slopes(rows).best()
    return bool((np.abs(exact - values) <= 3 * errors + 1e-12 * np.abs(exact)).all())


def _same(first: Array, second: Array, within: float) -> bool:
    """Whether two calls gave the same numbers, up to a part of the largest."""
    if np.array_equal(first, second, equal_nan=True):
        return True
    size = max(float(np.abs(first).max()), 1.0)
    return bool(np.abs(first - second).max() <= within * size)


def _oracle(oracle: str) -> str:
    if oracle not in (COMPLEX, CENTRAL, AUTO):
        raise ValueError(f"oracle must be {COMPLEX}, {CENTRAL} or {AUTO}, got {oracle!r}")
    return oracle
