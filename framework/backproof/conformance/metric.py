"""The checks of metrics, for each task and each form of predictions that a metric is for."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from backproof.conformance.harness import Checks, feature_major, require_untouched
from backproof.contracts import CLASSIFICATION, MULTILABEL, REGRESSION, TASKS, Array, Metric
from backproof.contracts.errors import ConformanceError, require
from backproof.experiment.stackable import require_members_alone

CHECKS = Checks(Metric)
N, R = 40, 3
#: Classes, labels or targets. A metric may refuse the smaller number with a ValueError.
FEW, MANY = {CLASSIFICATION: 2, MULTILABEL: 1, REGRESSION: 1}, 4
READS = ("probability", "score", "value")


@dataclass(frozen=True)
class _Case:
    """Targets of one task, and predictions (R, N, K) of better and worse members, in memory (R, K, N)."""

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
        """Return the metric's values, which must come without a warning."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                return np.asarray(self.metric(prediction, self.y if y is None else y))
        except Warning as warning:
            raise ConformanceError(f"a metric must not warn: {warning}") from None

    def results(self, prediction: Array) -> dict[str, Array]:
        """Return the metric's values by name, for the comparison of members."""
        return {"the metric": self(prediction)}


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
    return _Case(metric, task, reads, K, y, feature_major(members), truth[None])


def _cases(metric: Metric) -> Iterator[_Case]:
    """Yield each task with each form of predictions, with many classes, labels or targets and with few."""
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


@CHECKS.add
def check_tasks(metric: Metric) -> None:
    """It names its tasks, its default tasks among them, and reads predictions of these tasks."""
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
    covered = {case.task for case in _cases(metric)}
    require(covered == set(metric.tasks), f"it is for {metric.tasks}, but reads {metric.reads}")


@CHECKS.add_for(_cases)
def check_members(case: _Case) -> None:
    """(R,) numbers, each that of the member alone; predictions and targets are left as they are."""
    require_untouched("the metric", case, case.members, prediction=case.members, y=case.y)
    values = case(case.members)
    require(values.shape == (R,), f"expected shape ({R},), got {values.shape}")
    require(values.dtype.kind == "f" and np.isfinite(values).all(), f"expected finite floats, got {values}")
    require_members_alone(case.results, [case.members])


@CHECKS.add_for(_cases)
def check_direction(case: _Case) -> None:
    """Nothing scores better than the truth, and wrong predictions score worse, as `greater_is_better` says."""
    sign = 1 if case.metric.greater_is_better else -1
    best, noisy = float(case(case.truth)[0]), case(case.members)
    # The truth about the sample before; of labels and values, the opposite.
    wrong = np.roll(case.truth, 1, axis=1)
    if case.task != CLASSIFICATION:
        wrong = 1 - case.truth if case.reads == "probability" else -case.truth
    worst = float(case(wrong)[0])
    direction = f"greater_is_better={case.metric.greater_is_better}"
    require(
        (sign * best >= sign * noisy - 1e-12).all(),
        f"the truth has {best:.4g}, and with noise it is {noisy}, {direction}",
    )
    require(
        sign * best > sign * worst, f"the truth has {best:.4g} and wrong predictions {worst:.4g}, {direction}"
    )


@CHECKS.add_for(_cases)
def check_order(case: _Case) -> None:
    """Neither the order of the samples matters nor the layout of the predictions in memory."""
    order = np.random.default_rng(1).permutation(N)
    values = case(case.members)
    for how, other in (
        ("in another order", case(case.members[:, order], case.y[order])),
        ("contiguous in memory", case(np.ascontiguousarray(case.members))),
    ):
        require(
            np.allclose(values, other, rtol=1e-12, atol=1e-14),
            f"the same samples {how} have {other} instead of {values}",
        )


@CHECKS.add_for(_cases)
def check_small(case: _Case) -> None:
    """A part of the data may be one sample, or lack a class: the result is (R,) numbers or NaN, and no warning."""
    for y in (case.y[:1], case.y[:2], np.zeros_like(case.y[:5]), np.ones_like(case.y[:5])):
        values = case(case.members[:, : len(y)], y)
        require(
            values.shape == (R,) and not np.isinf(values).any(),
            f"expected ({R},) numbers or NaN on targets {y.tolist()}, got {values}",
        )


@CHECKS.add_for(_cases)
def check_large(case: _Case) -> None:
    """Scores and values of size 1e200 overflow without a warning, and do not give NaN."""
    if case.reads != "probability":
        large = dataclasses.replace(case, members=case.members * 1e200)
        values = large(large.members)
        require(not np.isnan(values).any(), f"predictions of size 1e200 must not give {values}")
