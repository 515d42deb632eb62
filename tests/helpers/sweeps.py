"""Sweeps for tests, run by the command in the working directory."""

import csv
from pathlib import Path

from backproof.cli.main import main
from backproof.sweeps import jobs
from hydra.core.plugins import Plugins

from tests.helpers.command import runs

SMALL = ["dataset=iris", "train.epochs=2", "model.hidden=[4]", "tracking.plots=false", "gradcheck=off"]
#: The same, with a job for each point.
QUICK = [*SMALL, "sweep.stack=off"]
GRID = ["optimizer.lr=0.1,0.2", "seed=0,1,2"]


def sweep(*args):
    return main(["train", "-m", *QUICK, *args])


def stacked(*args):
    """Run a sweep whose points are trained as stacks."""
    return main(["train", "-m", *SMALL, *args])


def parents():
    return runs(**{"backproof.kind": "sweep"})


def children(parent, status=None):
    records = runs(**{"mlflow.parentRunId": parent.info.run_id})
    return [r for r in records if status in (None, r.info.status)]


def hashes(runs):
    return sorted(run.data.tags["backproof.config_hash"] for run in runs)


def points(folder):
    with (Path(folder) / "points.csv").open() as file:
        return list(csv.DictReader(file))


def launch_by(monkeypatch, launcher):
    """Make sweeps use this launcher class instead of Hydra's basic launcher."""
    original = Plugins.instantiate_launcher

    def instantiate(self, **kwargs):
        instance = original(self, **kwargs)
        instance.__class__ = launcher
        return instance

    monkeypatch.setattr(Plugins, "instantiate_launcher", instantiate)


def interrupt_at(monkeypatch, count, error):
    """Raise `error` instead of running job number `count`."""
    original, configs = jobs.sweep_job, []

    def job(cfg):
        configs.append(cfg)
        if len(configs) == count:
            raise error
        return original(cfg)

    monkeypatch.setattr(jobs, "sweep_job", job)
