"""One experiment: from plugins and options to a network that can be trained. It knows neither Hydra nor MLflow."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from backproof.contracts import (
    Activation,
    Array,
    Dataset,
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
from backproof.contracts.errors import DivergedError, InvalidValue, PluginError
from backproof.contracts.fields import check_fields
from backproof.data import Batches, DataOptions, SplitData, check_batch_size, check_range, split
from backproof.discovery.registry import Registry
from backproof.experiment.memory import require_memory
from backproof.gradcheck import CheckOptions
from backproof.netcheck.setup import CheckSetup
from backproof.nn.evaluation import Evaluation
from backproof.nn.mlp import MLP
from backproof.nn.training import TrainOptions, train

#: The kinds of which an experiment has one plugin each, by the name of its field.
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
    """Everything that decides what a run computes."""

    dataset: DatasetLoader
    activation: Activation
    loss: Loss | None  # None: chosen by the dataset's task
    optimizer: Optimizer
    schedule: Schedule
    initializer: Initializer
    penalty: Penalty
    derivation: Derivation
    metrics: tuple[Metric, ...] | None  # None: chosen by the dataset's task
    model: ModelOptions = dataclasses.field(default_factory=ModelOptions)
    train: TrainOptions = dataclasses.field(default_factory=TrainOptions)
    data: DataOptions = dataclasses.field(default_factory=DataOptions)
    gradcheck: CheckOptions = dataclasses.field(default_factory=CheckOptions)
    run: RunOptions = dataclasses.field(default_factory=RunOptions)

    def load(self) -> SplitData:
        """Load, split and scale the data. Raise ValueError or OSError, which says what is wrong with it."""
        loaded = cast("object", self.dataset.load())
        if not isinstance(loaded, Dataset):
            cls = type(self.dataset)
            raise PluginError(
                f"the plugin dataset={cls.name} failed in load: {inspect.getfile(cls)}: it must return a Dataset, "
                f"got {type(loaded).__name__}"
            )
        return split(loaded, self.data)

    def prepare(self, plugins: Registry, data: SplitData | None = None) -> PreparedExperiment:
        """Build the network for `data`, or for loaded data. Raise ValueError or OSError that says what is wrong."""
        data = data or self.load()
        loss = self.loss or default_loss(plugins, data.task)
        metrics = default_metrics(plugins, data.task, loss) if self.metrics is None else self.metrics
        _check_task(plugins, data, loss, metrics)
        self._check_monitor(data, metrics)
        sizes = (data.features, *self.model.hidden, loss.outputs(data.task, data.targets))
        count = data.sizes["train"]
        batch = min(self.train.batch_size or count, count)
        itemsize = np.dtype(self.train.dtype).itemsize
        require_memory(sizes, self.run.repeats, batch, len(self.optimizer.slots), itemsize)
        net = MLP(sizes, self.activation, loss, self.derivation)
        self.derivation.check({name: entries.shape for name, entries in net.layout.indices.items()})
        prepared = PreparedExperiment(self, data, net, metrics)
        # An initializer or metric that cannot take these sizes (k = 3 of three classes) fails here.
        theta = prepared.theta[:1]
        if self.metrics:
            part = "train" if data.val is None else "val"
            Evaluation(part, net, theta, data.parts[part], data, metrics)()
        try:
            check_batch_size(self.train.batch_size, len(prepared.y))
        except InvalidValue as error:
            raise InvalidValue(f"train.{error.field}", error.given, error.expected) from None
        check_range(data.train.X, self.train.dtype)
        return prepared

    def _check_monitor(self, data: SplitData, metrics: Sequence[Metric]) -> None:
        """Raise InvalidValue if early stopping monitors a metric that the run does not have."""
        stopping = self.train.early_stopping
        if stopping.patience is None and stopping.monitor == type(stopping)().monitor:
            return
        known = ["train/loss"]
        if data.val is not None:
            known += ["val/loss", *(f"val/{metric.name}" for metric in metrics)]
        if stopping.monitor not in known:
            raise InvalidValue("train.early_stopping.monitor", stopping.monitor, "one of " + ", ".join(known))


def default_loss(plugins: Registry, task: str) -> Loss:
    """Return the default loss for a task."""
    losses = cast("list[type[Loss]]", plugins.declaring(Loss.kind, "default_for"))
    names = [loss.name for loss in losses if task in loss.default_for]
    if len(names) != 1:
        raise PluginError(
            f"no one loss is the default for {task} (there are {', '.join(names) or 'none'}): name one, loss=..."
        )
    return plugins.build("loss", names[0])


def default_metrics(plugins: Registry, task: str, loss: Loss) -> tuple[Metric, ...]:
    """Return the default metrics for a task and a loss."""
    metrics = cast("list[type[Metric]]", plugins.declaring(Metric.kind, "default_for"))
    return tuple(cls() for cls in metrics if task in cls.default_for and loss.prediction in cls.reads)


def _check_task(plugins: Registry, data: SplitData, loss: Loss, metrics: Sequence[Metric]) -> None:
    """Raise InvalidValue if the loss or a metric is not for the dataset's task."""

    def suited(kind: str) -> str:
        names = [e.name for e in plugins.usable(kind, warn=False) if data.task in e.cls.tasks]  # type: ignore[attr-defined]
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


@dataclass(frozen=True)
class PreparedExperiment:
    """An experiment whose data is loaded and whose network is built, not yet trained."""

    experiment: Experiment
    data: SplitData
    net: MLP
    metrics: tuple[Metric, ...]

    @functools.cached_property
    def theta(self) -> Array:
        """Return theta (R, P) before training."""
        experiment = self.experiment
        return self.net.initial(experiment.initializer, self._generators(0), experiment.train.dtype)

    @functools.cached_property
    def orders(self) -> list[np.random.Generator]:
        """Return the generators that draw the order of the samples, one for each member."""
        return self._generators(1)

    @functools.cached_property
    def y(self) -> Array:
        """Return the encoded targets (N, K) of the training part."""
        data = self.data
        return self.net.loss.encode(data.scaler.transform_y(data.train.y), self.net.sizes[-1], np.float64)

    def _generators(self, purpose: int) -> list[np.random.Generator]:
        """Return a generator for each member; draws for one purpose do not affect the other."""
        seeds = self.experiment.run
        sequences = (np.random.SeedSequence(seeds.seed + r).spawn(2) for r in range(seeds.repeats))
        return [np.random.default_rng(pair[purpose]) for pair in sequences]

    @functools.cached_property
    def batches(self) -> Batches:
        """Return the batches of this experiment alone; a stack of experiments uses their `orders` instead."""
        options = self.experiment.train
        X = self.data.train.X
        return Batches(X, self.y, options.batch_size, self.orders, options.dtype, shuffle=options.shuffle)

    @property
    def objective(self) -> tuple[str, bool]:
        """Return the metric that runs are ranked by, and whether greater is better.

        It is the first metric, or else the loss, of the validation part, or else of the training part.
        """
        part = "val" if self.data.val is not None else "train"
        for metric in self.metrics:
            return f"{part}/{metric.name}", metric.greater_is_better
        return f"{part}/loss", False

    @property
    def check_setup(self) -> CheckSetup:
        """Return the network with all that its gradient check needs."""
        experiment = self.experiment
        return CheckSetup(
            self.net,
            self.data.train.X,
            self.y,
            experiment.penalty,
            self.theta,
            experiment.gradcheck,
            experiment.run.seed,
        )

    def burn_in(self, epochs: int) -> Array:
        """Return theta (R, P) after this many epochs of training, or its last value before it diverged."""
        theta = self.theta.copy()
        last = theta.copy()

        def after_epoch(epoch: int, losses: Array) -> bool:
            last[...] = theta
            return True

        experiment = self.experiment
        try:
            train(
                self.net,
                theta,
                self.batches,
                epochs=epochs,
                optimizer=experiment.optimizer,
                schedule=experiment.schedule,
                penalty=experiment.penalty,
                after_epoch=after_epoch,
            )
        except DivergedError:
            # The gradient is checked here; that the learning rate is too large will show in training.
            return last
        return theta
