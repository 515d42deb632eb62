"""Recorded runs can be read back from MLflow, and every run ends with the right status."""

import json
import logging
import time

import numpy as np
import pytest
from backproof.contracts.errors import InvalidValue, TrackingError
from backproof.tracking import (
    Run,
    Terminated,
    TrackingOptions,
)

from tests.helpers.experiments import saved_model
from tests.helpers.tracking import python, read

# The settings that `Store.open` makes for MLflow also apply to the imports of these tests.
pytestmark = pytest.mark.filterwarnings("ignore:Any type hint is inferred")


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def history(run, name):
    return [(metric.step, metric.value) for metric in run.client.get_metric_history(run.id, name)]


def test_options_are_checked():
    assert TrackingOptions().tags == {}
    with pytest.raises(InvalidValue, match="flush_seconds must be > 0"):
        TrackingOptions(flush_seconds=0)


def test_importing_the_room_does_not_import_mlflow():
    done = python("import sys, backproof.tracking; assert 'mlflow' not in sys.modules")
    assert done.returncode == 0, done.stderr


def test_params_tags_metrics_and_artifacts_are_recorded(store, outputs, tmp_path):
    note = tmp_path / "note.txt"
    note.write_text("hello")
    picture = tmp_path / "curves.png"
    picture.write_bytes(b"\x89PNG")
    tags = {"mlflow.note.content": "# a note", "backproof.sweep": "s"}
    params = {"optimizer.lr": 0.1, "model.hidden": [32, 16], "long": "x" * 7000, "none": None, "yes": True}
    with store.start("a name", params, tags, parent="abc") as run:
        assert read(run).info.status == "RUNNING"
        for epoch in range(1, 4):
            run.metrics({"train/loss": 1 / epoch, "val/loss": 2 / epoch}, epoch)
        run.tags({"backproof.gradcheck": "passed"})
        run.text(json.dumps({"a": [1, 2]}), "deep/er/gradcheck.json")
        run.text("text ✓", "note.md")
        run.file(note, "config")
        run.file(picture, "plots")
        run.dataset("digits", "0123", {"plugin": "digits"}, {"rows": 3}, "train")
    recorded = read(run)
    assert recorded.info.status == "FINISHED"
    assert recorded.info.run_name == "a name"
    assert recorded.info.end_time >= recorded.info.start_time
    assert recorded.data.params.keys() == params.keys()
    assert recorded.data.params["optimizer.lr"] == "0.1"
    assert recorded.data.params["model.hidden"] == "[32, 16]"
    assert recorded.data.params["none"] == "null"
    assert recorded.data.params["yes"] == "true"
    assert len(recorded.data.params["long"]) == 6000
    assert recorded.data.params["long"].endswith("[cut]")
    expected = {"mlflow.parentRunId": "abc", "mlflow.source.name": "backproof", "backproof.gradcheck": "passed"}
    assert recorded.data.tags.items() >= (expected | tags).items()
    assert history(run, "train/loss") == [(1, 1.0), (2, 0.5), (3, 1 / 3)]
    (dataset,) = recorded.inputs.dataset_inputs
    assert (dataset.dataset.name, dataset.tags[0].value) == ("digits", "train")
    folder = outputs / "mlartifacts" / run.id / "artifacts"
    assert json.loads((folder / "deep/er/gradcheck.json").read_text()) == {"a": [1, 2]}
    assert (folder / "note.md").read_text(encoding="utf-8") == "text ✓"
    assert (folder / "plots/curves.png").read_bytes() == b"\x89PNG"
    assert (folder / "config/note.txt").read_text() == "hello"


def test_many_params_and_metrics_are_sent_in_several_batches(store):
    with store.start("many", {f"p{i}": i for i in range(250)}, {f"t{i}": "x" for i in range(120)}) as run:
        for epoch in range(300):
            run.metrics({f"m{i}": epoch + i for i in range(8)}, epoch)
    data = read(run).data
    assert len(data.params) == 250
    assert len([tag for tag in data.tags if tag[0] == "t"]) == 120
    assert all(history(run, f"m{i}") == [(e, e + i) for e in range(300)] for i in range(8))


def test_metrics_are_written_together(store, monkeypatch):
    """Nothing is written before flush_seconds have passed, then everything that waits, in one call."""
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
    """NaN is stored; infinity is left out, not written as 1.8e308."""
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
    recorded = read(run)
    assert recorded.info.status == status
    assert history(run, "loss") == [(1, 1.0)]
    text = recorded.data.tags.get("backproof.error")
    assert text == (f"{type(error).__name__}: {error}" if status == "FAILED" else None)


def test_a_finished_run_is_not_changed(store):
    with store.start("own status", {}, {}) as run:
        run.finish("FAILED")
    assert read(run).info.status == "FAILED"


def failing(monkeypatch, client, name):
    from mlflow.exceptions import MlflowException

    def fail(*args, **kwargs):
        raise MlflowException("the database has gone")

    monkeypatch.setattr(client, name, fail)


def test_an_error_in_training_takes_precedence_over_one_of_the_store(store, monkeypatch):
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


def test_nothing_is_lost_while_the_store_is_unavailable(store, monkeypatch, caplog):
    now = [time.monotonic()]
    monkeypatch.setattr("backproof.tracking.run.time.monotonic", lambda: now[0])
    with store.start("away", {}, {}) as run, caplog.at_level(logging.WARNING, "backproof"):
        with monkeypatch.context() as patched:
            failing(patched, run.client, "log_batch")
            now[0] += 2
            run.metrics({"loss": 1.0}, 1)
            now[0] += 2
            run.metrics({"loss": 2.0}, 2)
        assert len(caplog.records) == 1  # There is no immediate second attempt, which would delay the training.
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


def test_start_returns_a_run(store):
    with store.start("typed", {}, {}) as run:
        assert isinstance(run, Run)
        assert run.id == run.info.run_id
