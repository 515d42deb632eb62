"""Run experiments: check, train, check again, evaluate; alone, or several as one stack. No Hydra, no MLflow.

A point of a stack has, bit for bit, the result that it has alone, with its own checks, metrics, early stopping and
errors.
"""

from __future__ import annotations

import functools
import time
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from backproof.contracts import Array
from backproof.contracts.errors import FAILED, BackproofError, DivergedError
from backproof.data import Batches, steps_per_epoch
from backproof.discovery.guard import guarded
from backproof.experiment.experiment import PreparedExperiment
from backproof.experiment.stackable import stack_plugins
from backproof.netcheck.report import NetworkReport
from backproof.nn.early_stopping import Stopper
from backproof.nn.evaluation import Evaluation, Predictions, summarize
from backproof.nn.training import train


class GradcheckFailedError(BackproofError):
    """The hand-derived gradient is not the derivative of the loss."""

    exit_code = FAILED
    hint = "`gradcheck.on_failure=warn` trains all the same"

    def __init__(self, report: NetworkReport) -> None:
        diagnosis = "" if report.diagnosis is None else f"\n\n{report.diagnosis.message()}"
        super().__init__(report.failure_message() + diagnosis)
        self.report = report

    def summary(self) -> str:
        """Return the message, with what follows from it."""
        return f"the gradient check failed, nothing was trained\n{self}"


@dataclass(frozen=True)
class Result:
    """The result of a run. Arrays per member have the shape (R,)."""

    prepared: PreparedExperiment
    theta: Array  # (R, P)
    history: dict[str, list[Array]]  # by epoch
    final: dict[str, Array]  # train/, val/ and test/ metrics at the end
    report: NetworkReport | None
    epochs: Array  # the number each member was trained
    best_epochs: Array  # the epoch whose parameters each member kept
    seconds: float  # of training; for a stack, its time divided by its points
    stacked: int = 1  # points that were trained together, including this one

    @property
    def summary(self) -> dict[str, float]:
        """Return the final metrics: means, and standard deviations if there are several members."""
        return summarize(self.final)

    @property
    def objective(self) -> tuple[str, bool]:
        """Return the metric that runs are ranked by, and whether greater is better."""
        return self.prepared.objective

    def predict(self, part: str) -> Array:
        """Return the predictions (R, N, K) of every member for the samples of a part."""
        data = self.prepared.data
        return Predictions(self.prepared.net, self.theta, data.parts[part].X, data)()


class Observer(Protocol):
    """Receives the events of a run. An Exception that it raises ends this run only."""

    def on_start(self, prepared: PreparedExperiment) -> None: ...
    def on_check(self, report: NetworkReport) -> None: ...
    def on_epoch(self, epoch: int, metrics: dict[str, float]) -> None: ...
    def on_end(self, outcome: Result | Exception) -> None: ...


def run(prepared: PreparedExperiment, observer: Observer) -> Result:
    """Check, train, check again, evaluate.

    Raise GradcheckFailedError (unless gradcheck.on_failure=warn) and DivergedError.
    """
    (outcome,) = run_stack([prepared], [observer])
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def run_stack(
    points: Sequence[PreparedExperiment], observers: Sequence[Observer], *, every_entry: bool = True
) -> list[Result | Exception]:
    """Run points with equal `stacking_key`s as one stack. Return the result of each, or the error that ended it.

    With `every_entry` the first point is checked entry by entry. The others run the same code on other numbers, and
    are checked along random directions and at sampled entries.
    """
    stack = [
        _Point(prepared, observer, every_entry and i == 0)
        for i, (prepared, observer) in enumerate(zip(points, observers, strict=True))
    ]
    for point in stack:
        point.attempt(point.begin)
    running = [point for point in stack if point.outcome is None]
    if running:
        with guarded():
            _Stack(running).run()
    return [typing.cast("Result | Exception", point.outcome) for point in stack]


class _Point:
    """One point of a stack: its observer and its result."""

    def __init__(self, prepared: PreparedExperiment, observer: Observer, every_entry: bool) -> None:
        self.prepared, self.observer, self.every_entry = prepared, observer, every_entry
        self.report: NetworkReport | None = None
        self.history: dict[str, list[Array]] = {}
        self.rows = slice(0, len(prepared.theta))
        self.outcome: Result | Exception | None = None

    def attempt(self, action: Callable[[], None]) -> None:
        """Run an action for this point; an error ends this point only."""
        try:
            with guarded():
                action()
        except Exception as error:  # noqa: BLE001 - the caller of the run raises or reports it.
            self.end(error)

    def end(self, outcome: Result | Exception) -> None:
        """Record the result of the point, or the error that ended it."""
        self.outcome = outcome
        try:
            self.observer.on_end(outcome)
        except Exception as error:  # noqa: BLE001 - a run that cannot be recorded counts as failed.
            if isinstance(outcome, Exception):
                outcome.add_note(f"Nor could this be recorded: {error}")
            else:
                self.outcome = error

    def begin(self) -> None:
        """Start the point: announce it, and check its fresh parameters."""
        self.observer.on_start(self.prepared)
        if self.prepared.experiment.gradcheck.enabled:
            self.check(self.prepared.theta, "fresh")

    def check(self, theta: Array, moment: str) -> None:
        """Check the gradients at theta (R, P). Raise GradcheckFailedError unless `gradcheck.on_failure` is warn."""
        prepared, before = self.prepared, self.report
        report = prepared.check_setup.check(theta, moment, before, every_entry=self.every_entry)
        # A failure before training has been diagnosed already.
        if before is None or not before.failed:
            report = prepared.check_setup.with_diagnosis(report)
        self.report = report
        self.observer.on_check(report)
        if report.failed and prepared.experiment.gradcheck.on_failure == "stop":
            raise GradcheckFailedError(report)

    def add_epoch(self, epoch: int, metrics: dict[str, Array]) -> None:
        """Record an epoch's metrics, given for all members of the stack."""
        point_metrics = {name: values[self.rows] for name, values in metrics.items()}
        for name, values in point_metrics.items():
            self.history.setdefault(name, []).append(values)
        self.observer.on_epoch(epoch, summarize(point_metrics))


class _Stack:
    """Points that are trained together; `point.rows` are the members of a point."""

    def __init__(self, points: list[_Point]) -> None:
        self.points = points
        self.first = first = points[0].prepared
        repeats = len(first.theta)
        for i, point in enumerate(points):
            point.rows = slice(i * repeats, (i + 1) * repeats)
        self.theta = np.concatenate([point.prepared.theta for point in points])
        experiments = [point.prepared.experiment for point in points]
        self.options = first.experiment.train
        self.schedule = first.experiment.schedule
        self.optimizer = stack_plugins([experiment.optimizer for experiment in experiments], repeats)
        self.penalty = stack_plugins([experiment.penalty for experiment in experiments], repeats)
        self.stopper = Stopper(self.options.early_stopping, first.metrics, self.theta)
        self.val = self._evaluation("val") if first.data.val is not None else None

    def run(self) -> None:
        """Train, check again and evaluate."""
        started = time.perf_counter()
        options, first = self.options, self.first
        orders = [order for point in self.points for order in point.prepared.orders]
        train(
            first.net,
            self.theta,
            Batches(
                first.data.train.X, first.y, options.batch_size, orders, options.dtype, shuffle=options.shuffle
            ),
            epochs=options.epochs,
            optimizer=self.optimizer,
            schedule=self.schedule,
            penalty=self.penalty,
            after_epoch=self._after_epoch,
            diverged=self._diverged,
        )
        self.stopper.restore()
        seconds = (time.perf_counter() - started) / len(self.points)
        checks = first.experiment.gradcheck
        if checks.enabled and checks.after_training:
            for point in self._running:
                point.attempt(functools.partial(point.check, self.theta[point.rows], "trained"))
        final: dict[str, Array] = {}
        if self._running:
            for name in first.data.parts:
                final |= self._evaluation(name)()
        for point in self._running:
            point.end(self._result(point, final, seconds))

    @property
    def _running(self) -> list[_Point]:
        """Return the points without a result or an error."""
        return [point for point in self.points if point.outcome is None]

    @property
    def _training(self) -> list[_Point]:
        """Return the running points that have not stopped early; the others get no more events."""
        return [point for point in self._running if self.stopper.active[point.rows].any()]

    def _evaluation(self, name: str) -> Evaluation:
        first = self.first
        return Evaluation(name, first.net, self.theta, first.data.parts[name], first.data, first.metrics)

    def _result(self, point: _Point, final: dict[str, Array], seconds: float) -> Result:
        rows, stopper = point.rows, self.stopper
        return Result(
            point.prepared,
            self.theta[rows].copy(),
            point.history,
            {name: values[rows] for name, values in final.items()},
            point.report,
            stopper.epochs[rows],
            stopper.best_epochs[rows],
            seconds,
            len(self.points),
        )

    def _after_epoch(self, epoch: int, losses: Array) -> bool:
        metrics = {"train/loss": losses, **(self.val() if self.val else {})}
        if "val/loss" in metrics:
            self._check_validation_loss(epoch, metrics["val/loss"])
        metrics = self.stopper.mask_stopped(metrics)
        for point in self._training:
            point.attempt(functools.partial(point.add_epoch, epoch, metrics))
        self.stopper.update(epoch, metrics)
        return bool(self._training)

    def _check_validation_loss(self, epoch: int, losses: Array) -> None:
        """End the points whose validation loss is not finite: only it shows the last step of an epoch."""
        if np.isfinite(losses).all():
            return
        steps = steps_per_epoch(len(self.first.y), self.options.batch_size)
        factor = self.schedule.factor(epoch * steps - 1, self.options.epochs * steps)
        rates: Array = np.broadcast_to(np.ravel(self.optimizer.lr), len(losses))
        for member in map(int, np.flatnonzero(~np.isfinite(losses))):
            lr, value = float(rates[member]) * factor, float(losses[member])
            self._diverged(DivergedError(epoch, epoch * steps, lr, member, value))

    def _diverged(self, error: DivergedError) -> bool:
        """End the point of a member that has diverged. Return whether any point is still training."""

        def end() -> None:
            raise error

        for point in self._training:
            if point.rows.start <= error.member < point.rows.stop:
                error.member -= point.rows.start
                point.attempt(end)
        return bool(self._training)
