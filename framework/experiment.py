"""Floor 3: one experiment, from plugins and options to a result. It knows neither Hydra nor MLflow."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from framework.checking import NetworkCheck
from framework.data import Batches, DataOptions, SplitData, split
from framework.diagnosing import diagnose_network
from framework.evaluation import Evaluation, Predictions, summarised
from framework.gradcheck import LOWER, CheckOptions, GradcheckReport
from framework.kinds import (
    Activation,
    Array,
    DatasetLoader,
    Derivation,
    Initializer,
    Loss,
    Metric,
    Optimizer,
    Penalty,
    Schedule,
    hyper,
)
from framework.kinds.base import InvalidValue, check_fields
from framework.mlp import MLP
from framework.registry import PluginError, Registry
from framework.stopping import Stopper
from framework.training import DivergedError, TrainOptions, train

#: The kinds of which an experiment takes one plugin each, by the name of its field.
SINGLE = ("dataset", "activation", "loss", "optimizer", "schedule", "initializer", "penalty", "derivation")


@dataclass(frozen=True)
class ModelOptions:
    """The shape of the network."""

    hidden: tuple[int, ...] = hyper((32,), "units of each hidden layer; [] for a linear model", ge=1)

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class RunOptions:
    """Seeds: member r of the stack is the run with seed + r."""

    seed: int = hyper(0, "of the initial weights and the order of the samples", ge=0, lt=2**32)
    repeats: int = hyper(1, "seeds trained as one stack: seed, seed + 1, ...; metrics are their means", ge=1)

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True)
class Experiment:
    """All that decides what a run computes."""

    dataset: DatasetLoader
    activation: Activation
    loss: Loss | None  # None: by the dataset's task
    optimizer: Optimizer
    schedule: Schedule
    initializer: Initializer
    penalty: Penalty
    derivation: Derivation
    metrics: tuple[Metric, ...] | None  # None: by the dataset's task
    model: ModelOptions = dataclasses.field(default_factory=ModelOptions)
    train: TrainOptions = dataclasses.field(default_factory=TrainOptions)
    data: DataOptions = dataclasses.field(default_factory=DataOptions)
    gradcheck: CheckOptions = dataclasses.field(default_factory=CheckOptions)
    run: RunOptions = dataclasses.field(default_factory=RunOptions)

    def load(self) -> SplitData:
        """The data, split and scaled. Raises ValueError or OSError, which say what is wrong with it."""
        return split(self.dataset.load(), self.data)

    def prepare(self, plugins: Registry, data: SplitData | None = None) -> Prepared:
        """Build the network for the data, which is loaded unless it is given. Raises ValueError or OSError, which
        say what does not fit."""
        data = data or self.load()
        loss = self.loss or default_loss(plugins, data.task)
        metrics = default_metrics(plugins, data.task, loss) if self.metrics is None else self.metrics
        _fits(plugins, data, loss, metrics)
        monitored = self.train.early_stopping
        if monitored.patience is not None:
            known = ["train/loss"] + ["val/loss", *(f"val/{m.name}" for m in metrics)] * (data.val is not None)
            if monitored.monitor not in known:
                raise InvalidValue(
                    "train.early_stopping.monitor", monitored.monitor, "one of " + ", ".join(known)
                )
        sizes = (data.features, *self.model.hidden, loss.outputs(data.task, data.targets))
        net = MLP(sizes, self.activation, loss, self.derivation)
        self.derivation.check({name: entries.shape for name, entries in net.layout.indices.items()})
        y = loss.encode(data.scaler.transform_y(data.train.y), sizes[-1], np.float64)
        seeds = [np.random.SeedSequence(self.run.seed + r).spawn(2) for r in range(self.run.repeats)]
        theta = net.initial(
            self.initializer, [np.random.default_rng(initial) for initial, _ in seeds], self.train.dtype
        )
        if self.metrics:
            # What a metric cannot take, as k = 3 of three classes, shows before anything is written.
            part = "train" if data.val is None else "val"
            Evaluation(part, net, theta[:1], data.parts[part], data, metrics)()
        try:
            batches = Batches(
                data.train.X,
                y,
                self.train.batch_size,
                [np.random.default_rng(order) for _, order in seeds],
                self.train.dtype,
                shuffle=self.train.shuffle,
            )
        except InvalidValue as error:
            raise InvalidValue(f"train.{error.field}", error.given, error.expected) from None
        return Prepared(self, data, net, metrics, theta, y, batches)


def default_loss(plugins: Registry, task: str) -> Loss:
    """The loss for a task where the user names none."""
    fitting = [e.name for e in plugins.entries("loss") if task in e.cls.default_for]  # type: ignore[attr-defined]
    if len(fitting) != 1:
        raise PluginError(
            f"no one loss is the default for {task} (there are {', '.join(fitting) or 'none'}): name one, loss=..."
        )
    return plugins.build("loss", fitting[0])


def default_metrics(plugins: Registry, task: str, loss: Loss) -> tuple[Metric, ...]:
    """The metrics for a task and a loss where the user names none."""
    built: list[Metric] = [plugins.build("metric", name) for name in plugins.names("metric")]
    return tuple(each for each in built if task in each.default_for and loss.prediction in each.reads)


def _fits(plugins: Registry, data: SplitData, loss: Loss, metrics: Sequence[Metric]) -> None:
    """Raise InvalidValue where the loss or a metric is not for the dataset's task."""

    def suited(kind: str) -> str:
        names = [e.name for e in plugins.entries(kind) if data.task in e.cls.tasks]  # type: ignore[attr-defined]
        return f"for {data.task}, which is the dataset's task: {', '.join(names)}"

    if data.task not in loss.tasks:
        raise InvalidValue("loss", loss.name, f"a loss {suited('loss')}")
    for metric in metrics:
        if data.task not in metric.tasks:
            raise InvalidValue("metrics", metric.name, f"metrics {suited('metric')}")
        if loss.prediction not in metric.reads:
            raise InvalidValue(
                "metrics",
                metric.name,
                f"metrics that read a {loss.prediction}, which is what the loss {loss.name} gives "
                f"({metric.name} reads {' or '.join(metric.reads)})",
            )


class Observer(Protocol):
    """Is told what happens in a run, as it happens."""

    def ready(self, prepared: Prepared) -> None: ...
    def checked(self, report: GradcheckReport) -> None: ...
    def epoch(self, epoch: int, metrics: dict[str, float]) -> None: ...


class GradcheckFailedError(Exception):
    """The hand-derived gradient is not the derivative of the loss."""

    def __init__(self, report: GradcheckReport) -> None:
        found = "" if report.diagnosis is None else f"\n\n{report.diagnosis.message()}"
        super().__init__(report.failure_message() + found)
        self.report = report


@dataclass(frozen=True)
class Result:
    """What a run came to. Arrays per member have the shape (R,)."""

    prepared: Prepared
    theta: Array  # (R, P)
    history: dict[str, list[Array]]  # by epoch
    final: dict[str, Array]  # train/, val/ and test/ metrics at the end
    report: GradcheckReport | None
    epochs: Array  # how many each member was trained
    best_epochs: Array  # the epoch whose parameters each member kept
    seconds: float  # of training

    @property
    def summary(self) -> dict[str, float]:
        """The final metrics: means, and standard deviations where there are several members."""
        return summarised(self.final)

    @property
    def objective(self) -> tuple[str, bool]:
        """The metric that runs are ranked by, and whether a greater one is better."""
        return self.prepared.objective

    def predict(self, part: str) -> Array:
        """What every member predicts for the samples of a part, (R, N, K) as a person reads it."""
        data = self.prepared.data
        return Predictions(self.prepared.net, self.theta, data.parts[part].X, data)()


@dataclass(frozen=True)
class Prepared:
    """An experiment whose data is loaded and whose network is built, not yet trained."""

    experiment: Experiment
    data: SplitData
    net: MLP
    metrics: tuple[Metric, ...]
    theta: Array  # (R, P), fresh
    y: Array  # (N, K) encoded targets of the training part
    batches: Batches

    @property
    def objective(self) -> tuple[str, bool]:
        """The metric that runs are ranked by, and whether a greater one is better: the first metric of the
        validation part, or of the training part where there is none; the loss where there are no metrics."""
        part = "val" if self.data.val is not None else "train"
        for metric in self.metrics:
            return f"{part}/{metric.name}", metric.greater_is_better
        return f"{part}/loss", False

    def check(
        self, theta: Array, moment: str, report: GradcheckReport | None = None, samples: slice = slice(None)
    ) -> GradcheckReport:
        """The gradient check at theta, added to what an earlier `report` found."""
        experiment = self.experiment
        section = NetworkCheck(
            self.net, self.data.train.X, self.y, experiment.penalty, experiment.gradcheck, experiment.run.seed
        ).section(theta, moment, samples)
        if report is None:
            return GradcheckReport((section,))
        return dataclasses.replace(report, sections=(*report.sections, section))

    def diagnosed(self, report: GradcheckReport) -> GradcheckReport:
        """The report with a diagnosis of what is wrong, if something is beyond the arithmetic of float32."""
        if report.passed or all(result.oracle == LOWER for _, result in report.failures):
            return report
        found = diagnose_network(
            self.net,
            self.data.train.X,
            self.y,
            self.experiment.penalty,
            self.theta,
            seed=self.experiment.run.seed,
        )
        return dataclasses.replace(report, diagnosis=found)

    def check_alone(self) -> GradcheckReport:
        """The check without a run, at four points: fresh parameters; moved ones, every number by N(0, 0.1²), so
        that biases, which start at zero, are not zero; these on one sample; and after three epochs of training.
        """
        noise = np.random.default_rng(self.experiment.run.seed).normal(0, 0.1, self.theta.shape)
        moved = self.theta + noise.astype(self.theta.dtype)
        report = self.check(self.theta, "fresh")
        report = self.check(moved, "moved", report)
        report = self.check(moved, "one sample", report, slice(0, 1))
        return self.diagnosed(self.check(self._burned_in(), "burned in", report))

    def _burned_in(self) -> Array:
        """Theta (R, P) after three epochs, or before it has diverged."""
        theta = self.theta.copy()
        experiment, kept = self.experiment, [theta.copy()]

        def after_epoch(epoch: int, losses: Array) -> bool:
            kept.append(theta.copy())
            return True

        try:
            train(
                self.net,
                theta,
                self.batches,
                epochs=3,
                optimizer=experiment.optimizer,
                schedule=experiment.schedule,
                penalty=experiment.penalty,
                after_epoch=after_epoch,
            )
        except DivergedError:
            # The check is of the gradient; that the step size is too large, training will say.
            return kept[-1]
        return theta

    def run(self, observer: Observer) -> Result:
        """Check, train, check again, evaluate.

        Raises GradcheckFailedError (unless gradcheck.on_failure=warn) and DivergedError.
        """
        observer.ready(self)
        options = self.experiment.gradcheck
        report = self._checked(self.theta, "fresh", None, observer) if options.enabled else None
        started = time.perf_counter()
        theta = self.theta.copy()
        history, stopper = self._train(theta, observer)
        seconds = time.perf_counter() - started
        if options.enabled and options.after_training:
            report = self._checked(theta, "trained", report, observer)
        final: dict[str, Array] = {}
        for name, part in self.data.parts.items():
            final |= Evaluation(name, self.net, theta, part, self.data, self.metrics)()
        return Result(self, theta, history, final, report, stopper.epochs, stopper.best_epochs, seconds)

    def _checked(
        self, theta: Array, moment: str, report: GradcheckReport | None, observer: Observer
    ) -> GradcheckReport:
        before = report
        report = self.check(theta, moment, report)
        # What was found out before training is not looked into again.
        report = self.diagnosed(report) if before is None or before.passed else report
        observer.checked(report)
        if not report.passed and self.experiment.gradcheck.on_failure == "stop":
            raise GradcheckFailedError(report)
        return report

    def _train(self, theta: Array, observer: Observer) -> tuple[dict[str, list[Array]], Stopper]:
        experiment = self.experiment
        options = experiment.train
        part = self.data.val
        val = None if part is None else Evaluation("val", self.net, theta, part, self.data, self.metrics)
        stopper = Stopper(options.early_stopping, self.metrics, theta)
        history: dict[str, list[Array]] = {}

        def after_epoch(epoch: int, losses: Array) -> bool:
            metrics = {"train/loss": losses, **(val() if val else {})}
            if "val/loss" in metrics:
                self._finite(epoch, metrics["val/loss"])
            metrics = stopper.frozen(metrics)
            for name, values in metrics.items():
                history.setdefault(name, []).append(values)
            observer.epoch(epoch, summarised(metrics))
            return stopper.goes_on(epoch, metrics)

        train(
            self.net,
            theta,
            self.batches,
            epochs=options.epochs,
            optimizer=experiment.optimizer,
            schedule=experiment.schedule,
            penalty=experiment.penalty,
            after_epoch=after_epoch,
        )
        stopper.restore()
        return history, stopper

    def _finite(self, epoch: int, losses: Array) -> None:
        """The validation loss sees what the last step of an epoch did."""
        if not np.isfinite(losses).all():
            experiment, steps = self.experiment, self.batches.steps_per_epoch
            factor = experiment.schedule.factor(epoch * steps - 1, experiment.train.epochs * steps)
            member = int(np.flatnonzero(~np.isfinite(losses))[0])
            rates: Any = np.broadcast_to(np.ravel(experiment.optimizer.lr), len(losses))
            raise DivergedError(epoch, epoch * steps, float(rates[member]) * factor, member, losses[member])
