"""`backproof train`: single runs from the command line, what they record, and how they are stopped."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from backproof.app.ui_command import ui_command
from backproof.cli.main import main
from backproof.tracking import TrackingOptions
from backproof.tracking.store import Store

from tests.helpers.command import BACKPROOF, QUICK, client, runs


def artifacts(run_id, path=None):
    paths = []
    for artifact in client().list_artifacts(run_id, path):
        paths += artifacts(run_id, artifact.path) if artifact.is_dir else [artifact.path]
    return paths


class TestTrain:
    @pytest.mark.slow
    def test_a_run_shows_and_records_its_results(self, workdir, capsys):
        assert main(["train", *QUICK, "optimizer.lr=0.05", "penalty=l2"]) == 0
        output = capsys.readouterr().out
        for part in (
            "iris: 150 samples, 4 features, 3 classes",
            "4 → 5 relu → 3 softmax_cross_entropy",
            "✓ passed",
        ):
            assert part in output
        for part in ("W1", "b2", "penalty", "accuracy", "backproof ui", "outputs/runs/"):
            assert part in output
        (run,) = runs()
        assert run.info.status == "FINISHED"
        params = run.data.params
        expected = {
            "activation": "relu",
            "optimizer": "sgd",
            "optimizer.lr": "0.05",
            "penalty.strength": "0.0001",
        }
        expected |= {"loss": "softmax_cross_entropy", "model.hidden": "[5]", "train.epochs": "3", "seed": "0"}
        assert expected.items() <= params.items()
        assert not [key for key in params if key.startswith(("tracking", "hydra", "outputs"))]
        metrics = run.data.metrics
        for name in ("train/loss", "val/loss", "val/accuracy", "test/accuracy"):
            assert name in metrics
        checked = [name for name in metrics if name.partition("/")[0] not in ("train", "val", "test")]
        assert checked == ["verification/log10_error"]
        # Loss and accuracy come first on MLflow's pages: by name, and by the order of their first values.
        assert max(metrics) == [*metrics][-1] == "verification/log10_error"
        report = json.loads(Path(run.data.tags["backproof.folder"], "gradcheck.json").read_text())
        assert metrics["verification/log10_error"] == pytest.approx(np.log10(report["max_relative_error"]))
        assert metrics["verification/log10_error"] < -12
        history = client().get_metric_history(run.info.run_id, "val/loss")
        assert [m.step for m in history][:3] == [1, 2, 3]
        tags = run.data.tags
        assert tags["backproof.gradcheck"] == "passed"
        assert len(tags["backproof.config_hash"]) == 12
        assert "backproof train dataset=iris" in tags["mlflow.note.content"]
        link = f"runs/{run.info.run_id}/artifacts/gradcheck.html)"
        assert tags["mlflow.note.content"].startswith("[gradient check](#/experiments/")
        assert link in tags["mlflow.note.content"]
        paths = artifacts(run.info.run_id)
        for path in (
            "config/config.yaml",
            "config/overrides.yaml",
            "gradcheck.json",
            "gradcheck.html",
            "environment.json",
            "plots/learning_curves.png",
            "plots/confusion_matrix.png",
            "weights/weights.npz",
            "weights/model.json",
            "metrics.csv",
            "summary.json",
        ):
            assert path in paths
        (dataset,) = run.inputs.dataset_inputs
        assert dataset.dataset.name == "iris"
        folder = Path(tags["backproof.folder"])
        assert json.loads((folder / "gradcheck.json").read_text())["passed"] is True
        assert json.loads((folder / "environment.json").read_text())["packages"]["numpy"] == np.__version__

    @pytest.mark.slow
    def test_the_model_predicts_the_same_in_a_fresh_process(self, workdir):
        assert main(["train", *QUICK]) == 0
        (run,) = runs()
        folder = Path(run.data.tags["backproof.folder"])
        script = (
            "import sys, json, mlflow, numpy as np\n"
            f"mlflow.set_tracking_uri({client().tracking_uri!r})\n"
            f"model = mlflow.pyfunc.load_model('runs:/{run.info.run_id}/model')\n"
            "from sklearn.datasets import load_iris\n"
            "table = model.predict(load_iris(as_frame=True).data)\n"
            "print(json.dumps(table.filter(like='probability').to_numpy().tolist()))\n"
        )
        elsewhere = workdir / "elsewhere"
        elsewhere.mkdir()
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, cwd=elsewhere, check=True
        )
        from backproof.discovery.registry import registry
        from backproof.nn.predictor import Predictor
        from sklearn.datasets import load_iris

        ours = Predictor.load(folder / "weights", registry()).predict(load_iris().data)
        np.testing.assert_array_equal(np.array(json.loads(done.stdout.splitlines()[-1])), ours)

    @pytest.mark.slow
    def test_repeats_record_means_and_every_seed(self, workdir, capsys):
        assert main(["train", *QUICK, "repeats=3", "seed=7"]) == 0
        assert "±" in capsys.readouterr().out
        (run,) = runs()
        assert run.data.metrics["val/accuracy_std"] >= 0
        folder = Path(run.data.tags["backproof.folder"])
        seeds = json.loads((folder / "summary.json").read_text())["seeds"]
        assert [member["seed"] for member in seeds] == [7, 8, 9]
        assert run.data.metrics["test/loss"] == pytest.approx(
            np.mean([member["test/loss"] for member in seeds])
        )

    @pytest.mark.slow
    @pytest.mark.parametrize("dataset", ["diabetes", "multilabel", "moons"])
    def test_every_task_has_two_plots(self, workdir, dataset):
        assert main(["train", f"dataset={dataset}", "train.epochs=2", "tracking=off"]) == 0
        (folder,) = Path("outputs/runs").glob("*/*")
        assert len(list((folder / "plots").glob("*.png"))) == 2
        assert not Path("outputs/mlflow.db").exists()

    @pytest.mark.slow
    def test_gradcheck_off_is_recorded_as_skipped(self, workdir):
        assert main(["train", *QUICK, "gradcheck=off"]) == 0
        assert runs()[0].data.tags["backproof.gradcheck"] == "skipped"

    @pytest.mark.slow
    def test_early_stopping_and_metrics_from_the_command_line(self, workdir, capsys):
        override = [
            "train.early_stopping.patience=2",
            "metrics=[accuracy,{name: top_k, k: 2}]",
            "train.epochs=40",
        ]
        assert main(["train", *QUICK[:1], *override, "optimizer=adam", "optimizer.lr=0.3"]) == 0
        output = capsys.readouterr().out
        assert "top_k" in output
        assert "kept the parameters of epoch" in output

    @pytest.mark.slow
    def test_a_diverged_run_is_failed_and_keeps_its_measurements(self, workdir, capsys):
        assert (
            main(["train", "dataset=digits", "optimizer.lr=5e3", "loss=squared_error", "dataset=diabetes"]) == 1
        )
        error = capsys.readouterr().err
        assert "diverged: the loss became" in error
        assert "learning rate 5000" in error
        (run,) = runs()
        assert run.info.status == "FAILED"
        assert run.data.tags["backproof.diverged"] == "true"
        assert "DivergedError" in run.data.tags["backproof.error"]
        assert run.data.metrics["verification/log10_error"] < -12

    @pytest.mark.slow
    def test_an_environment_uri_is_respected(self, workdir, monkeypatch):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{workdir}/other/my.db")
        assert main(["train", *QUICK]) == 0
        assert (workdir / "other/my.db").is_file()
        assert not Path("outputs/mlflow.db").exists()


@pytest.mark.parametrize(
    ("options", "outputs", "expected"),
    [
        ({}, "outputs", "backproof ui"),
        ({"experiment": "my own"}, "there", "backproof ui --outputs there --experiment 'my own'"),
        ({"uri": "sqlite:///a.db"}, "there", "backproof ui --uri sqlite:///a.db"),
    ],
)
def test_the_suggested_ui_command_opens_the_recorded_runs(monkeypatch, options, outputs, expected):
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    assert ui_command(TrackingOptions(**options), outputs) == expected
    # After `make run` the shell does not find the command: its path is shown.
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr("sys.executable", "/nowhere/bin/python")
    assert ui_command(TrackingOptions(**options), outputs) == expected
    monkeypatch.setattr("sys.executable", str(Path("venv/bin/python").absolute()))
    monkeypatch.setattr("pathlib.Path.exists", lambda self: True)
    assert ui_command(TrackingOptions(**options), outputs) == f"venv/bin/{expected}"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code", "sweep"),
    [
        (signal.SIGINT, 130, False),
        (signal.SIGTERM, 143, False),
        (signal.SIGINT, 130, True),
        (signal.SIGTERM, 143, True),
    ],
)
def test_a_stopped_run_is_killed_and_keeps_its_measurements(workdir, number, code, sweep):
    args = ["train", "dataset=iris", "train.epochs=100000000", "gradcheck=on", "tracking.flush_seconds=0.2"]
    # Create the store first: the loop below reads it while the process records.
    Store.open(TrackingOptions(), workdir / "outputs")
    process = subprocess.Popen(
        [*BACKPROOF, *args, *(["-m", "seed=0,1"] if sweep else [])],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        for _ in range(300):
            time.sleep(0.1)
            assert process.poll() is None, process.communicate()[1]
            if any("train/loss" in run.data.metrics for run in runs(**{"backproof.kind": "run"})):
                break
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == code
    assert errors.startswith("backproof: stopped by")
    assert "Traceback" not in errors
    states = {r.data.tags["backproof.kind"]: r.info.status for r in runs()}
    assert states == ({"run": "KILLED", "sweep": "KILLED"} if sweep else {"run": "KILLED"})
    stopped = runs(**{"backproof.kind": "run"})
    assert len(stopped) == (2 if sweep else 1)  # the points of the sweep are one stack
    for run in stopped:
        assert run.data.metrics["verification/log10_error"] < -12
        assert len(client().get_metric_history(run.info.run_id, "train/loss")) > 1
