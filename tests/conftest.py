"""Fixtures that all tests share."""

from pathlib import Path

import pytest

from tests.helpers import fuzz
from tests.helpers.database import Template

fuzz.load_profile()


@pytest.fixture(scope="session")
def database(tmp_path_factory, worker_id):
    """The empty database that tests start from."""
    base = tmp_path_factory.getbasetemp()
    return Template((base if worker_id == "master" else base.parent) / "database")


@pytest.fixture(scope="session", autouse=True)
def _copied_databases(database):
    """Copy the empty database where a test of this process opens a new store."""
    from backproof.tracking import store

    create = store.Store.open.__func__

    def copy_and_open(cls, options, outputs):
        uri = store.resolve_uri(options.uri, Path(outputs))
        if uri.startswith(store.SQLITE):
            database.copy_to(uri.removeprefix(store.SQLITE))
        return create(cls, options, outputs)

    store.Store.open = classmethod(copy_and_open)
    yield
    store.Store.open = classmethod(create)


@pytest.fixture
def empty_store(workdir, database):
    """A store without runs in the working directory, for the commands that a test runs in other processes."""
    database.copy_to(workdir / "outputs" / "mlflow.db")


@pytest.fixture
def new_databases(database):
    """Let MLflow create databases, as it does for users."""
    database.active = False
    yield
    database.active = True


@pytest.fixture
def workdir(tmp_path, monkeypatch):
    """An empty working directory, with no environment variables for MLflow or plugins."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("BACKPROOF_PLUGINS", raising=False)
    return tmp_path


@pytest.fixture
def plugin_folder(tmp_path, monkeypatch):
    """An empty folder of plugins, in which a search begins anew before and after the test."""
    from backproof.discovery.registry import registry

    monkeypatch.setenv("BACKPROOF_PLUGINS", str(tmp_path))
    registry.cache_clear()
    yield tmp_path
    registry.cache_clear()


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
