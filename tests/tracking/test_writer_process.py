"""Runs written by another process: the records are the same, also if one of the processes dies."""

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from backproof.app.sweep_options import SweepOptions
from backproof.contracts.errors import InvalidValue, TrackingError
from backproof.sweeps import locks, sweeper
from backproof.tracking import Store, Terminated, TrackingOptions
from backproof.tracking.writer_process import Writer
from filelock import FileLock, Timeout

from tests.helpers.command import BACKPROOF, client
from tests.helpers.experiments import saved_model
from tests.helpers.sweeps import SMALL, children, hashes, parents, stacked

pytestmark = pytest.mark.filterwarnings("ignore:Any type hint is inferred")
ERRORS = [
    (None, "FINISHED"),
    (ValueError("no good"), "FAILED"),
    (KeyboardInterrupt(), "KILLED"),
    (Terminated("stopped"), "KILLED"),
]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    return tmp_path_factory.mktemp("outputs")


@pytest.fixture(scope="module")
def store(outputs):
    """One that writes nothing by the clock."""
    return Store.open(TrackingOptions(uri=f"sqlite:///{outputs}/mlflow.db", flush_seconds=1000), outputs)


@pytest.fixture(scope="module")
def writer(store, outputs):
    with Writer() as made, made.at_work(store, outputs / "writer.lock"):
        yield made


def record(starter, folder, parent):
    """Everything that a run may record."""
    with starter.start("a", {"lr": 0.1, "hidden": [3, 4], "none": None, "on": True}, {"t": "1"}, parent) as run:
        run.dataset("iris", "abc", {"plugin": "iris"}, {"features": 4}, "train")
        run.metrics({"loss": np.float32(0.5), "nan": float("nan"), "inf": float("inf")}, 1)
        run.metrics({"loss": 0.25}, 2)
        run.tags({"later": "é"})
        run.tags({})
        run.folder(folder)
    run.wait_until_written()
    assert run.name == "a"
    return run.id


def content(store, run_id):
    """Return everything that was recorded of a run."""
    recorded = store.client.get_run(run_id)
    tags = {key: value for key, value in recorded.data.tags.items() if key != "mlflow.log-model.history"}
    names = recorded.data.metrics
    return {
        "info": (recorded.info.status, recorded.info.run_name),
        "params": recorded.data.params,
        "tags": tags,
        "metrics": {
            name: [(metric.step, str(metric.value)) for metric in store.client.get_metric_history(run_id, name)]
            for name in names
        },
        "inputs": [
            (entry.dataset.name, entry.dataset.digest, entry.dataset.source)
            for entry in recorded.inputs.dataset_inputs
        ],
        "artifacts": [artifact.path for artifact in store.client.list_artifacts(run_id)],
    }


def until(condition, seconds=30):
    """Wait until a condition holds."""
    for _ in range(int(seconds / 0.05)):
        if condition():
            return True
        time.sleep(0.05)
    return False


@pytest.mark.slow
def test_the_record_is_the_same_as_by_this_process(store, writer, tmp_path):
    (tmp_path / "a.txt").write_text("a")
    parent = store.start("parent", {}, {})
    direct, by_process = (content(store, record(starter, tmp_path, parent.id)) for starter in (store, writer))
    parent.finish()
    assert direct == by_process
    assert by_process["metrics"]["loss"] == [(1, "0.5"), (2, "0.25")]
    assert set(by_process["metrics"]) == {"loss", "nan"}
    assert by_process["artifacts"] == ["a.txt"]


@pytest.mark.slow
@pytest.mark.parametrize(("error", "status"), ERRORS, ids=str)
def test_how_a_run_ends(store, writer, error, status):
    with contextlib.suppress(BaseException) if error else contextlib.nullcontext():  # noqa: SIM117
        with writer.start("ends", {}, {}) as run:
            run.metrics({"loss": 1.0}, 1)
            if error:
                raise error
    run.wait_until_written()
    recorded = store.client.get_run(run.id)
    assert recorded.info.status == status
    assert recorded.data.metrics == {"loss": 1.0}
    expected = f"{type(error).__name__}: {error}" if status == "FAILED" else None
    assert recorded.data.tags.get("backproof.error") == expected


def test_a_model_is_logged(store, writer, tmp_path):
    saved_model(tmp_path)
    with writer.start("model", {}, {}) as run:
        model_id = run.model(tmp_path / "network")
    run.wait_until_written()
    (logged,) = store.client.get_run(run.id).outputs.model_outputs
    assert logged.model_id == model_id


def test_a_failed_write_is_reported_at_the_end_of_its_run_only(store, writer):
    one, other = (writer.start(name, {}, {}) for name in ("one", "other"))
    one.metrics({"no[name]": 1.0}, 1)
    for run in (one, other):
        run.metrics({"loss": 1.0}, 1)
        run.finish()
    with pytest.raises(TrackingError, match=r"cannot record in sqlite:"):
        one.wait_until_written()
    other.wait_until_written()
    assert [store.client.get_run(run.id).info.status for run in (one, other)] == ["FAILED", "FINISHED"]


def test_a_run_that_cannot_be_started(store, writer):
    run = writer.start("bad", {"no[name]": 1}, {})
    run.metrics({"loss": 1.0}, 1)
    with pytest.raises(TrackingError, match="cannot record in"):
        _ = run.id
    run.finish()
    with pytest.raises(TrackingError, match="cannot record in"):
        run.wait_until_written()
    (recorded,) = store.client.search_runs([store.experiment_id], "attributes.run_name = 'bad'")
    assert recorded.info.status == "FAILED"


def test_unfinished_runs_are_not_waited_for(writer):
    run = writer.start("going", {}, {})
    run.wait_until_written()
    run.finish()
    run.wait_until_written()


def test_waiting_metrics_are_written_when_idle(store, writer):
    """They are written before the run ends, and before flush_seconds have passed."""
    run = writer.start("long", {}, {})
    for epoch in range(60):
        run.metrics({"loss": 1.0 / (epoch + 1)}, epoch)
    assert until(lambda: len(store.client.get_metric_history(run.id, "loss")) >= 40)
    assert store.client.get_run(run.id).info.status == "RUNNING"
    run.finish()
    run.wait_until_written()
    assert len(store.client.get_metric_history(run.id, "loss")) == 60


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_are_ignored(writer, number):
    assert writer.start("before", {}, {}).id
    os.kill(writer._process.pid, number)
    run = writer.start("after", {}, {})
    run.finish()
    run.wait_until_written()
    assert writer._process.poll() is None


@pytest.mark.slow
def test_the_lock_is_held_while_there_is_something_to_write(store, tmp_path):
    lock = tmp_path / "writer.lock"
    with Writer() as made:
        with made.at_work(store, lock):
            run = made.start("locked", {}, {})
            assert run.id
            with pytest.raises(Timeout):
                FileLock(lock).acquire(timeout=0)
            run.finish()
        assert not lock.exists()
        assert store.client.get_run(run.id).info.status == "FINISHED"
        with pytest.raises(TrackingError, match="has died"):
            made.start("too late", {}, {})


@pytest.mark.slow
def test_if_its_parent_dies_it_ends_the_unfinished_runs(store, tmp_path):
    made = Writer()
    with pytest.raises(TrackingError), made.at_work(store, tmp_path / "writer.lock"):  # noqa: PT012
        runs = [made.start(f"orphan {i}", {}, {}) for i in range(2)]
        ids = [run.id for run in runs]
        runs[0].metrics({"loss": 1.0}, 1)
        runs[1].finish()
        # As the system does when the parent is killed.
        made._process.stdin.close()
        made._process.wait(30)
        made.send({})
    recorded = [store.client.get_run(run_id) for run_id in ids]
    assert [run.info.status for run in recorded] == ["KILLED", "FINISHED"]
    assert recorded[0].data.metrics == {"loss": 1.0}
    assert not (tmp_path / "writer.lock").exists()


@pytest.mark.slow
def test_its_death_is_an_error_in_the_parent(store, tmp_path):
    with Writer() as made, made.at_work(store, tmp_path / "writer.lock"):
        run = made.start("lost", {}, {})
        assert run.id
        made._process.kill()
        made._process.wait()
        with pytest.raises(TrackingError, match=r"has died .*sweep.writer=off"):  # noqa: PT012
            for _ in range(100):  # A pipe accepts some lines before it is reported broken.
                run.metrics({"loss": 1.0}, 1)
            run.finish()
            run.wait_until_written()


def test_a_resumed_sweep_waits_for_runs_that_are_still_being_written(tmp_path):
    lock = FileLock(locks.writer_lock(tmp_path))
    lock.acquire()
    entered = []

    def enter():
        with locks.sweeping(tmp_path):
            entered.append(time.monotonic())

    thread = threading.Thread(target=enter)
    thread.start()
    time.sleep(0.5)
    assert not entered
    released = time.monotonic()
    lock.release()
    thread.join(20)
    assert entered
    assert entered[0] >= released
    assert not (tmp_path / locks.FOLDER).exists()


def test_it_does_not_wait_forever(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "PATIENCE", 0.1)
    with (
        FileLock(locks.writer_lock(tmp_path)),
        pytest.raises(locks.LockedError, match=r"still being written after 0\.1 s"),
        locks.sweeping(tmp_path),
    ):
        pass


class TestSweepWriter:
    """Whether a sweep uses a writer process, by its options and points."""

    @pytest.fixture
    def writers(self, monkeypatch):
        """Collect the writers that are created. In these tests 3 points are many, and there are 2 processors."""
        made = []

        class Counted(Writer):
            def __init__(self):
                made.append(self)
                super().__init__()

        monkeypatch.setattr(sweeper, "Writer", Counted)
        monkeypatch.setattr(sweeper, "WORTH_A_WRITER", 3)
        monkeypatch.setattr(sweeper, "processors", lambda: 2)
        return made

    @pytest.mark.slow
    def test_for_many_stacked_points(self, workdir, writers, capfd):
        assert stacked("seed=0,1,2", "gradcheck=on") == 0
        assert len(writers) == 1
        assert writers[0]._process.returncode == 0
        shown = capfd.readouterr()
        assert "3/3" in shown.out
        assert not shown.err
        with_one = children(parents()[0], "FINISHED")
        assert stacked("seed=0,1,2", "gradcheck=on", "sweep.writer=off", "sweep.resume=off") == 0
        assert len(writers) == 1
        without = children(parents()[-1], "FINISHED")
        assert hashes(with_one) == hashes(without)
        for run in with_one:
            (same,) = (r for r in without if r.data.params == run.data.params)
            assert same.data.metrics == run.data.metrics
            assert set(same.data.tags) == set(run.data.tags)
            files = [
                {artifact.path for artifact in client().list_artifacts(r.info.run_id)} for r in (run, same)
            ]
            assert files[0] ^ files[1] <= {"plots"}, "those of the best"

    @pytest.mark.slow
    @pytest.mark.parametrize(
        "args",
        [
            ["seed=0,1"],
            ["seed=0,1,2", "sweep.stack=off"],
            ["seed=0,1,2", "tracking=off"],
            ["seed=0,1,2", "sweep.writer=off"],
        ],
        ids=str,
    )
    def test_not_otherwise(self, workdir, writers, args):
        assert stacked(*args) == 0
        assert not writers

    @pytest.mark.slow
    def test_not_on_one_processor(self, workdir, writers, monkeypatch):
        monkeypatch.setattr(sweeper, "processors", lambda: 1)
        assert stacked("seed=0,1,2") == 0
        assert not writers

    @pytest.mark.slow
    def test_for_single_points_and_searches_on_request(self, workdir, writers):
        args = ["sweep.sampler=tpe", "sweep.n_trials=3", "optimizer.lr=interval(0.01,1)", "sweep.pruner=median"]
        assert stacked(*args, "sweep.writer=on", "sweep.stack=off") == 0
        assert len(writers) == 1
        assert len(children(parents()[0], "FINISHED")) == 3

    def test_other_values_are_rejected(self):
        with pytest.raises(InvalidValue, match="one of auto, on, off"):
            SweepOptions(writer="yes")


@pytest.mark.slow
def test_points_whose_writer_dies_have_failed_and_are_run_again(workdir, monkeypatch, capfd):
    """A run that is not recorded counts as failed, whatever its result was."""

    class Dies(Writer):
        def start(self, *args, **kwargs):
            run = super().start(*args, **kwargs)
            if self._process.poll() is None and run._number == 2:
                assert run.id
                self._process.kill()
                self._process.wait()
            return run

    with monkeypatch.context() as patched:
        patched.setattr(sweeper, "Writer", Dies)
        assert stacked("seed=0,1,2,3", "sweep.writer=on") == 1
    assert "the process that writes to MLflow has died" in capfd.readouterr().out
    assert children(parents()[0], "FINISHED") == []
    assert stacked("seed=0,1,2,3", "sweep.writer=on") == 0
    (parent,) = parents()
    assert sorted(int(run.data.params["seed"]) for run in children(parent, "FINISHED")) == [0, 1, 2, 3]
    assert {run.info.status for run in children(parent)} <= {"FINISHED", "KILLED"}


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_sweep_is_resumed(workdir, number):
    """No run is duplicated or missing, and none is RUNNING after the writer has ended."""
    small = ["train", "-m", *SMALL, "seed=range(12)", "train.epochs=200"]
    args = [*BACKPROOF, *small, "sweep.stack_size=3", "sweep.writer=on"]
    # Create the store first: reading it below while it is being created would break it.
    Store.open(TrackingOptions(), workdir / "outputs")
    first = subprocess.Popen(args, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
    assert until(lambda: _finished() >= 2, 120)
    # To the process group, as a terminal sends Ctrl-C.
    os.killpg(first.pid, number)
    _, errors = first.communicate(timeout=60)
    assert first.returncode == {signal.SIGKILL: -9, signal.SIGINT: 130, signal.SIGTERM: 143}[number], errors
    if number == signal.SIGKILL:
        folder = Path(parents()[0].data.tags["backproof.folder"])
        assert until(lambda: not (folder / ".running/writer.lock").exists())
    assert {run.info.status for run in children(parents()[0])} <= {"FINISHED", "KILLED"}
    done = subprocess.run(args, check=False, timeout=120, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (parent,) = parents()
    assert sorted(int(run.data.params["seed"]) for run in children(parent, "FINISHED")) == list(range(12))
    for run in children(parent, "FINISHED"):
        folder = Path(run.data.tags["backproof.folder"])
        assert (
            json.loads((folder / "summary.json").read_text())["metrics"]["val/loss"]
            == run.data.metrics["val/loss"]
        )


def _finished():
    with contextlib.suppress(Exception):
        return len(children(parents()[0], "FINISHED"))
    return 0
