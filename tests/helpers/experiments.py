"""Experiments for tests, built without Hydra."""

import numpy as np
from backproof.contracts import Dataset
from backproof.data import DataOptions, split
from backproof.discovery.registry import registry
from backproof.experiment.experiment import Experiment, ModelOptions, RunOptions
from backproof.experiment.run import run as run_prepared
from backproof.gradcheck import CheckOptions
from backproof.nn import model_io
from backproof.nn.mlp import MLP
from backproof.nn.predictor import Predictor
from backproof.nn.training import EarlyStopping, TrainOptions

KINDS = {
    "dataset": "iris",
    "activation": "relu",
    "optimizer": "sgd",
    "schedule": "constant",
    "initializer": "he_normal",
    "penalty": "none",
    "derivation": "backprop",
}


def experiment(**settings):
    """Return an experiment. Settings are plugins, as a name or (name, hyperparameters), and options by name."""
    plugins = registry()

    def build(kind, choice):
        if not isinstance(choice, str | tuple):
            return choice
        name, params = choice if isinstance(choice, tuple) else (choice, {})
        return plugins.build(kind, name, params)

    components = {kind: build(kind, settings.pop(kind, name)) for kind, name in KINDS.items()}
    loss = settings.pop("loss", None)
    metrics = settings.pop("metrics", None)
    stopping = EarlyStopping(**settings.pop("stopping", {}))
    options = {
        "model": ModelOptions(settings.pop("hidden", (8,))),
        "train": TrainOptions(
            **{"epochs": 3, "batch_size": 16, **settings.pop("train", {})}, early_stopping=stopping
        ),
        "data": DataOptions(**settings.pop("data", {})),
        "gradcheck": CheckOptions(**settings.pop("gradcheck", {})),
        "run": RunOptions(settings.pop("seed", 0), settings.pop("repeats", 1)),
    }
    assert not settings, settings
    return Experiment(
        **components,
        loss=build("loss", loss) if loss else None,
        metrics=None if metrics is None else tuple(build("metric", metric) for metric in metrics),
        **options,
    )


class Watcher:
    """An observer that records its calls."""

    def __init__(self):
        self.reports, self.epochs = [], []

    def on_start(self, prepared):
        self.prepared = prepared

    def on_check(self, report):
        self.reports.append(report)

    def on_epoch(self, epoch, metrics):
        self.epochs.append((epoch, metrics))

    def on_end(self, outcome):
        self.outcome = outcome


def run(**settings):
    return run_prepared(experiment(**settings).prepare(registry()), Watcher())


def saved_model(folder):
    """Save a model; return its folder, samples, and its predictions for them."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 3)), np.arange(60) % 2
    data = split(Dataset(X, y, "classification", ("a", "b c", "d"), ("no", "yes")), DataOptions())
    net = MLP(
        (3, 4, 2), registry().build("activation", "relu"), registry().build("loss", "softmax_cross_entropy")
    )
    theta = rng.normal(size=(2, net.layout.P))
    model_io.save(folder / "network", model_io.SavedModel.of(net, theta, data))
    return folder / "network", X, Predictor.load(folder / "network", registry()).predict(X)
