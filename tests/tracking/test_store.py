"""Opening a store: where runs go, two processes at once, and errors for addresses that cannot be used."""

import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from backproof.contracts.errors import TrackingError
from backproof.tracking import (
    Store,
    TrackingOptions,
)
from backproof.tracking.query import recorded
from backproof.tracking.store import resolve_uri

from tests.helpers.tracking import python, read

# The settings that `Store.open` makes for MLflow also apply to the imports of these tests.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Any type hint is inferred"),
    pytest.mark.usefixtures("new_databases"),
]


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.mark.slow
def test_two_processes_create_a_store_at_the_same_time(tmp_path):
    code = f"""
        from pathlib import Path
        from backproof.tracking import Store, TrackingOptions
        with Store.open(TrackingOptions(), Path({str(tmp_path)!r})).start("raced", {{}}, {{}}) as run:
            run.metrics({{"a": 1.0}}, 1)
    """
    with ThreadPoolExecutor(3) as pool:
        done = list(pool.map(lambda _: python(code), range(3)))
    for process in done:
        assert process.returncode == 0, process.stderr
        # No messages about tables, no warnings from MLflow's modules; on a busy machine, what is waited for.
        lines = (process.stdout + process.stderr).splitlines()
        assert [line for line in lines if "warning: waiting for process" not in line] == []
    store = Store.open(TrackingOptions(), tmp_path)
    assert len(store.client.search_runs([store.experiment_id])) == 3


@pytest.mark.slow
def test_nothing_depends_on_the_working_directory(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    store = Store.open(TrackingOptions(uri="sqlite:///db/own.db"), Path("outputs"))
    monkeypatch.chdir("elsewhere")
    with store.start("moved", {}, {}) as run:
        run.text("x", "a.txt")
    assert (tmp_path / "db/mlartifacts" / run.id / "artifacts/a.txt").read_text() == "x"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["db", "elsewhere"]


def test_where_runs_go(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert resolve_uri(None, Path("o")) == f"sqlite:///{tmp_path}/o/mlflow.db"
    assert resolve_uri("sqlite:///a.db", Path("o")) == f"sqlite:///{tmp_path}/a.db"
    assert resolve_uri("sqlite:////a.db", Path("o")) == "sqlite:////a.db"
    assert resolve_uri("postgresql+psycopg2://h/d", Path("o")) == "postgresql+psycopg2://h/d"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://host:5000")
    assert resolve_uri(None, Path("o")) == "http://host:5000"
    assert resolve_uri("https://other", Path("o")) == "https://other"


@pytest.mark.slow
def test_a_deleted_experiment_is_restored(tmp_path):
    store = Store.open(TrackingOptions(experiment="mine"), tmp_path)
    store.client.delete_experiment(store.experiment_id)
    again = Store.open(TrackingOptions(experiment="mine"), tmp_path)
    assert again.experiment_id == store.experiment_id
    with again.start("back", {}, {}) as run:
        pass
    assert read(run).info.status == "FINISHED"


@pytest.mark.parametrize("uri", ["foo://x", "mlruns", "./mlruns", "/abs/mlruns", "file:///tmp/mlruns"])
def test_addresses_that_mlflow_cannot_use(uri, tmp_path):
    with pytest.raises(TrackingError, match=r"tracking URI.*(folder|scheme)[\s\S]*tracking=off"):
        Store.open(TrackingOptions(uri=uri), tmp_path)


def test_a_file_that_is_not_a_database(tmp_path):
    (tmp_path / "mlflow.db").write_text("no database at all" * 100)
    with pytest.raises(TrackingError, match=r"cannot record in sqlite:///.*mlflow\.db"):
        Store.open(TrackingOptions(), tmp_path)


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "outputs").write_text("a file is in the way")
    with pytest.raises(TrackingError, match=f"the folder {tmp_path}/outputs cannot be written.*\n.*outputs="):
        Store.open(TrackingOptions(), tmp_path / "outputs")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(TrackingError, match="Permission denied"):
        Store.open(TrackingOptions(), tmp_path)


def test_a_server_that_refuses(tmp_path):
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    uri = f"http://127.0.0.1:{port}"
    with pytest.raises(TrackingError, match=rf"no MLflow server answers at {uri}: Connection refused\n"):
        Store.open(TrackingOptions(uri=uri), tmp_path)


def test_a_server_that_never_answers(tmp_path, monkeypatch):
    """The server accepts the connection and never answers."""
    monkeypatch.setattr("backproof.tracking.store.PATIENCE", 0.3)
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        uri = f"http://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(TrackingError, match=f"no MLflow server answers at {uri}: no answer within 0.3 s"):
            Store.open(TrackingOptions(uri=uri), tmp_path)


def test_another_server_answers(tmp_path, monkeypatch):
    """The server is not MLflow."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with closing(socket.create_server(("127.0.0.1", 0))) as server:

        def answer():
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(1 << 16)
                    connection.sendall(
                        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                    )

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        uri = f"http://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(TrackingError, match=f"cannot record in {uri}"):
            Store.open(TrackingOptions(uri=uri), tmp_path)


def test_links_come_first_in_the_description(store):
    """MLflow collapses the end of a long description."""
    note = {"mlflow.note.content": "a network\n\n```\nbackproof train\n```"}
    with store.start("linked", {}, note, links={"gradient check": "gradcheck.html"}) as run:
        pass
    address = f"#/experiments/{store.experiment_id}/runs/{run.id}/artifacts/gradcheck.html"
    text = read(run).data.tags["mlflow.note.content"]
    assert text == f"[gradient check]({address})\n\n{note['mlflow.note.content']}"
    assert recorded(read(run)).command == "backproof train"


def test_a_renamed_run_has_the_new_name_everywhere(store):
    with store.start("right", {}, {}) as run:
        run.rename("wrong-right")
        assert run.name == "wrong-right"
    assert read(run).info.run_name == "wrong-right"
