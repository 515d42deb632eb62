"""Sweeps for tests, run by the command in the working directory."""

import csv
from pathlib import Path

from backproof.cli.main import main
from backproof.sweeps import jobs
from hydra.core.plugins import Plugins

from tests.helpers.command import runs

SMALL = ["dataset=iris", "train.epochs=2", "model.hidden=[4]", "tracking.plots=false", "gradcheck=off"]
#: A job for each point.
QUICK = [*SMALL, "sweep.stack=off"]
GRID = ["optimizer.lr=0.1,0.2", "seed=0,1,2"]


def sweep(*args):
    return main(["train", "-m", *QUICK, *args])


def stacked(*args):
    """A sweep whose points are trained as stacks."""
    return main(["train", "-m", *SMALL, *args])


def parents():
    return runs(**{"backproof.kind": "sweep"})


def children(parent, status=None):
    found = runs(**{"mlflow.parentRunId": parent.info.run_id})
    return [r for r in found if status in (None, r.info.status)]


def hashes(found):
    return sorted(r.data.tags["backproof.config_hash"] for r in found)


def points(folder):
    with (Path(folder) / "points.csv").open() as file:
        return list(csv.DictReader(file))


def launch_by(monkeypatch, launcher):
    """Have sweeps run by another class of launcher, made from Hydra's basic one."""
    original = Plugins.instantiate_launcher

    def instantiate(self, **given):
        made = original(self, **given)
        made.__class__ = launcher
        return made

    monkeypatch.setattr(Plugins, "instantiate_launcher", instantiate)


def interrupt_at(monkeypatch, count, error):
    """Raise `error` in place of the job of that number."""
    original, seen = jobs.sweep_job, []

    def job(cfg):
        seen.append(cfg)
        if len(seen) == count:
            raise error
        return original(cfg)

    monkeypatch.setattr(jobs, "sweep_job", job)
