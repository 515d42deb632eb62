"""Runs recorded in MLflow: what can be read back, and how runs end, well or badly."""

import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from backproof.contracts.errors import InvalidValue, TrackingError
from backproof.tracking import (
    Run,
    Store,
    Terminated,
    TrackingOptions,
    check_terminated,
    environment,
    terminate_on_sigterm,
)
from backproof.tracking.environment import git_state
from backproof.tracking.store import resolve_uri

from tests.helpers.experiments import saved_model

ROOT = Path(__file__).resolve().parents[2]
# What `Store.open` gives MLflow is also for the tests' own imports of it.
pytestmark = pytest.mark.filterwarnings("ignore:Any type hint is inferred")


@pytest.fixture(scope="session")
def outputs(tmp_path_factory):
    return tmp_path_factory.mktemp("outputs")


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def store(outputs):
    return Store.open(TrackingOptions(), outputs)


def read(run):
    return run.client.get_run(run.id)


def history(run, name):
    return [(metric.step, metric.value) for metric in run.client.get_metric_history(run.id, name)]


def python(code, **kwargs):
    """Run code in a process of its own."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", textwrap.dedent(code)]
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=120, **kwargs)


def test_options_are_checked():
    assert TrackingOptions().tags == {}
    with pytest.raises(InvalidValue, match="flush_seconds must be > 0"):
        TrackingOptions(flush_seconds=0)


def test_importing_the_room_does_not_import_mlflow():
    done = python("import sys, backproof.tracking; assert 'mlflow' not in sys.modules")
    assert done.returncode == 0, done.stderr


def test_params_tags_metrics_and_artifacts_are_there(store, outputs, tmp_path):
    note = tmp_path / "note.txt"
    note.write_text("hello")
    tags = {"mlflow.note.content": "# a note", "backproof.sweep": "s"}
    params = {"optimizer.lr": 0.1, "model.hidden": [32, 16], "long": "x" * 7000, "none": None, "yes": True}
    with store.start("a name", params, tags, parent="abc") as run:
        assert read(run).info.status == "RUNNING"
        for epoch in range(1, 4):
            run.metrics({"train/loss": 1 / epoch, "val/loss": 2 / epoch}, epoch)
        run.tags({"backproof.gradcheck": "passed"})
        run.dict({"a": [1, 2], "path": Path("x")}, "deep/er/gradcheck.json")
        run.text("text ✓", "note.md")
        run.figure(b"\x89PNG", "plots/curves.png")
        run.file(note, "config")
        run.dataset("digits", "0123", {"plugin": "digits"}, {"rows": 3}, "train")
    found = read(run)
    assert found.info.status == "FINISHED"
    assert found.info.run_name == "a name"
    assert found.info.end_time >= found.info.start_time
    assert found.data.params.keys() == params.keys()
    assert found.data.params["optimizer.lr"] == "0.1"
    assert found.data.params["model.hidden"] == "[32, 16]"
    assert found.data.params["none"] == "null"
    assert found.data.params["yes"] == "true"
    assert len(found.data.params["long"]) == 6000
    assert found.data.params["long"].endswith("[cut]")
    expected = {"mlflow.parentRunId": "abc", "mlflow.source.name": "backproof", "backproof.gradcheck": "passed"}
    assert found.data.tags.items() >= (expected | tags).items()
    assert history(run, "train/loss") == [(1, 1.0), (2, 0.5), (3, 1 / 3)]
    (dataset,) = found.inputs.dataset_inputs
    assert (dataset.dataset.name, dataset.tags[0].value) == ("digits", "train")
    folder = outputs / "mlartifacts" / run.id / "artifacts"
    assert json.loads((folder / "deep/er/gradcheck.json").read_text()) == {"a": [1, 2], "path": "x"}
    assert (folder / "note.md").read_text(encoding="utf-8") == "text ✓"
    assert (folder / "plots/curves.png").read_bytes() == b"\x89PNG"
    assert (folder / "config/note.txt").read_text() == "hello"


def test_many_params_and_metrics_go_in_several_batches(store):
    with store.start("many", {f"p{i}": i for i in range(250)}, {f"t{i}": "x" for i in range(120)}) as run:
        for epoch in range(300):
            run.metrics({f"m{i}": epoch + i for i in range(8)}, epoch)
    found = read(run).data
    assert len(found.params) == 250
    assert len([tag for tag in found.tags if tag[0] == "t"]) == 120
    assert all(history(run, f"m{i}") == [(e, e + i) for e in range(300)] for i in range(8))


def test_metrics_are_written_together(store, monkeypatch):
    """Nothing before flush_seconds have passed, then all that waits, in one call."""
    with store.start("buffered", {}, {}) as run:
        calls, original, now = [], run.client.log_batch, [run._next_flush - 0.5]
        monkeypatch.setattr(run.client, "log_batch", lambda *a, **k: calls.append(k) or original(*a, **k))
        monkeypatch.setattr("backproof.tracking.run.time.monotonic", lambda: now[0])
        run.metrics({"a": 1, "b": 2}, 1)
        assert not calls
        now[0] += 0.6
        run.metrics({"a": 2}, 2)
        assert [len(call["metrics"]) for call in calls] == [3]
        run.metrics({"a": 3}, 3)
        assert len(calls) == 1
    assert [len(call["metrics"]) for call in calls] == [3, 1]


def test_numbers_that_are_not_finite(store):
    """NaN is stored; an infinite one is left out, not written as 1.8e308."""
    with store.start("odd", {}, {}) as run:
        run.metrics(
            {"nan": float("nan"), "inf": float("inf"), "minus": -float("inf"), "np": np.float32(0.5)}, 1
        )
    assert np.isnan(history(run, "nan")[0][1])
    assert history(run, "inf") == history(run, "minus") == []
    assert history(run, "np") == [(1, 0.5)]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("no good"), "FAILED"),
        (KeyboardInterrupt(), "KILLED"),
        (Terminated("stopped"), "KILLED"),
        (SystemExit(0), "FINISHED"),
        (SystemExit(1), "FAILED"),
        (SystemExit(143), "KILLED"),
    ],
)
def test_how_a_run_ends(store, error, status):
    with pytest.raises(type(error)) as caught, store.start("ends", {}, {}) as run:  # noqa: PT012
        run.metrics({"loss": 1.0}, 1)
        raise error
    assert caught.value is error
    assert not getattr(error, "__notes__", [])
    found = read(run)
    assert found.info.status == status
    assert history(run, "loss") == [(1, 1.0)]
    text = found.data.tags.get("backproof.error")
    assert text == (f"{type(error).__name__}: {error}" if status == "FAILED" else None)


def test_a_run_that_was_finished_stays_as_it_is(store):
    with store.start("own status", {}, {}) as run:
        run.finish("FAILED")
    assert read(run).info.status == "FAILED"


def failing(monkeypatch, client, name):
    from mlflow.exceptions import MlflowException

    def fail(*args, **kwargs):
        raise MlflowException("the database has gone")

    monkeypatch.setattr(client, name, fail)


def test_an_error_of_the_training_is_told_before_one_of_the_store(store, monkeypatch):
    with (  # noqa: PT012
        pytest.raises(ZeroDivisionError) as caught,
        monkeypatch.context() as patched,
        store.start("both", {}, {}) as run,
    ):
        run.metrics({"loss": 1.0}, 1)
        failing(patched, run.client, "log_batch")
        failing(patched, run.client, "set_terminated")
        raise ZeroDivisionError
    (note,) = caught.value.__notes__
    assert "could not be ended in MLflow" in note
    assert "the database has gone" in note


def test_a_store_that_is_lost_at_the_end_is_an_error(store, monkeypatch):
    with (  # noqa: PT012
        pytest.raises(TrackingError, match=r"cannot record in sqlite:.*the database has gone"),
        monkeypatch.context() as patched,
        store.start("lost", {}, {}) as run,
    ):
        run.metrics({"loss": 1.0}, 1)
        failing(patched, run.client, "log_batch")
    assert read(run).info.status == "FAILED", "what is not recorded has not been done"


def test_a_store_that_is_away_for_a_while_loses_nothing(store, monkeypatch, caplog):
    now = [time.monotonic()]
    monkeypatch.setattr("backproof.tracking.run.time.monotonic", lambda: now[0])
    with store.start("away", {}, {}) as run, caplog.at_level(logging.WARNING, "backproof"):
        with monkeypatch.context() as patched:
            failing(patched, run.client, "log_batch")
            now[0] += 2
            run.metrics({"loss": 1.0}, 1)
            now[0] += 2
            run.metrics({"loss": 2.0}, 2)
        assert len(caplog.records) == 1  # It is not asked again at once, which would hold up the training.
        assert "the database has gone" in caplog.text
        now[0] += 60
        run.metrics({"loss": 3.0}, 3)
        assert history(run, "loss") == [(1, 1.0), (2, 2.0), (3, 3.0)]


def test_the_active_run_and_address_of_the_user_are_not_touched(store, tmp_path):
    import mlflow

    before = mlflow.get_tracking_uri()
    with store.start("apart", {}, {}) as run:
        run.model(saved_model(tmp_path)[0])
        assert mlflow.active_run() is None
    assert mlflow.get_tracking_uri() == before


def test_two_processes_that_make_a_store_at_the_same_time(tmp_path):
    code = f"""
        from pathlib import Path
        from backproof.tracking import Store, TrackingOptions
        with Store.open(TrackingOptions(), Path({str(tmp_path)!r})).start("raced", {{}}, {{}}) as run:
            run.metrics({{"a": 1.0}}, 1)
    """
    with ThreadPoolExecutor(3) as pool:
        done = list(pool.map(lambda _: python(code), range(3)))
    for each in done:
        assert each.returncode == 0, each.stderr
        # Not a line about tables, nor a warning of MLflow's modules.
        assert each.stdout + each.stderr == ""
    store = Store.open(TrackingOptions(), tmp_path)
    assert len(store.client.search_runs([store.experiment_id])) == 3


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


def test_a_deleted_experiment_is_taken_back(tmp_path):
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


def test_a_database_that_is_none(tmp_path):
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
    """It accepts the connection and says nothing."""
    monkeypatch.setattr("backproof.tracking.store.PATIENCE", 0.3)
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        uri = f"http://127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(TrackingError, match=f"no MLflow server answers at {uri}: no answer within 0.3 s"):
            Store.open(TrackingOptions(uri=uri), tmp_path)


def test_something_else_that_answers(tmp_path, monkeypatch):
    """A server that knows nothing of MLflow."""
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


def test_sigterm_ends_a_run_as_killed(outputs, store, tmp_path):
    """What was measured until then is there, and a second SIGTERM does not break off the end."""
    code = f"""
        import os, signal, time
        from pathlib import Path
        from backproof.tracking import Store, TrackingOptions, Terminated, terminate_on_sigterm
        store = Store.open(TrackingOptions(flush_seconds=1000), Path({str(outputs)!r}))
        try:
            with terminate_on_sigterm(), store.start("killed", {{}}, {{}}) as run:
                run.metrics({{"loss": 1.0}}, 1)
                Path({str(tmp_path / "id")!r}).write_text(run.id)
                try:
                    os.kill(os.getpid(), signal.SIGTERM)
                    time.sleep(60)
                finally:
                    os.kill(os.getpid(), signal.SIGTERM)
        except Terminated:
            raise SystemExit(143)
    """
    done = python(code)
    assert done.returncode == 143, done.stderr
    run_id = (tmp_path / "id").read_text()
    found = store.client.get_run(run_id)
    assert found.info.status == "KILLED"
    assert found.data.metrics == {"loss": 1.0}


def test_the_handler_of_sigterm_is_put_back():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Terminated), terminate_on_sigterm():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before
    # Not in the main thread, where handlers cannot be set, it does nothing.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: terminate_on_sigterm().__enter__()).result()
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_ctrl_c_that_a_callback_loses_is_raised_again_and_the_second_one_is_at_once():
    before = signal.getsignal(signal.SIGINT)
    with terminate_on_sigterm():
        with contextlib.suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            check_terminated()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGINT) is before
    with terminate_on_sigterm():
        check_terminated()  # Nothing has come since.


@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)]
)
def test_a_signal_does_not_break_off_what_is_being_written(store, monkeypatch, number, error):
    """It would leave the database locked, and the run could not be ended."""
    seen = []

    def slow(*args, **kwargs):
        os.kill(os.getpid(), number)
        seen.append("written")

    with terminate_on_sigterm(), pytest.raises(error), store.start("slow", {}, {}) as run:  # noqa: PT012
        run.metrics({"loss": 1.0}, 1)
        with monkeypatch.context() as patched:
            patched.setattr(run.client, "log_batch", slow)
            run.flush()
        seen.append("after")
    assert seen == ["written"]
    assert read(run).info.status == "KILLED"


def test_the_second_ctrl_c_is_not_held_back(store, monkeypatch):
    seen = []

    def hangs(*args, **kwargs):
        os.kill(os.getpid(), signal.SIGINT)
        seen.append("first")
        os.kill(os.getpid(), signal.SIGINT)
        seen.append("second")

    with terminate_on_sigterm(), store.start("hangs", {}, {}) as run:
        run.metrics({"loss": 1.0}, 1)
        with monkeypatch.context() as patched:
            patched.setattr(run.client, "log_batch", hangs)
            with pytest.raises(KeyboardInterrupt):
                run.flush()
    assert seen == ["first"]


def test_ctrl_c_that_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with terminate_on_sigterm():
            os.kill(os.getpid(), signal.SIGINT)
            check_terminated()
    finally:
        signal.signal(signal.SIGINT, before)


def test_the_model_loads_in_a_fresh_process_from_another_directory(store, tmp_path):
    folder, X, expected = saved_model(tmp_path)
    with store.start("with a model", {}, {}) as run:
        model_id = run.model(folder)
    found = read(run)
    assert [output.model_id for output in found.outputs.model_outputs] == [model_id]
    logged = store.client.get_logged_model(model_id)
    assert (logged.name, logged.source_run_id, str(logged.status)) == ("model", run.id, "READY")
    np.save(tmp_path / "X.npy", X)
    code = f"""
        import warnings; warnings.simplefilter("ignore")
        import mlflow, numpy, pandas
        mlflow.set_tracking_uri({store.uri!r})
        X = pandas.DataFrame(numpy.load("X.npy"), columns=["a", "b c", "d"])
        for uri in ("runs:/{run.id}/model", "models:/{model_id}"):
            model = mlflow.pyfunc.load_model(uri)
            table = model.predict(X[["d", "a", "b c"]])
            assert list(table) == model.metadata.signature.outputs.input_names(), list(table)
            numpy.save("found.npy", table[["probability_no", "probability_yes"]].to_numpy())
            assert set(table["prediction"]) == {{"no", "yes"}}
        try:
            model.predict(X[["a", "d"]])
        except Exception as error:
            assert "b c" in str(error), error
        else:
            raise AssertionError("a missing column was taken")
    """
    # The working directory is another one; the code is found by PYTHONPATH.
    done = python(code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert np.load(tmp_path / "found.npy").tobytes() == expected.tobytes()


def test_requirements_of_the_model_are_given(store, outputs, tmp_path):
    folder, _, _ = saved_model(tmp_path)
    with store.start("requirements", {}, {}) as run:
        model_id = run.model(folder)
    local = Path(store.client.get_logged_model(model_id).artifact_location.removeprefix("file://"))
    lines = (local / "requirements.txt").read_text().split()
    assert {line.partition("==")[0] for line in lines} == {
        "backproof", "numpy", "scipy", "scikit-learn", "mlflow"
    }  # fmt: skip
    assert all(line.partition("==")[2] for line in lines)


def test_the_environment_says_what_a_run_was_computed_with():
    found = environment()
    assert found["python"] == sys.version.split()[0]
    assert found["packages"]["numpy"] == np.__version__
    assert found["cpu_count"] == os.cpu_count()
    assert found["cpu"]
    assert all(pool["threads"] >= 1 for pool in found["blas"])
    json.dumps(found)


def test_the_commit_and_whether_files_differ_from_it(tmp_path):
    def git(*args):
        identity = ["-c", "user.name=n", "-c", "user.email=e@x"]
        done = subprocess.run(
            ["git", *identity, *args], cwd=tmp_path, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    assert git_state(str(tmp_path)) == (None, None)
    git("init")
    (tmp_path / "file").write_text("a")
    git("add", ".")
    git("commit", "-m", "m")
    (tmp_path / "new").mkdir()
    git_state.cache_clear()
    assert git_state(str(tmp_path / "new")) == (git("rev-parse", "HEAD"), False)
    (tmp_path / "file").write_text("b")
    assert git_state(str(tmp_path)) == (git("rev-parse", "HEAD"), True)
    git_state.cache_clear()


def test_a_run_is_what_start_gives(store):
    with store.start("typed", {}, {}) as run:
        assert isinstance(run, Run)
        assert run.id == run.info.run_id
