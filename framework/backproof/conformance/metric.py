"""What every metric must keep, for each task it is for and each form of predictions that it reads."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from backproof.conformance.base import Check, ConformanceError, require
from backproof.contracts import CLASSIFICATION, MULTILABEL, REGRESSION, TASKS, Array, Metric, Plugin

N, R = 40, 3
#: Classes, labels or targets. A metric may refuse the smaller number with a ValueError.
FEW, MANY = {CLASSIFICATION: 2, MULTILABEL: 1, REGRESSION: 1}, 4
READS = ("probability", "score", "value")


@dataclass(frozen=True)
class _Case:
    """Targets of one task, and predictions (R, N, K) of members that are better and worse, in memory (R, K, N)
    as the network's are."""

    metric: Metric
    task: str
    reads: str
    K: int
    y: Array
    members: Array
    truth: Array  # (1, N, K), the perfect prediction

    def __str__(self) -> str:
        return f"{self.task} from a {self.reads}, K = {self.K}"

    def __call__(self, prediction: Array, y: Array | None = None) -> Array:
        """The metric's values, which must come without a warning."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                return np.asarray(self.metric(prediction, self.y if y is None else y))
        except Warning as warning:
            raise ConformanceError(f"{self}: a metric must not warn: {warning}") from None


def _metric(plugin: Plugin) -> Metric:
    if not isinstance(plugin, Metric):
        raise ConformanceError(f"expected a Metric, got {type(plugin).__name__}")
    return plugin


def _feature_major(array: Array) -> Array:
    """The numbers (R, N, K) in memory (R, K, N)."""
    return np.ascontiguousarray(array.swapaxes(1, 2)).swapaxes(1, 2)


def _case(metric: Metric, task: str, reads: str, K: int) -> _Case:
    rng = np.random.default_rng(0)
    if task == CLASSIFICATION:
        y = np.arange(N) % K
        truth = np.eye(K)[y]
    elif task == MULTILABEL:
        y = rng.integers(0, 2, (N, K))
        truth = y.astype(np.float64)
    else:
        y = truth = rng.standard_normal((N, K))
    noise = np.array([0.3, 0.6, 0.9])[:, None, None]
    members = (1 - noise) * truth + noise * rng.uniform(0, 1, (R, N, K))
    if task == CLASSIFICATION and reads == "probability":
        members /= members.sum(axis=-1, keepdims=True)
    elif reads == "score":
        # A class or label is chosen by a score above that of the others, or above 0.
        members, truth = 3 * (members - 0.5), 3 * (truth - 0.5)
    return _Case(metric, task, reads, K, y, _feature_major(members), truth[None])


def _cases(plugin: Plugin) -> Iterator[_Case]:
    """Each task with each form of predictions, with many classes, labels or targets and with few."""
    metric = _metric(plugin)
    for task in metric.tasks:
        forms = ("value",) if task == REGRESSION else ("probability", "score")
        readable = [form for form in forms if form in metric.reads]
        # The losses for labels give probabilities; a metric cannot tell where scores would be cut.
        for reads in readable[:1] if task == MULTILABEL else readable:
            yield _case(metric, task, reads, MANY)
            few = _case(metric, task, reads, FEW[task])
            try:
                metric(few.members, few.y)
            except ValueError:
                continue
            yield few


def check_tasks(plugin: Plugin) -> None:
    """It names its tasks, those it is the default for among them, and predictions of these tasks that it reads."""
    metric = _metric(plugin)
    require(
        metric.tasks and set(metric.tasks) <= set(TASKS), f"tasks must be some of {TASKS}, got {metric.tasks}"
    )
    require(
        set(metric.default_for) <= set(metric.tasks),
        f"default_for {metric.default_for} must be among its tasks",
    )
    require(
        metric.reads and set(metric.reads) <= set(READS), f"reads must be some of {READS}, got {metric.reads}"
    )
    covered = {case.task for case in _cases(plugin)}
    require(covered == set(metric.tasks), f"it is for {metric.tasks}, but reads {metric.reads}")


def check_members(plugin: Plugin) -> None:
    """(R,) numbers, each that of the member alone; predictions and targets are left as they are."""
    for case in _cases(plugin):
        before = case.members.copy(), case.y.copy()
        values = case(case.members)
        require(values.shape == (R,), f"{case}: expected shape ({R},), got {values.shape}")
        require(
            values.dtype.kind == "f" and np.isfinite(values).all(),
            f"{case}: expected finite floats, got {values}",
        )
        for r in range(R):
            alone = case(case.members[r : r + 1])[0]
            require(alone == values[r], f"{case}: member {r} has {values[r]} in a stack and {alone} alone")
        same = np.array_equal(before[0], case.members) and np.array_equal(before[1], case.y)
        require(same, f"{case}: predictions or targets were changed")


def check_direction(plugin: Plugin) -> None:
    """Nothing scores better than the truth, and what is wrong scores worse, as `greater_is_better` says."""
    for case in _cases(plugin):
        sign = 1 if case.metric.greater_is_better else -1
        best, noisy = float(case(case.truth)[0]), case(case.members)
        # Of every sample, what is true of the one before it; of labels and values, the opposite.
        wrong = np.roll(case.truth, 1, axis=1)
        if case.task != CLASSIFICATION:
            wrong = 1 - case.truth if case.reads == "probability" else -case.truth
        worst = float(case(wrong)[0])
        direction = f"greater_is_better={case.metric.greater_is_better}"
        require(
            (sign * best >= sign * noisy - 1e-12).all(),
            f"{case}: the truth has {best:.4g}, and with noise it is {noisy}, {direction}",
        )
        require(
            sign * best > sign * worst,
            f"{case}: the truth has {best:.4g} and what is wrong {worst:.4g}, {direction}",
        )


def check_order(plugin: Plugin) -> None:
    """Neither the order of the samples matters, nor how the predictions lie in memory."""
    order = np.random.default_rng(1).permutation(N)
    for case in _cases(plugin):
        values = case(case.members)
        for name, other in (
            ("in another order", case(case.members[:, order], case.y[order])),
            ("contiguous in memory", case(np.ascontiguousarray(case.members))),
        ):
            require(
                np.allclose(values, other, rtol=1e-12, atol=1e-14),
                f"{case}: the same samples {name} have {other} instead of {values}",
            )


def check_small(plugin: Plugin) -> None:
    """A part of the data may be one sample, or lack a class: (R,) numbers then, or NaN, and no warning."""
    for case in _cases(plugin):
        for y in (case.y[:1], case.y[:2], np.zeros_like(case.y[:5]), np.ones_like(case.y[:5])):
            values = case(case.members[:, : len(y)], y)
            require(
                values.shape == (R,) and not np.isinf(values).any(),
                f"{case}: expected ({R},) numbers or NaN on targets {y.tolist()}, got {values}",
            )


def check_large(plugin: Plugin) -> None:
    """Scores and values of size 1e200 overflow without a warning, and are not taken for NaN."""
    for case in _cases(plugin):
        if case.reads != "probability":
            large = dataclasses.replace(case, members=case.members * 1e200)
            values = large(large.members)
            require(not np.isnan(values).any(), f"{case}: predictions of size 1e200 must not give {values}")


CHECKS: tuple[Check, ...] = (
    check_tasks,
    check_members,
    check_direction,
    check_order,
    check_small,
    check_large,
)
