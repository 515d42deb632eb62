"""Floor 3: experiments trained and evaluated, several that are alike as one stack. Neither Hydra nor MLflow.

A point of a stack comes to what it comes to alone, bit for bit: its own checks, metrics, early stopping and end.
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
        found = "" if report.diagnosis is None else f"\n\n{report.diagnosis.message()}"
        super().__init__(report.failure_message() + found)
        self.report = report

    def summary(self) -> str:
        """Return the message, with what follows from it."""
        return f"the gradient check failed, nothing was trained\n{self}"


@dataclass(frozen=True)
class Result:
    """What a run came to. Arrays per member have the shape (R,)."""

    prepared: PreparedExperiment
    theta: Array  # (R, P)
    history: dict[str, list[Array]]  # by epoch
    final: dict[str, Array]  # train/, val/ and test/ metrics at the end
    report: NetworkReport | None
    epochs: Array  # how many each member was trained
    best_epochs: Array  # the epoch whose parameters each member kept
    seconds: float  # of training; of a stack of several points its share
    stacked: int = 1  # points that were trained together, this one among them

    @property
    def summary(self) -> dict[str, float]:
        """The final metrics: means, and standard deviations where there are several members."""
        return summarize(self.final)

    @property
    def objective(self) -> tuple[str, bool]:
        """The metric that runs are ranked by, and whether a greater one is better."""
        return self.prepared.objective

    def predict(self, part: str) -> Array:
        """What every member predicts for the samples of a part, (R, N, K) as a person reads it."""
        data = self.prepared.data
        return Predictions(self.prepared.net, self.theta, data.parts[part].X, data)()


class Observer(Protocol):
    """Is told what happens in a run, as it happens. An Exception that it raises ends this run alone."""

    def on_start(self, prepared: PreparedExperiment) -> None: ...
    def on_check(self, report: NetworkReport) -> None: ...
    def on_epoch(self, epoch: int, metrics: dict[str, float]) -> None: ...
    def on_end(self, outcome: Result | Exception) -> None: ...


def run(prepared: PreparedExperiment, observer: Observer) -> Result:
    """Check, train, check again, evaluate.

    Raises GradcheckFailedError (unless gradcheck.on_failure=warn) and DivergedError.
    """
    (outcome,) = run_stack([prepared], [observer])
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def run_stack(
    points: Sequence[PreparedExperiment], observers: Sequence[Observer], *, whole: bool = True
) -> list[Result | Exception]:
    """Run points with equal `stacking_key`s as one stack. Return the result of each, or the error that ended it.

    Where the first point is checked entry by entry, if `whole` says so, the others are checked along random
    directions and at sampled entries: it is the same code on other numbers.
    """
    together = [
        _Point(prepared, observer, whole and i == 0)
        for i, (prepared, observer) in enumerate(zip(points, observers, strict=True))
    ]
    for point in together:
        point.attempt(point.begin)
    left = [point for point in together if point.outcome is None]
    if left:
        _Stack(left).run()
    return [typing.cast("Result | Exception", point.outcome) for point in together]


class _Point:
    """One of the points of a stack: what is told of it, and what it comes to."""

    def __init__(self, prepared: PreparedExperiment, observer: Observer, every_entry: bool) -> None:
        self.prepared, self.observer, self.every_entry = prepared, observer, every_entry
        self.report: NetworkReport | None = None
        self.history: dict[str, list[Array]] = {}
        self.rows = slice(0, len(prepared.theta))
        self.outcome: Result | Exception | None = None

    def attempt(self, action: Callable[[], None]) -> None:
        """Do something for this point; an error ends it, and no other."""
        try:
            action()
        except Exception as error:  # noqa: BLE001 - whoever asked for the run raises or tells it.
            self.end(error)

    def end(self, outcome: Result | Exception) -> None:
        """What the point came to."""
        self.outcome = outcome
        try:
            self.observer.on_end(outcome)
        except Exception as error:  # noqa: BLE001 - as above; what cannot be recorded has not been done.
            if isinstance(outcome, Exception):
                outcome.add_note(f"Nor could this be recorded: {error}")
            else:
                self.outcome = error

    def begin(self) -> None:
        """Before training."""
        self.observer.on_start(self.prepared)
        if self.prepared.experiment.gradcheck.enabled:
            self.check(self.prepared.theta, "fresh")

    def check(self, theta: Array, moment: str) -> None:
        """The gradient check at theta (R, P)."""
        prepared, before = self.prepared, self.report
        report = prepared.check_setup.check(theta, moment, before, every_entry=self.every_entry)
        # A failure before training has been diagnosed already.
        if before is None or before.passed:
            report = prepared.check_setup.with_diagnosis(report)
        self.report = report
        self.observer.on_check(report)
        if not report.passed and prepared.experiment.gradcheck.on_failure == "stop":
            raise GradcheckFailedError(report)

    def told(self, epoch: int, metrics: dict[str, Array]) -> None:
        """An epoch's metrics, of all members of the stack."""
        own = {name: values[self.rows] for name, values in metrics.items()}
        for name, values in own.items():
            self.history.setdefault(name, []).append(values)
        self.observer.on_epoch(epoch, summarize(own))


class _Stack:
    """Points that are trained together: members r of `point.rows` are those of a point."""

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
        self.optimizer = stack_plugins([each.optimizer for each in experiments], repeats)
        self.penalty = stack_plugins([each.penalty for each in experiments], repeats)
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
            for point in self._left:
                point.attempt(functools.partial(point.check, self.theta[point.rows], "trained"))
        final: dict[str, Array] = {}
        if self._left:
            for name in first.data.parts:
                final |= self._evaluation(name)()
        for point in self._left:
            point.end(self._result(point, final, seconds))

    @property
    def _left(self) -> list[_Point]:
        """The points that nothing has ended."""
        return [point for point in self.points if point.outcome is None]

    @property
    def _going(self) -> list[_Point]:
        """Those of them that train on: of a point that has stopped early nothing more is told."""
        return [point for point in self._left if self.stopper.active[point.rows].any()]

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
            self._finite(epoch, metrics["val/loss"])
        metrics = self.stopper.mask_stopped(metrics)
        for point in self._going:
            point.attempt(functools.partial(point.told, epoch, metrics))
        self.stopper.update(epoch, metrics)
        return bool(self._going)

    def _finite(self, epoch: int, losses: Array) -> None:
        """The validation loss sees what the last step of an epoch did."""
        if np.isfinite(losses).all():
            return
        steps = steps_per_epoch(len(self.first.y), self.options.batch_size)
        factor = self.schedule.factor(epoch * steps - 1, self.options.epochs * steps)
        rates: Array = np.broadcast_to(np.ravel(self.optimizer.lr), len(losses))
        for member in map(int, np.flatnonzero(~np.isfinite(losses))):
            lr, value = float(rates[member]) * factor, float(losses[member])
            self._diverged(DivergedError(epoch, epoch * steps, lr, member, value))

    def _diverged(self, error: DivergedError) -> bool:
        """A member has diverged: its point ends. Whether any goes on."""

        def end() -> None:
            raise error

        for point in self._going:
            if point.rows.start <= error.member < point.rows.stop:
                error.member -= point.rows.start
                point.attempt(end)
        return bool(self._going)
