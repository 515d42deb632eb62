"""Fixtures that all tests share."""

from pathlib import Path

import pytest


@pytest.fixture
def workdir(tmp_path, monkeypatch):
    """An empty working directory, with no setting of MLflow's or of plugins in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("BACKPROOF_PLUGINS", raising=False)
    return tmp_path


@pytest.fixture
def client():
    """Return a function that opens MLflow's client on the store of the working directory."""
    from mlflow import MlflowClient

    return lambda: MlflowClient(tracking_uri=f"sqlite:///{Path('outputs/mlflow.db').absolute()}")
