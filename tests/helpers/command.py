"""The command, and the runs recorded in the store of the working directory."""

import contextlib
import io
import sys
from pathlib import Path
from types import SimpleNamespace

from backproof.cli.main import main
from backproof.discovery.registry import registry

BACKPROOF = [sys.executable, "-m", "backproof"]
#: Overrides for a very short run.
QUICK = ["dataset=iris", "train.epochs=3", "model.hidden=[5]"]


def backproof(*args, code=0):
    """Run the command in this process with newly found plugins. Return its `stdout` and `stderr`."""
    stdout, stderr = io.StringIO(), io.StringIO()
    registry.cache_clear()
    try:
        with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
            returned = main([*args])
    finally:
        registry.cache_clear()
    assert returned == code, stdout.getvalue() + stderr.getvalue()
    return SimpleNamespace(stdout=stdout.getvalue(), stderr=stderr.getvalue())


def client():
    """Return MLflow's client on the store of the working directory."""
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=f"sqlite:///{Path('outputs/mlflow.db').absolute()}")


def runs(**tags):
    """Return the recorded runs with these tags, the oldest first."""
    store = client()
    experiment = store.get_experiment_by_name("backproof")
    recorded = store.search_runs([experiment.experiment_id], max_results=5000, order_by=["start_time ASC"])
    return [run for run in recorded if all(run.data.tags.get(key) == value for key, value in tags.items())]
