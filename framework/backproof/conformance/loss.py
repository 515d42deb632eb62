"""The checks of losses, on each of the tasks that a loss is for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from backproof.conformance.harness import (
    Checks,
    feature_major,
    require_complex_form,
    require_finite,
    require_gradient,
    require_near,
    require_no_allocation,
    require_subgradient,
    require_untouched,
)
from backproof.contracts import CLASSIFICATION, MULTILABEL, TASKS, Array, Loss
from backproof.contracts.errors import ConformanceError, require
from backproof.experiment.stackable import DTYPES, R, require_members_alone

CHECKS = Checks(Loss)
B = 8
PREDICTIONS = ("probability", "score", "value")
#: Sizes of logits at which values and gradients are compared; the last is far beyond what training meets.
SCALES = (0.1, 1.0, 10.0, 1e4)


@dataclass(frozen=True)
class _Case:
    """A loss on one task, with `raw` targets as a dataset has them."""

    loss: Loss
    task: str
    targets: int
    K: int
    raw: Array

    def __str__(self) -> str:
        return self.task

    def y(self, dtype: type[np.floating] = np.float64) -> Array:
        """Return encoded targets (1, B, K), in memory (1, K, B)."""
        return feature_major(self.loss.encode(self.raw, self.K, dtype)[None])

    def z(self, R: int = R, scale: float = 1.0, seed: int = 0, dtype: type[np.floating] = np.float64) -> Array:
        """Return random logits (R, B, K), in memory (R, K, B)."""
        z = scale * np.random.default_rng(seed).standard_normal((R, len(self.raw), self.K))
        return feature_major(z.astype(dtype))

    def value(self, z: Array) -> Array:
        """Return the loss (R,) at logits (R, B·K), as the gradient checker evaluates it."""
        return self.loss.value(z.reshape(len(z), len(self.raw), self.K), self.y())

    def gradient(self, z: Array, y: Array) -> Array:
        """Return ∂Err/∂z, NaN where it is not written."""
        grad = np.full_like(z, np.nan)
        self.loss.gradient(z, np.broadcast_to(y, z.shape), grad)
        return grad

    def link(self, z: Array) -> Array:
        """Return the predictions, NaN where they are not written."""
        out = np.full_like(z, np.nan)
        self.loss.link(z, out)
        return out

    def results(self, z: Array, y: Array) -> dict[str, Array]:
        """Return all that the loss computes, by the name of the method."""
        return {"value": self.loss.value(z, y), "gradient": self.gradient(z, y), "link": self.link(z)}


def _raw(task: str, targets: int, N: int) -> Array:
    """Return targets as a dataset of this task has them."""
    rng = np.random.default_rng(7)
    if task == CLASSIFICATION:
        return rng.permutation(np.arange(N) % targets)
    if task == MULTILABEL:
        return rng.integers(0, 2, (N, targets))
    return rng.standard_normal((N, targets))


def _cases(loss: Loss, N: int = B) -> Iterator[_Case]:
    """Yield one case per task, with the first number of targets that the loss takes."""
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


@CHECKS.add
def check_declared(loss: Loss) -> None:
    """`tasks`, `default_for` and `prediction` have known values."""
    require(loss.tasks and set(loss.tasks) <= set(TASKS), f"tasks must be of {TASKS}, got {loss.tasks!r}")
    require(
        set(loss.default_for) <= set(loss.tasks),
        f"default_for must be among its tasks {loss.tasks!r}, got {loss.default_for!r}",
    )
    require(loss.prediction in PREDICTIONS, f"prediction must be of {PREDICTIONS}, got {loss.prediction!r}")


@CHECKS.add_for(_cases)
def check_encode(case: _Case) -> None:
    """Targets become finite numbers (N, K) of the requested dtype, each row independent of the others."""
    before = case.raw.copy()
    require(case.K >= 1, f"outputs must be 1 or more, got {case.K}")
    for dtype in DTYPES:
        y = case.loss.encode(case.raw, case.K, dtype)
        expected = (len(before), case.K)
        require(y.shape == expected, f"encode must give shape {expected}, got {y.shape}")
        require(y.dtype == dtype, f"encode must give {np.dtype(dtype)}, got {y.dtype}")
        require(np.isfinite(y).all(), "encode gave NaN or infinity")
        rows = case.loss.encode(case.raw[2:5], case.K, dtype)
        require(np.array_equal(rows, y[2:5]), "a row's encoding must not depend on other rows")
    require(np.array_equal(case.raw, before), "encode must leave the targets as they are")


@CHECKS.add_for(_cases)
def check_refuses(case: _Case) -> None:
    """Targets that do not fit the outputs are a ValueError: a class beyond the last, a column too many."""
    if case.task == CLASSIFICATION:
        wrong, what = np.append(case.raw, case.targets), f"class {case.targets} of {case.targets}"
    else:
        wrong, what = np.concatenate([case.raw, case.raw[:, :1]], axis=1), f"{case.targets + 1} columns"
    try:
        case.loss.encode(wrong, case.K, np.float64)
    except ValueError:
        return
    raise ConformanceError(f"encode must raise ValueError for {what}, K = {case.K}")


@CHECKS.add_for(_cases)
def check_value(case: _Case) -> None:
    """The value is one finite number per member; y may have one member for all."""
    y = case.y()
    for scale in SCALES:
        z = case.z(scale=scale)
        value = case.loss.value(z, y)
        require(value.shape == (R,), f"value must have shape ({R},), got {value.shape}")
        require(value.dtype == z.dtype, f"value must be {z.dtype}, got {value.dtype}")
        require(np.isfinite(value).all(), f"value is {value} at logits of size {scale:g}")
        other = case.loss.value(z, np.broadcast_to(y, z.shape))
        require(np.array_equal(value, other), "value must be the same with y (1, B, K) and (R, B, K)")


@CHECKS.add_for(_cases)
def check_untouched(case: _Case) -> None:
    """`value`, `gradient` and `link` leave z and y as they are."""
    z, out = case.z(), case.z()
    y = np.array(np.broadcast_to(case.y(), z.shape))
    require_untouched("value", case.loss.value, z, y, z=z, y=y)
    require_untouched("gradient", case.loss.gradient, z, y, out, z=z, y=y)
    require_untouched("link", case.loss.link, z, out, z=z)


@CHECKS.add_for(_cases)
def check_gradient(case: _Case) -> None:
    """`gradient` is the derivative of `value`, by the complex step (else by central differences)."""
    for seed, scale in enumerate(SCALES):
        if not case.loss.complex_step and scale > 100:
            continue
        z = case.z(1, scale, seed)
        require_gradient(
            case.gradient(z, case.y()).ravel(),
            case.value,
            z.ravel(),
            complex_form=case.loss.complex_step,
            least=1 / B,
            describe=lambda j, scale=scale: (
                f"∂Err/∂z at sample {j // case.K}, output {j % case.K} (logits of size {scale:g})"
            ),
        )


@CHECKS.add_for(_cases)
def check_complex(case: _Case) -> None:
    """Complex logits without an imaginary part have the value of real ones."""
    if case.loss.complex_step:
        for scale in SCALES:
            z = case.z(scale=scale).reshape(R, -1)
            require_complex_form("value", case.value, z, rtol=1e-12, atol=1e-14)


@CHECKS.add_for(_cases)
def check_kinks(case: _Case) -> None:
    """Where the value has a kink, as at z = 0 or z = y, the gradient lies between its one-sided slopes."""
    y = case.y()
    for where, z in (("at z = 0", np.zeros_like(y)), ("at z = y", y.copy(order="K"))):
        require_subgradient(case.gradient(z, y).ravel(), case.value, z.ravel(), where)


@CHECKS.add_for(_cases)
def check_mean(case: _Case) -> None:
    """The value is a mean over B: every sample twice leaves it, and halves the gradient of each."""
    z, y = case.z(), case.y()
    twice_z, twice_y = np.concatenate([z, z], axis=1), np.concatenate([y, y], axis=1)
    once, twice = case.loss.value(z, y), case.loss.value(twice_z, twice_y)
    require(
        np.allclose(twice, once, rtol=1e-12, atol=0),
        f"value must be the mean over the B samples; with every sample twice it is {twice[0] / once[0]:.6g} times "
        "as large",
    )
    half, grad = case.gradient(twice_z, twice_y)[:, :B], case.gradient(z, y)
    require(
        np.allclose(half, grad / 2, rtol=1e-12, atol=1e-15),
        "gradient must contain the 1/B of the mean; with every sample twice it is not halved",
    )


@CHECKS.add_for(_cases)
def check_stack(case: _Case) -> None:
    """Member r of a stack has the bits that it has alone, with samples or outputs contiguous in memory."""
    for dtype in DTYPES:
        for memory, order in (("(R, K, B)", feature_major), ("(R, B, K)", np.ascontiguousarray)):
            z = order(case.z(scale=3.0, dtype=dtype))
            y = order(np.array(np.broadcast_to(case.y(dtype), z.shape)))
            require_members_alone(case.results, [z, y], where=f" ({np.dtype(dtype)}, memory {memory})")


@CHECKS.add_for(_cases)
def check_link(case: _Case) -> None:
    """`link` writes finite numbers; probabilities lie in [0, 1], those of exclusive classes sum to 1."""
    for dtype, tolerance in ((np.float32, 1e-5), (np.float64, 1e-12)):
        for scale in SCALES:
            out = case.link(case.z(scale=scale, dtype=dtype))
            link = f"link at logits of size {scale:g}"
            require(np.isfinite(out).all(), f"{link} left or wrote numbers that are not finite")
            if case.loss.prediction != "probability":
                continue
            require(((out >= 0) & (out <= 1)).all(), f"{link} gives probabilities outside [0, 1]")
            sums = out.sum(axis=-1)
            require(
                case.task != CLASSIFICATION or case.K == 1 or np.allclose(sums, 1, rtol=0, atol=tolerance),
                f"{link} gives probabilities of classes that sum to {sums.flat[0]:.9g}",
            )


@CHECKS.add_for(_cases)
def check_large(case: _Case) -> None:
    """Logits of ±10,000 overflow nowhere: results are finite and NumPy has nothing to warn of."""
    for dtype in DTYPES:
        z = np.sign(case.z(dtype=dtype)) * dtype(1e4)
        require_finite(f"at logits of ±10,000 in {z.dtype}", case.results, z, case.y(dtype))


@CHECKS.add_for(_cases)
def check_not_finite(case: _Case) -> None:
    """A logit that is NaN or infinite gives a loss that is not finite, and leaves the other members alone."""
    y = case.y()
    whole = case.loss.value(case.z(), y)
    for bad in (np.nan, np.inf, -np.inf):
        for n, k in np.ndindex(B, case.K):
            z = case.z()
            z[1, n, k] = bad
            with np.errstate(all="ignore"):
                value = case.loss.value(z, y)
            require(
                not np.isfinite(value[1]),
                f"value must not be finite when a logit is {bad}, got {value[1]:.6g} (sample {n}, output {k}): "
                "training that has diverged would go unnoticed",
            )
            require(
                np.array_equal(value[[0, 2]], whole[[0, 2]]),
                f"a logit of {bad} in one member must not change the value of another",
            )


@CHECKS.add_for(_cases)
def check_float32(case: _Case) -> None:
    """In float32 everything stays float32, and near what float64 gives."""
    z = case.z(dtype=np.float32)
    single, double = case.results(z, case.y(np.float32)), case.results(z.astype(np.float64), case.y())
    dtype = single["value"].dtype
    require(dtype == np.float32, f"value of float32 logits must be float32, got {dtype}")
    require_near(single, double, atol=1e-6)


def _many_samples(loss: Loss) -> Iterator[_Case]:
    # With fewer outputs one number per sample, which is allowed, would be as large as z.
    return (case for case in _cases(loss, N=1 << 13) if case.K >= 3)


@CHECKS.add_for(_many_samples)
def check_memory(case: _Case) -> None:
    """`gradient` allocates no array of the size of z: it runs at every step."""
    z = case.z()
    y = np.array(np.broadcast_to(case.y(), z.shape))
    require_no_allocation("gradient", case.loss.gradient, z, y, np.empty_like(z), limit=z.nbytes)
