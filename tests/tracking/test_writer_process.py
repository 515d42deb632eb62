"""Runs that another process writes: the same is recorded, whoever writes it and whoever dies."""

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
from backproof.tracking import Store, Terminated, TrackingOptions, Writer
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
    """What is there of a run."""
    found = store.client.get_run(run_id)
    tags = {key: value for key, value in found.data.tags.items() if key != "mlflow.log-model.history"}
    names = found.data.metrics
    return {
        "info": (found.info.status, found.info.run_name),
        "params": found.data.params,
        "tags": tags,
        "metrics": {
            name: [(each.step, str(each.value)) for each in store.client.get_metric_history(run_id, name)]
            for name in names
        },
        "inputs": [
            (each.dataset.name, each.dataset.digest, each.dataset.source)
            for each in found.inputs.dataset_inputs
        ],
        "artifacts": [each.path for each in store.client.list_artifacts(run_id)],
    }


def until(condition, seconds=30):
    """Wait for something to come true."""
    for _ in range(int(seconds / 0.05)):
        if condition():
            return True
        time.sleep(0.05)
    return False


@pytest.mark.slow
def test_the_same_is_recorded_as_by_this_process(store, writer, tmp_path):
    (tmp_path / "a.txt").write_text("a")
    parent = store.start("parent", {}, {})
    own, other = (content(store, record(each, tmp_path, parent.id)) for each in (store, writer))
    parent.finish()
    assert own == other
    assert other["metrics"]["loss"] == [(1, "0.5"), (2, "0.25")]
    assert set(other["metrics"]) == {"loss", "nan"}
    assert other["artifacts"] == ["a.txt"]


@pytest.mark.slow
@pytest.mark.parametrize(("error", "status"), ERRORS, ids=str)
def test_how_a_run_ends(store, writer, error, status):
    with contextlib.suppress(BaseException) if error else contextlib.nullcontext():  # noqa: SIM117
        with writer.start("ends", {}, {}) as run:
            run.metrics({"loss": 1.0}, 1)
            if error:
                raise error
    run.wait_until_written()
    found = store.client.get_run(run.id)
    assert found.info.status == status
    assert found.data.metrics == {"loss": 1.0}
    expected = f"{type(error).__name__}: {error}" if status == "FAILED" else None
    assert found.data.tags.get("backproof.error") == expected


def test_a_model_is_logged_there(store, writer, tmp_path):
    saved_model(tmp_path)
    with writer.start("model", {}, {}) as run:
        found = run.model(tmp_path / "network")
    run.wait_until_written()
    (logged,) = store.client.get_run(run.id).outputs.model_outputs
    assert logged.model_id == found


def test_what_cannot_be_written_is_told_at_the_end_of_its_run_and_of_no_other(store, writer):
    one, other = (writer.start(name, {}, {}) for name in ("one", "other"))
    one.metrics({"no[name]": 1.0}, 1)
    for run in (one, other):
        run.metrics({"loss": 1.0}, 1)
        run.finish()
    with pytest.raises(TrackingError, match=r"cannot record in sqlite:"):
        one.wait_until_written()
    other.wait_until_written()
    assert [store.client.get_run(run.id).info.status for run in (one, other)] == ["FAILED", "FINISHED"]


def test_a_run_that_cannot_be_begun(store, writer):
    run = writer.start("bad", {"no[name]": 1}, {})
    run.metrics({"loss": 1.0}, 1)
    with pytest.raises(TrackingError, match="cannot record in"):
        _ = run.id
    run.finish()
    with pytest.raises(TrackingError, match="cannot record in"):
        run.wait_until_written()
    (found,) = store.client.search_runs([store.experiment_id], "attributes.run_name = 'bad'")
    assert found.info.status == "FAILED"


def test_a_run_that_is_not_finished_is_not_waited_for(writer):
    run = writer.start("going", {}, {})
    run.wait_until_written()
    run.finish()
    run.wait_until_written()


def test_time_is_used_to_write_what_is_waiting(store, writer):
    """Before the run ends, and although it is not yet time for it."""
    run = writer.start("long", {}, {})
    for epoch in range(60):
        run.metrics({"loss": 1.0 / (epoch + 1)}, epoch)
    assert until(lambda: len(store.client.get_metric_history(run.id, "loss")) >= 40)
    assert store.client.get_run(run.id).info.status == "RUNNING"
    run.finish()
    run.wait_until_written()
    assert len(store.client.get_metric_history(run.id, "loss")) == 60


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_are_for_the_owner(writer, number):
    assert writer.start("before", {}, {}).id
    os.kill(writer._process.pid, number)
    run = writer.start("after", {}, {})
    run.finish()
    run.wait_until_written()
    assert writer._process.poll() is None


@pytest.mark.slow
def test_the_lock_is_held_as_long_as_there_is_something_to_write(store, tmp_path):
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
def test_without_its_owner_it_ends_the_runs_that_are_left(store, tmp_path):
    made = Writer()
    with pytest.raises(TrackingError), made.at_work(store, tmp_path / "writer.lock"):  # noqa: PT012
        runs = [made.start(f"orphan {i}", {}, {}) for i in range(2)]
        ids = [run.id for run in runs]
        runs[0].metrics({"loss": 1.0}, 1)
        runs[1].finish()
        # As the system does for an owner that is killed.
        made._process.stdin.close()
        made._process.wait(30)
        made.send({})
    found = [store.client.get_run(each) for each in ids]
    assert [run.info.status for run in found] == ["KILLED", "FINISHED"]
    assert found[0].data.metrics == {"loss": 1.0}
    assert not (tmp_path / "writer.lock").exists()


@pytest.mark.slow
def test_when_it_is_killed_its_owner_is_told(store, tmp_path):
    with Writer() as made, made.at_work(store, tmp_path / "writer.lock"):
        run = made.start("lost", {}, {})
        assert run.id
        made._process.kill()
        made._process.wait()
        with pytest.raises(TrackingError, match=r"has died .*sweep.writer=off"):  # noqa: PT012
            for _ in range(100):  # A pipe takes some before it is found broken.
                run.metrics({"loss": 1.0}, 1)
            run.finish()
            run.wait_until_written()


def test_a_sweep_that_is_begun_again_waits_for_what_is_still_being_written(tmp_path):
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


def test_nor_does_it_wait_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "PATIENCE", 0.1)
    with (
        FileLock(locks.writer_lock(tmp_path)),
        pytest.raises(locks.LockedError, match=r"still being written after 0\.1 s"),
        locks.sweeping(tmp_path),
    ):
        pass


class TestWhenThereIsOne:
    """The writer of a sweep, by its options and its points."""

    @pytest.fixture
    def writers(self, monkeypatch):
        """How many were made; for tests that take 3 points for many, and have 2 processors."""
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
            files = [{each.path for each in client().list_artifacts(r.info.run_id)} for r in (run, same)]
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
    def test_also_for_points_alone_and_searches_if_it_is_asked_for(self, workdir, writers):
        args = ["sweep.sampler=tpe", "sweep.n_trials=3", "optimizer.lr=interval(0.01,1)", "sweep.pruner=median"]
        assert stacked(*args, "sweep.writer=on", "sweep.stack=off") == 0
        assert len(writers) == 1
        assert len(children(parents()[0], "FINISHED")) == 3

    def test_other_words_are_refused(self):
        with pytest.raises(InvalidValue, match="one of auto, on, off"):
            SweepOptions(writer="yes")


@pytest.mark.slow
def test_points_whose_writer_dies_have_failed_and_are_run_again(workdir, monkeypatch, capfd):
    """A run that is not recorded has not been done, whatever it came to."""

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
def test_a_sweep_that_is_ended_in_the_middle_is_resumed(workdir, number):
    """None twice, none missing, and no run is left RUNNING once the writer has come to its end."""
    small = ["train", "-m", *SMALL, "seed=range(12)", "train.epochs=200"]
    args = [*BACKPROOF, *small, "sweep.stack_size=3", "sweep.writer=on"]
    # Made before: what is read below while it is made would break it.
    Store.open(TrackingOptions(), workdir / "outputs")
    first = subprocess.Popen(args, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
    assert until(lambda: _finished() >= 2, 120)
    # To the group, as the terminal sends Ctrl-C.
    os.killpg(first.pid, number)
    _, said = first.communicate(timeout=60)
    assert first.returncode == {signal.SIGKILL: -9, signal.SIGINT: 130, signal.SIGTERM: 143}[number], said
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
