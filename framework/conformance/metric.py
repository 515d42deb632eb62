"""What every metric must keep."""

from __future__ import annotations

import numpy as np

from framework.conformance.base import Check, ConformanceError, require
from framework.kinds import CLASSIFICATION, MULTILABEL, TASKS, Array, Metric, Plugin

N, K, R = 40, 4, 3


def _metric(plugin: Plugin) -> Metric:
    if not isinstance(plugin, Metric):
        raise ConformanceError(f"expected a Metric, got {type(plugin).__name__}")
    return plugin


def _case(metric: Metric, task: str) -> tuple[Array, Array, Array]:
    """Predictions (R, N, K) of members that are better and worse, targets, and the perfect prediction (1, N, K)."""
    rng = np.random.default_rng(0)
    if task == CLASSIFICATION:
        y = np.arange(N) % K
        truth = np.eye(K)[y]
    elif task == MULTILABEL:
        y = rng.integers(0, 2, (N, K))
        truth = y.astype(float)
    else:
        y = rng.standard_normal((N, K))
        truth = y
    noise = np.array([0.3, 0.6, 0.9])[:, None, None]
    members = (1 - noise) * truth + noise * rng.uniform(0, 1, (R, N, K))
    if task == CLASSIFICATION and "probability" in metric.reads:
        members /= members.sum(axis=-1, keepdims=True)
    return members, y, truth[None]


def check_tasks(plugin: Plugin) -> None:
    """It names its tasks; those it is the default for are among them."""
    metric = _metric(plugin)
    require(
        metric.tasks and set(metric.tasks) <= set(TASKS), f"tasks must be some of {TASKS}, got {metric.tasks}"
    )
    require(
        set(metric.default_for) <= set(metric.tasks),
        f"default_for {metric.default_for} must be among its tasks",
    )
    readable = {"probability", "score", "value"}
    require(
        metric.reads and set(metric.reads) <= readable, f"reads must be some of {readable}, got {metric.reads}"
    )


def check_members(plugin: Plugin) -> None:
    """(R,) numbers, each that of the member alone; predictions and targets are left as they are."""
    metric = _metric(plugin)
    for task in metric.tasks:
        members, y, _ = _case(metric, task)
        before = members.copy(), y.copy()
        values = np.asarray(metric(members, y))
        require(values.shape == (R,), f"{task}: expected shape ({R},), got {values.shape}")
        require(
            values.dtype.kind == "f" and np.isfinite(values).all(),
            f"{task}: expected finite floats, got {values}",
        )
        for r in range(R):
            alone = metric(members[r : r + 1], y)[0]
            require(alone == values[r], f"{task}: member {r} has {values[r]} in a stack and {alone} alone")
        same = np.array_equal(before[0], members) and np.array_equal(before[1], y)
        require(same, f"{task}: predictions or targets were changed")


def check_direction(plugin: Plugin) -> None:
    """The truth scores better than noise, in the direction that `greater_is_better` says."""
    metric = _metric(plugin)
    sign = 1 if metric.greater_is_better else -1
    for task in metric.tasks:
        members, y, truth = _case(metric, task)
        best, worst = float(metric(truth, y)[0]), float(metric(members[-1:, ::-1], y)[0])
        require(
            sign * best > sign * worst,
            f"{task}: the truth has {best:.4g} and noise {worst:.4g}, greater_is_better={metric.greater_is_better}",
        )


CHECKS: tuple[Check, ...] = (check_tasks, check_members, check_direction)
