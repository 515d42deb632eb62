"""For benchmarks/sweep.py: our training in a small Hydra application that records by hand, as hydraflow does."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import hydra
import mlflow
from backproof.data import DataOptions, SplitData, split
from backproof.discovery.registry import registry
from backproof.experiment.experiment import Experiment, ModelOptions, PreparedExperiment, RunOptions
from backproof.experiment.run import Result, run
from backproof.gradcheck import CheckOptions, GradcheckReport
from backproof.nn.training import TrainOptions
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf
from sweep import BATCH, EPOCHS, HIDDEN


@dataclass
class Config:
    """The config of a job."""

    seed: int = 0
    lr: float = 0.003
    decay: float = 0.0
    at_once: bool = False
    hidden: int = HIDDEN
    batch_size: int = BATCH
    epochs: int = EPOCHS


class ByEpoch:
    """Records the metrics of each epoch as soon as they are known."""

    def __init__(self, *, at_once: bool) -> None:
        self.at_once = at_once

    def on_start(self, prepared: PreparedExperiment) -> None: ...
    def on_check(self, report: GradcheckReport) -> None: ...
    def on_end(self, outcome: Result | Exception) -> None: ...

    def on_epoch(self, epoch: int, metrics: dict[str, float]) -> None:
        """Record the metrics, one by one or in one call."""
        if self.at_once:
            mlflow.log_metrics(metrics, step=epoch)
            return
        for name, value in metrics.items():
            mlflow.log_metric(name, value, step=epoch)


@functools.cache
def data() -> SplitData:
    """Return the data, loaded once: loading is not part of the comparison."""
    return split(registry().build("dataset", "digits").load(), DataOptions())


def experiment(cfg: Config) -> Experiment:
    """Return the experiment that ours runs."""
    build = registry().build
    return Experiment(
        dataset=build("dataset", "digits"),
        activation=build("activation", "relu"),
        loss=None,
        optimizer=build("optimizer", "adam", {"lr": cfg.lr}),
        schedule=build("schedule", "constant"),
        initializer=build("initializer", "he_normal"),
        penalty=build("penalty", "l2", {"strength": cfg.decay}),
        derivation=build("derivation", "backprop"),
        metrics=None,
        model=ModelOptions(hidden=(cfg.hidden,)),
        train=TrainOptions(epochs=cfg.epochs, batch_size=cfg.batch_size, dtype="float64"),
        gradcheck=CheckOptions(enabled=False),
        run=RunOptions(seed=cfg.seed),
    )


def main(cfg: Config) -> None:
    """Run one job."""
    prepared = experiment(cfg).prepare(registry(), data())
    mlflow.set_experiment("hydra")
    with mlflow.start_run(run_name=HydraConfig.get().job.override_dirname[:200]):
        mlflow.log_params(dict(OmegaConf.to_container(cfg)))  # type: ignore[arg-type]
        folder = Path(HydraConfig.get().runtime.output_dir)
        mlflow.log_artifacts(str(folder / ".hydra"), ".hydra")
        result = run(prepared, ByEpoch(at_once=cfg.at_once))
        mlflow.log_metrics(result.summary)
        for log in folder.glob("*.log"):
            mlflow.log_artifact(str(log))


if __name__ == "__main__":
    ConfigStore.instance().store(name="config", node=Config)
    hydra.main(version_base="1.3", config_path=None, config_name="config")(main)()
