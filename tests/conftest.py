"""Fixtures that all tests share."""

import pytest

from tests.helpers import fuzz

fuzz.load_profile()


@pytest.fixture
def workdir(tmp_path, monkeypatch):
    """An empty working directory, with no environment variables for MLflow or plugins."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("BACKPROOF_PLUGINS", raising=False)
    return tmp_path


@pytest.fixture(scope="session")
def outputs(tmp_path_factory):
    """One folder of outputs for all tests that only add runs to its store."""
    return tmp_path_factory.mktemp("outputs")


@pytest.fixture
def store(outputs, monkeypatch):
    """The opened MLflow store in `outputs`."""
    from backproof.tracking import Store, TrackingOptions

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Store.open(TrackingOptions(), outputs)
