"""The SQLite file of a store: created whole or not at all, without making those wait that only open it."""

import fcntl
import os
import sqlite3
import subprocess
import sys
import time

import pytest
from backproof.contracts.errors import TrackingError
from backproof.tracking import Store, TrackingOptions, database

from tests.helpers.tracking import ROOT

pytestmark = pytest.mark.filterwarnings("ignore:Any type hint is inferred")
START = """
import sys
from pathlib import Path
from backproof.tracking import Store, TrackingOptions
with Store.open(TrackingOptions(), Path(sys.argv[1])).start(sys.argv[2], {"seed": sys.argv[2]}, {}) as run:
    run.metrics({"a": 1.0}, 1)
"""


@pytest.fixture
def locked(tmp_path):
    """A folder whose lock another process has, of which the file names the id 123."""
    with (tmp_path / "mlflow.lock").open("w") as file:
        file.write("123")
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        yield tmp_path


@pytest.mark.slow
def test_many_processes_start_at_once(tmp_path):
    """None of them is refused, and none loses its run, whether the store is new or not."""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "framework")}
    processes = [
        subprocess.Popen(
            [sys.executable, "-P", "-c", START, str(tmp_path), str(number)],
            stderr=subprocess.PIPE,
            env=environment,
        )
        for number in range(6)
    ]
    errors = [process.communicate(timeout=400)[1].decode() for process in processes]
    assert [process.returncode for process in processes] == [0] * 6, errors
    assert all("Traceback" not in text for text in errors)
    store = Store.open(TrackingOptions(), tmp_path)
    assert {run.data.params["seed"] for run in store.client.search_runs([store.experiment_id])} == set("012345")


def test_a_complete_database_is_opened_without_the_lock(locked, database, monkeypatch):
    database.copy_to(locked / "mlflow.db")
    monkeypatch.setattr("backproof.tracking.database.PATIENCE", 0.0)
    Store.open(TrackingOptions(), locked)
    Store.find(TrackingOptions(), locked)


def test_reading_leaves_no_lock(tmp_path, database):
    database.copy_to(tmp_path / "mlflow.db")
    Store.find(TrackingOptions(experiment="Default"), tmp_path)
    assert os.listdir(tmp_path) == ["mlflow.db"]


def test_a_process_that_hangs_while_creating_is_named(locked, monkeypatch, capsys, new_databases):
    monkeypatch.setattr("backproof.tracking.database.PATIENCE", 0.3)
    monkeypatch.setattr("backproof.tracking.database.NOTICE", 0.0)
    with pytest.raises(
        TrackingError, match=r"process 123 has been creating .*mlflow\.db for 0\.3 s\n.*outputs=DIR"
    ):
        Store.open(TrackingOptions(), locked)
    assert capsys.readouterr().err.count("waiting for process 123, which creates") == 1


@pytest.mark.slow
def test_an_interrupted_creation_is_repeated(tmp_path, new_databases):
    (tmp_path / "mlflow.db.new").write_bytes(b"half")
    (tmp_path / "mlflow.db.new-journal").write_bytes(b"half")
    with sqlite3.connect(tmp_path / "mlflow.db") as half:  # As an earlier version left it.
        half.execute("CREATE TABLE experiments (experiment_id INTEGER)")
        half.execute("CREATE TABLE _alembic_tmp_experiments (experiment_id INTEGER)")
    half.close()
    with Store.open(TrackingOptions(), tmp_path).start("first", {}, {}):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mlflow.db", "mlflow.lock"]


def test_a_creation_that_fails_leaves_no_database(tmp_path, monkeypatch, new_databases):
    from mlflow.store.db import utils

    def fail(engine):
        raise OSError("No space left on device")

    monkeypatch.setattr(utils, "_initialize_tables", fail)
    with pytest.raises(TrackingError, match="No space left on device"):
        Store.open(TrackingOptions(), tmp_path)
    assert os.listdir(tmp_path) == ["mlflow.lock"]


@pytest.mark.parametrize("wrong", ["folder", "text", "long", "other"])
def test_what_is_no_database_is_one_message_at_once(tmp_path, wrong):
    """MLflow would try ten times, which takes two minutes."""
    file = tmp_path / ("x" * 300 if wrong == "long" else "mlflow.db")
    if wrong == "folder":
        file.mkdir()
    if wrong == "text":
        file.write_text("no database at all" * 100)
    if wrong == "other":
        file = type(file)("/proc/mlflow.db")
    start = time.monotonic()
    with pytest.raises(TrackingError, match=r"(cannot record in sqlite|cannot be written).*\n.*outputs=DIR"):
        database.prepare(file, (tmp_path / "mlartifacts").as_uri())
    assert time.monotonic() - start < 5


@pytest.mark.slow
def test_a_database_without_tables_is_created_in_a_new_process(tmp_path):
    """Only a process that has imported MLflow's store knows which tables there must be."""
    sqlite3.connect(tmp_path / "mlflow.db").executescript("CREATE TABLE alembic_version (version_num TEXT)")
    done = subprocess.run(
        [sys.executable, "-P", "-c", START, str(tmp_path), "0"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT / "framework")},
    )
    assert done.returncode == 0, done.stderr
    # It was created by the one process that had the lock, not migrated in place by any that came.
    assert (tmp_path / "mlflow.lock").is_file()
