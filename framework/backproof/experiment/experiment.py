"""Floor 3: one experiment, from plugins and options to a network that can be trained. Neither Hydra nor MLflow."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from backproof.contracts import (
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
from backproof.contracts.errors import InvalidValue, PluginError
from backproof.contracts.fields import check_fields
from backproof.data import Batches, DataOptions, SplitData, check_batch_size, check_range, split
from backproof.discovery.registry import Registry
from backproof.gradcheck import ALONE, LOWER, CheckOptions
from backproof.netcheck.diagnose import diagnose_network
from backproof.netcheck.network import ON_KINKS, NetworkCheck
from backproof.netcheck.points import PARAMETERS, check_alone
from backproof.netcheck.report import NetworkReport
from backproof.nn.evaluation import Evaluation
from backproof.nn.mlp import MLP
from backproof.nn.training import TrainOptions

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

    def prepare(self, plugins: Registry, data: SplitData | None = None) -> PreparedExperiment:
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
        prepared = PreparedExperiment(self, data, net, metrics)
        # What the initializer or a metric cannot take, as k = 3 of three classes, shows before anything is written.
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


@dataclass(frozen=True)
class PreparedExperiment:
    """An experiment whose data is loaded and whose network is built, not yet trained."""

    experiment: Experiment
    data: SplitData
    net: MLP
    metrics: tuple[Metric, ...]

    @functools.cached_property
    def theta(self) -> Array:
        """(R, P), fresh."""
        experiment = self.experiment
        return self.net.initial(experiment.initializer, self._generators(0), experiment.train.dtype)

    @functools.cached_property
    def orders(self) -> list[np.random.Generator]:
        """Of the samples, one for each member."""
        return self._generators(1)

    @functools.cached_property
    def y(self) -> Array:
        """(N, K), the encoded targets of the training part."""
        data = self.data
        return self.net.loss.encode(data.scaler.transform_y(data.train.y), self.net.sizes[-1], np.float64)

    def _generators(self, purpose: int) -> list[np.random.Generator]:
        """A random generator for each member; what is drawn for one purpose changes nothing in the other."""
        seeds = self.experiment.run
        sequences = (np.random.SeedSequence(seeds.seed + r).spawn(2) for r in range(seeds.repeats))
        return [np.random.default_rng(each[purpose]) for each in sequences]

    @functools.cached_property
    def batches(self) -> Batches:
        """Those of this experiment alone; in a stack of several their generators are drawn from together."""
        options = self.experiment.train
        X = self.data.train.X
        return Batches(X, self.y, options.batch_size, self.orders, options.dtype, shuffle=options.shuffle)

    @property
    def objective(self) -> tuple[str, bool]:
        """The metric that runs are ranked by, and whether a greater one is better: the first metric of the
        validation part, or of the training part where there is none; the loss where there are no metrics."""
        part = "val" if self.data.val is not None else "train"
        for metric in self.metrics:
            return f"{part}/{metric.name}", metric.greater_is_better
        return f"{part}/loss", False

    def check(
        self,
        theta: Array,
        moment: str,
        report: NetworkReport | None = None,
        samples: slice = slice(None),
        *,
        every_entry: bool = True,
    ) -> NetworkReport:
        """The gradient check at theta, added to what an earlier `report` found. Without `every_entry` also a small
        network is checked along random directions and at sampled entries."""
        experiment = self.experiment
        options = experiment.gradcheck
        if not every_entry:
            options = dataclasses.replace(options, all_coordinates_up_to=0)
        section = NetworkCheck(
            self.net, self.data.train.X, self.y, experiment.penalty, options, experiment.run.seed
        ).section(theta, moment, samples)
        if report is None:
            return NetworkReport((section,))
        return dataclasses.replace(report, sections=(*report.sections, section))

    def diagnosed(self, report: NetworkReport) -> NetworkReport:
        """The report with a diagnosis of what is wrong, if something is beyond the arithmetic of float32."""
        own = [
            result
            for section, result in report.failures
            if section.moment != ALONE and result.oracle != LOWER and result.part != ON_KINKS
        ]
        if not own:
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

    def check_alone(self, parts: Sequence[str] = (PARAMETERS,)) -> NetworkReport:
        """The check without a run: of the gradients by the parameters at five points, or of pieces of the network
        by themselves; `parts` names which, of `standalone.CHOICES`."""
        return check_alone(self, parts)
