"""What every loss must keep, for each of the tasks it can be trained on."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from backproof.conformance.base import Check, ConformanceError, require
from backproof.contracts import CLASSIFICATION, MULTILABEL, TASKS, Array, Loss, Plugin

B = 8
PREDICTIONS = ("probability", "score", "value")
#: Sizes of logits at which values and gradients are compared; the last is far out of what training meets.
SCALES = (0.1, 1.0, 10.0, 1e4)
STEP = 1e-30


@dataclass(frozen=True)
class _Case:
    """A loss on one task: targets as a dataset has them, encoded, and how many of each there are."""

    loss: Loss
    task: str
    targets: int
    K: int
    raw: Array

    def y(self, dtype: type[np.floating] = np.float64) -> Array:
        """(1, B, K), a swapped view of (1, K, B) memory."""
        return _feature_major(self.loss.encode(self.raw, self.K, dtype)[None])

    def z(self, R: int = 1, scale: float = 1.0, seed: int = 0, dtype: type[np.floating] = np.float64) -> Array:
        """Random logits (R, B, K), a swapped view of (R, K, B) memory."""
        z = scale * np.random.default_rng(seed).standard_normal((R, len(self.raw), self.K))
        return _feature_major(z.astype(dtype))

    def gradient(self, z: Array, y: Array) -> Array:
        """∂Err/∂z in memory that was full of NaN, so that what is not written shows."""
        grad = np.full_like(z, np.nan)
        self.loss.gradient(z, np.broadcast_to(y, z.shape), grad)
        return grad

    def link(self, z: Array) -> Array:
        """What a person reads, in memory that was full of NaN."""
        out = np.full_like(z, np.nan)
        self.loss.link(z, out)
        return out


def _feature_major(array: Array) -> Array:
    """The numbers (R, B, K) in memory (R, K, B), as the network has them."""
    return np.ascontiguousarray(array.swapaxes(1, 2)).swapaxes(1, 2)


def _raw(task: str, targets: int, N: int = B) -> Array:
    """Targets as a dataset of this task has them."""
    rng = np.random.default_rng(7)
    if task == CLASSIFICATION:
        return rng.permutation(np.arange(N) % targets)
    if task == MULTILABEL:
        return rng.integers(0, 2, (N, targets))
    return rng.standard_normal((N, targets))


def _loss(plugin: Plugin) -> Loss:
    if not isinstance(plugin, Loss):
        raise ConformanceError(f"expected a Loss, got {type(plugin).__name__}")
    return plugin


def _cases(plugin: Plugin, N: int = B) -> Iterator[_Case]:
    """One case per task, with the first number of targets that the loss takes."""
    loss = _loss(plugin)
    for task in loss.tasks:
        refused = ""
        for targets in (3, 2, 1, 4, 5, 10):
            if task == CLASSIFICATION and targets == 1:
                continue
            raw = _raw(task, targets, N)
            try:
                K = loss.outputs(task, targets)
                loss.encode(raw, K, np.float64)
            except ValueError as error:
                refused = refused or str(error)
                continue
            yield _Case(loss, task, targets, K, raw)
            break
        else:
            raise ConformanceError(f"{task}: takes neither 1, 2, 3, 4, 5 nor 10 targets ({refused})")


def check_declared(plugin: Plugin) -> None:
    """`tasks`, `default_for` and `prediction` are of those that there are."""
    loss = _loss(plugin)
    require(loss.tasks and set(loss.tasks) <= set(TASKS), f"tasks must be of {TASKS}, got {loss.tasks!r}")
    require(
        set(loss.default_for) <= set(loss.tasks),
        f"default_for must be among its tasks {loss.tasks!r}, got {loss.default_for!r}",
    )
    require(loss.prediction in PREDICTIONS, f"prediction must be of {PREDICTIONS}, got {loss.prediction!r}")


def check_encode(plugin: Plugin) -> None:
    """Targets become finite numbers (N, K) of the dtype asked for, each row by itself."""
    for case in _cases(plugin):
        given = case.raw.copy()
        require(case.K >= 1, f"{case.task}: outputs must be 1 or more, got {case.K}")
        for dtype in (np.float32, np.float64):
            y = case.loss.encode(case.raw, case.K, dtype)
            expected = (len(given), case.K)
            require(y.shape == expected, f"{case.task}: encode must give shape {expected}, got {y.shape}")
            require(y.dtype == dtype, f"{case.task}: encode must give {np.dtype(dtype)}, got {y.dtype}")
            require(np.isfinite(y).all(), f"{case.task}: encode gave NaN or infinity")
            some = case.loss.encode(case.raw[2:5], case.K, dtype)
            require(np.array_equal(some, y[2:5]), f"{case.task}: a row's encoding must not hang on other rows")
        require(np.array_equal(case.raw, given), f"{case.task}: encode must leave the targets as they are")


def check_refuses(plugin: Plugin) -> None:
    """Targets that do not fit the outputs are a ValueError: a class beyond the last, a column too many."""
    for case in _cases(plugin):
        if case.task == CLASSIFICATION:
            wrong, what = np.append(case.raw, case.targets), f"class {case.targets} of {case.targets}"
        else:
            wrong, what = np.concatenate([case.raw, case.raw[:, :1]], axis=1), f"{case.targets + 1} columns"
        try:
            case.loss.encode(wrong, case.K, np.float64)
        except ValueError:
            continue
        raise ConformanceError(f"{case.task}: encode must raise ValueError for {what}, K = {case.K}")


def check_value(plugin: Plugin) -> None:
    """One finite number per member; y may have one member for all."""
    for case in _cases(plugin):
        y = case.y()
        for scale in SCALES:
            z = case.z(3, scale)
            value = case.loss.value(z, y)
            require(value.shape == (3,), f"{case.task}: value must have shape (3,), got {value.shape}")
            require(value.dtype == z.dtype, f"{case.task}: value must be {z.dtype}, got {value.dtype}")
            require(np.isfinite(value).all(), f"{case.task}: value is {value} at logits of size {scale:g}")
            own = case.loss.value(z, np.broadcast_to(y, z.shape))
            require(
                np.array_equal(value, own), f"{case.task}: value must not differ with y (1, B, K) and (R, B, K)"
            )


def check_untouched(plugin: Plugin) -> None:
    """`value`, `gradient` and `link` leave z and y as they are."""
    for case in _cases(plugin):
        z, y, out = case.z(3), np.array(np.broadcast_to(case.y(), (3, B, case.K))), case.z(3)
        kept = z.copy(), y.copy()
        for name, arguments in (("value", (z, y)), ("gradient", (z, y, out)), ("link", (z, out))):
            getattr(case.loss, name)(*arguments)
            for letter, now, before in (("z", z, kept[0]), ("y", y, kept[1])):
                require(np.array_equal(now, before), f"{case.task}: {name} must leave {letter} as it is")


def _slopes(case: _Case, z: Array, y: Array) -> tuple[Array, float]:
    """The derivatives (B, K) of the value at z (1, B, K) from values alone, and how far they can be trusted."""
    axes = _axes(z)
    if case.loss.complex_step:
        values = case.loss.value(z + 1j * STEP * axes, y)
        return np.imag(values).reshape(z.shape[1:]) / STEP, 1e-12
    h = 1e-4 * (1 + float(np.abs(z).max()))
    steps = [np.asarray(case.loss.value(z + step * axes, y)) for step in (h, -h, h / 2, -h / 2)]
    wide, narrow = (steps[0] - steps[1]) / (2 * h), (steps[2] - steps[3]) / h
    size = float(np.abs(steps[0]).max())
    return ((4 * narrow - wide) / 3).reshape(z.shape[1:]), 1e-7 + 1e-13 * size / h


def _axes(z: Array) -> Array:
    """A unit vector for each of the B·K entries of z, (B·K, B, K)."""
    return np.eye(z.size).reshape(z.size, *z.shape[1:])


def check_gradient(plugin: Plugin) -> None:
    """`gradient` is the derivative of `value`, by the complex step (else by central differences)."""
    for case in _cases(plugin):
        y = case.y()
        for seed, scale in enumerate(SCALES):
            z = case.z(1, scale, seed)
            if not case.loss.complex_step and scale > 100:
                continue
            grad = case.gradient(z, y)[0]
            slopes, tolerance = _slopes(case, z, y)
            # Written so that NaN is wrong.
            wrong = ~(np.abs(grad - slopes) <= tolerance * max(1 / B, np.abs(slopes).max()))
            if wrong.any():
                at = tuple(np.argwhere(wrong)[0])
                raise ConformanceError(
                    f"{case.task}: gradient is not the derivative of value at logits of size {scale:g}: "
                    f"∂Err/∂z at sample {at[0]}, output {at[1]} is {grad[at]:.15g}, the value says "
                    f"{slopes[at]:.15g} (ratio {grad[at] / slopes[at] if slopes[at] else np.inf:.6g})"
                )


def check_complex(plugin: Plugin) -> None:
    """The value of complex logits is the value of real ones where their imaginary part is nothing."""
    for case in _cases(plugin):
        if not case.loss.complex_step:
            continue
        y = case.y()
        for scale in SCALES:
            z = case.z(3, scale)
            value, given = case.loss.value(z, y), np.real(case.loss.value(z + 0j, y))
            require(
                np.allclose(given, value, rtol=1e-12, atol=1e-14),
                f"{case.task}: value is {value[0]:.15g} of real logits, but {given[0]:.15g} of the same as complex "
                "numbers: what the complex step checks is another function",
            )


def check_kinks(plugin: Plugin) -> None:
    """Where the value has a kink, as at z = 0 or z = y, the gradient lies between its one-sided slopes."""
    for case in _cases(plugin):
        y = case.y()
        for what, z in (("z = 0", np.zeros_like(y)), ("z = y", y.copy(order="K"))):
            h = 1e-6
            at, up, down = (np.asarray(case.loss.value(z + step * _axes(z), y)) for step in (0, h, -h))
            right, left = ((up - at) / h).reshape(z.shape[1:]), ((at - down) / h).reshape(z.shape[1:])
            grad = case.gradient(z, y)[0]
            low, high = np.minimum(left, right) - 1e-5, np.maximum(left, right) + 1e-5
            wrong = ~((grad >= low) & (grad <= high))
            require(
                not wrong.any(),
                f"{case.task}: at {what} the gradient must lie between the slopes of value to the left and to the "
                f"right; it does not at (sample, output) {np.argwhere(wrong)[:1].tolist()}",
            )


def check_mean(plugin: Plugin) -> None:
    """The value is a mean over B: each sample twice leaves it, and halves the gradient of each."""
    for case in _cases(plugin):
        z, y = case.z(2), case.y()
        twice_z, twice_y = np.concatenate([z, z], axis=1), np.concatenate([y, y], axis=1)
        once, twice = case.loss.value(z, y), case.loss.value(twice_z, twice_y)
        require(
            np.allclose(twice, once, rtol=1e-12, atol=0),
            f"{case.task}: value must be the mean over the B samples; with each sample twice it is "
            f"{twice[0] / once[0]:.6g} times as large",
        )
        half, grad = case.gradient(twice_z, twice_y)[:, :B], case.gradient(z, y)
        require(
            np.allclose(half, grad / 2, rtol=1e-12, atol=1e-15),
            f"{case.task}: gradient must hold the 1/B of the mean; with each sample twice it is not halved",
        )


def check_stack(plugin: Plugin) -> None:
    """Member r of a stack is, bit for bit, what it is alone: with samples or outputs contiguous."""
    for case in _cases(plugin):
        for dtype in (np.float32, np.float64):
            for layout, order in (("(R, K, B)", _feature_major), ("(R, B, K)", np.ascontiguousarray)):
                z, y = order(case.z(3, 3.0, dtype=dtype)), order(case.y(dtype))
                y = order(np.array(np.broadcast_to(y, z.shape)))
                value, grad, read = case.loss.value(z, y), case.gradient(z, y), case.link(z)
                for r in range(3):
                    own_z, own_y = order(z[r : r + 1]), order(y[r : r + 1])
                    alone = case.loss.value(own_z, own_y), case.gradient(own_z, own_y), case.link(own_z)
                    for name, each, own in zip(
                        ("value", "gradient", "link"), (value, grad, read), alone, strict=True
                    ):
                        require(
                            np.array_equal(each[r], own[0]),
                            f"{case.task}: {name} of member {r} must not change with the stack around it "
                            f"({np.dtype(dtype)}, memory {layout})",
                        )


def check_link(plugin: Plugin) -> None:
    """`link` writes finite numbers; probabilities lie in [0, 1], those of exclusive classes sum to 1."""
    for case in _cases(plugin):
        for dtype, tolerance in ((np.float32, 1e-5), (np.float64, 1e-12)):
            for scale in SCALES:
                out = case.link(case.z(2, scale, dtype=dtype))
                at = f"{case.task}: link at logits of size {scale:g}"
                require(np.isfinite(out).all(), f"{at} left or wrote numbers that are not finite")
                if case.loss.prediction != "probability":
                    continue
                require(((out >= 0) & (out <= 1)).all(), f"{at} gives probabilities outside [0, 1]")
                sums = out.sum(axis=-1)
                require(
                    case.task != CLASSIFICATION or case.K == 1 or np.allclose(sums, 1, rtol=0, atol=tolerance),
                    f"{at} gives probabilities of classes that sum to {sums.flat[0]:.9g}",
                )


def check_large(plugin: Plugin) -> None:
    """Logits of 10,000, of either sign, overflow nowhere: numbers are finite and NumPy has nothing to warn of."""
    for case in _cases(plugin):
        for dtype in (np.float32, np.float64):
            z, y = np.sign(case.z(3, dtype=dtype)) * dtype(1e4), case.y(dtype)
            try:
                with np.errstate(over="raise", invalid="raise", divide="raise"):
                    finite = [case.loss.value(z, y), case.gradient(z, y), case.link(z)]
            except FloatingPointError as error:
                raise ConformanceError(
                    f"{case.task}: {error}, at logits of ±10,000 in {np.dtype(dtype)}"
                ) from None
            for name, numbers in zip(("value", "gradient", "link"), finite, strict=True):
                require(
                    np.isfinite(numbers).all(),
                    f"{case.task}: {name} is not finite at logits of ±10,000 in {np.dtype(dtype)}",
                )


def check_not_finite(plugin: Plugin) -> None:
    """A logit that is NaN or infinite gives a loss that is not finite, and leaves the other members alone."""
    for case in _cases(plugin):
        y = case.y()
        whole = case.loss.value(case.z(3), y)
        for bad in (np.nan, np.inf, -np.inf):
            for n, k in np.ndindex(B, case.K):
                z = case.z(3)
                z[1, n, k] = bad
                with np.errstate(all="ignore"):
                    value = case.loss.value(z, y)
                require(
                    not np.isfinite(value[1]),
                    f"{case.task}: value must not be finite when a logit is {bad}, got {value[1]:.6g} (sample {n}, "
                    f"output {k}): training that has diverged would go unseen",
                )
                require(
                    np.array_equal(value[[0, 2]], whole[[0, 2]]),
                    f"{case.task}: a logit of {bad} in one member must not change the value of another",
                )


def check_float32(plugin: Plugin) -> None:
    """In float32 everything stays float32, and near what float64 gives."""
    for case in _cases(plugin):
        z, y = case.z(3, dtype=np.float32), case.y(np.float32)
        value = case.loss.value(z, y)
        require(
            value.dtype == np.float32,
            f"{case.task}: value of float32 logits must be float32, got {value.dtype}",
        )
        z64, y64 = z.astype(np.float64), case.y()
        for name, single, double in (
            ("value", value, case.loss.value(z64, y64)),
            ("gradient", case.gradient(z, y), case.gradient(z64, y64)),
            ("link", case.link(z), case.link(z64)),
        ):
            require(
                np.allclose(single, double, rtol=1e-5, atol=1e-6),
                f"{case.task}: {name} in float32 must be near float64, off by {np.abs(single - double).max():.2g}",
            )


def check_memory(plugin: Plugin) -> None:
    """`gradient` allocates no array of the size of z: it runs at every step."""
    for case in _cases(plugin, N=1 << 13):
        if case.K < 3:
            continue  # one number per sample, which is allowed, would be as large
        z = case.z(2)
        y, grad = np.array(np.broadcast_to(case.y(), z.shape)), np.empty_like(z)
        case.loss.gradient(z, y, grad)
        tracemalloc.start()
        try:
            case.loss.gradient(z, y, grad)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        require(
            peak < z.nbytes,
            f"{case.task}: gradient must work in `grad`, it allocated {peak / z.nbytes:.1f} times the size of z",
        )


CHECKS: tuple[Check, ...] = (
    check_declared,
    check_encode,
    check_refuses,
    check_value,
    check_untouched,
    check_gradient,
    check_complex,
    check_kinks,
    check_mean,
    check_stack,
    check_link,
    check_large,
    check_not_finite,
    check_float32,
    check_memory,
)
