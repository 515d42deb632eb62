"""The command as a person uses it: runs, sweeps, what is recorded, errors, signals."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from backproof.cli.main import main
from backproof.discovery.registry import registry
from backproof.render.terminal import ui_command
from backproof.tracking import TrackingOptions
from backproof.tracking.store import Store

BACKPROOF = [sys.executable, "-m", "backproof"]
QUICK = ["dataset=iris", "train.epochs=3", "model.hidden=[5]"]


def client():
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=f"sqlite:///{Path('outputs/mlflow.db').absolute()}")


def runs(**tags):
    c = client()
    experiment = c.get_experiment_by_name("backproof")
    found = c.search_runs([experiment.experiment_id], max_results=1000)
    return [r for r in found if all(r.data.tags.get(k) == v for k, v in tags.items())]


def artifacts(run_id, path=None):
    found = []
    for each in client().list_artifacts(run_id, path):
        found += artifacts(run_id, each.path) if each.is_dir else [each.path]
    return found


class TestTrain:
    def test_one_run_shows_and_records_everything(self, workdir, capsys):
        assert main(["train", *QUICK, "optimizer.lr=0.05", "penalty=l2"]) == 0
        shown = capsys.readouterr().out
        for part in (
            "iris: 150 samples, 4 features, 3 classes",
            "4 → 5 relu → 3 softmax_cross_entropy",
            "✓ passed",
        ):
            assert part in shown
        for part in ("W1", "b2", "penalty", "accuracy", "backproof ui", "outputs/runs/"):
            assert part in shown
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
        for name in ("train/loss", "val/loss", "val/accuracy", "test/accuracy", "gradcheck/W1/relative_error"):
            assert name in metrics
        assert metrics["gradcheck/max_relative_error"] < 1e-12
        assert metrics["gradcheck/log10_max_relative_error"] == pytest.approx(
            np.log10(metrics["gradcheck/max_relative_error"])
        )
        history = client().get_metric_history(run.info.run_id, "val/loss")
        assert [m.step for m in history][:3] == [1, 2, 3]
        tags = run.data.tags
        assert tags["backproof.gradcheck"] == "passed"
        assert len(tags["backproof.config_hash"]) == 12
        assert "backproof train dataset=iris" in tags["mlflow.note.content"]
        found = artifacts(run.info.run_id)
        for path in (
            "config/config.yaml",
            "config/overrides.yaml",
            "gradcheck.json",
            "environment.json",
            "plots/learning_curves.png",
            "plots/confusion_matrix.png",
            "weights/weights.npz",
            "weights/model.json",
            "metrics.csv",
            "summary.json",
        ):
            assert path in found
        (dataset,) = run.inputs.dataset_inputs
        assert dataset.dataset.name == "iris"
        folder = Path(tags["backproof.folder"])
        assert json.loads((folder / "gradcheck.json").read_text())["passed"] is True
        assert json.loads((folder / "environment.json").read_text())["packages"]["numpy"] == np.__version__

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
        from backproof.nn.predictor import Predictor
        from sklearn.datasets import load_iris

        ours = Predictor.load(folder / "weights").predict(load_iris().data)
        np.testing.assert_array_equal(np.array(json.loads(done.stdout.splitlines()[-1])), ours)

    def test_repeats_record_means_and_every_seed(self, workdir, capsys):
        assert main(["train", *QUICK, "repeats=3", "seed=7"]) == 0
        assert "±" in capsys.readouterr().out
        (run,) = runs()
        assert run.data.metrics["val/accuracy_std"] >= 0
        folder = Path(run.data.tags["backproof.folder"])
        seeds = json.loads((folder / "summary.json").read_text())["seeds"]
        assert [each["seed"] for each in seeds] == [7, 8, 9]
        assert run.data.metrics["test/loss"] == pytest.approx(np.mean([each["test/loss"] for each in seeds]))

    @pytest.mark.parametrize("dataset", ["diabetes", "multilabel", "moons"])
    def test_every_task_has_its_pictures(self, workdir, dataset):
        assert main(["train", f"dataset={dataset}", "train.epochs=2", "tracking=off"]) == 0
        (folder,) = Path("outputs/runs").glob("*/*")
        assert len(list((folder / "plots").glob("*.png"))) == 2
        assert not Path("outputs/mlflow.db").exists()

    def test_gradcheck_off_is_recorded_as_skipped(self, workdir):
        assert main(["train", *QUICK, "gradcheck=off"]) == 0
        assert runs()[0].data.tags["backproof.gradcheck"] == "skipped"

    def test_early_stopping_and_metrics_from_the_command(self, workdir, capsys):
        override = [
            "train.early_stopping.patience=2",
            "metrics=[accuracy,{name: top_k, k: 2}]",
            "train.epochs=40",
        ]
        assert main(["train", *QUICK[:1], *override, "optimizer=adam", "optimizer.lr=0.3"]) == 0
        shown = capsys.readouterr().out
        assert "top_k" in shown
        assert "kept the parameters of epoch" in shown

    def test_divergence_is_a_failed_run_with_what_was_measured(self, workdir, capsys):
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
        assert run.data.metrics["gradcheck/max_relative_error"] < 1e-12

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
def test_the_command_for_the_ui_opens_what_was_recorded(monkeypatch, options, outputs, expected):
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    assert ui_command(TrackingOptions(**options), outputs) == expected
    # After `make run` the shell does not find the command: its path is shown.
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr("sys.executable", "/nowhere/bin/python")
    assert ui_command(TrackingOptions(**options), outputs) == expected
    monkeypatch.setattr("sys.executable", str(Path("venv/bin/python").absolute()))
    monkeypatch.setattr("pathlib.Path.exists", lambda self: True)
    assert ui_command(TrackingOptions(**options), outputs) == f"venv/bin/{expected}"


class TestSweep:
    def test_eighteen_runs_under_one_parent(self, workdir, capsys):
        args = ["activation=relu,tanh,gelu", "optimizer=sgd,adam", "seed=0,1,2"]
        assert main(["train", "-m", *args, *QUICK]) == 0
        shown = capsys.readouterr().out
        assert "18 runs over activation, optimizer, seed" in shown
        assert "best" in shown
        (parent,) = runs(**{"backproof.kind": "sweep"})
        children = runs(**{"mlflow.parentRunId": parent.info.run_id})
        assert len(children) == 18
        assert {r.info.status for r in (parent, *children)} == {"FINISHED"}
        chosen = {
            (r.data.params["activation"], r.data.params["optimizer"], r.data.params["seed"]) for r in children
        }
        assert len(chosen) == 18
        for child in children:
            assert child.data.tags["backproof.gradcheck"] == "passed"
            assert child.data.tags["backproof.sweep"] == parent.info.run_id
            assert len(client().get_metric_history(child.info.run_id, "train/loss")) >= 3
        assert len({r.data.tags["backproof.config_hash"] for r in children}) == 18
        best = parent.data.tags["backproof.best_run"]
        top = max(r.data.metrics["val/accuracy"] for r in children)
        assert parent.data.metrics["best/val/accuracy"] == top
        logged = [r.info.run_id for r in children if r.outputs and r.outputs.model_outputs]
        assert logged == [best]

    def test_a_sweep_that_is_not_recorded_offers_no_ui(self, workdir, capsys):
        assert main(["train", "-m", "seed=0,1", *QUICK, "tracking=off", "gradcheck=off"]) == 0
        assert "backproof ui" not in capsys.readouterr().out

    def test_a_failing_point_costs_the_others_nothing(self, workdir, capsys):
        assert main(["train", "-m", "dataset=diabetes", "optimizer.lr=0.01,5e3,0.02", "train.epochs=3"]) == 1
        captured = capsys.readouterr()
        assert "1 of 3 runs" in captured.out
        assert "DivergedError" in captured.out
        (parent,) = runs(**{"backproof.kind": "sweep"})
        states = [r.info.status for r in runs(**{"mlflow.parentRunId": parent.info.run_id})]
        assert sorted(states) == ["FAILED", "FINISHED", "FINISHED"]
        assert parent.info.status == "FINISHED"
        assert parent.data.tags["backproof.failed"] == "1"

    @pytest.mark.parametrize("bad", ["optimizer.lr=0.1,-1", "activation=relu,tanhh", "dataset=iris,diabetes"])
    def test_a_bad_point_is_found_before_anything_runs(self, workdir, capsys, bad):
        assert main(["train", "-m", "loss=softmax_cross_entropy", bad]) == 2
        error = capsys.readouterr().err
        assert "in the point" in error
        assert "nothing was run" in error
        assert not Path("outputs").exists()


BAD = {
    "unknown plugin": (["activation=rleu"], ["no activation is called 'rleu'", "did you mean relu"]),
    "unknown key": (["optimizer.lrr=1"], ["optimizer.lrr", "did you mean optimizer.lr"]),
    "another plugin's key": (["optimizer.beta1=0.9"], ["'beta1'", "optimizer=adam"]),
    "unknown top key": (["sed=1"], ["'sed'", "did you mean seed"]),
    "added key": (["+sed=1"], ["'sed'"]),
    "wrong type": (["optimizer.lr=abc"], ["optimizer.lr", "'abc'"]),
    "half a number": (["optimizer.lr=1e-3x"], ["optimizer.lr: got '1e-3x', expected a number > 0"]),
    "no number": (["optimizer.lr="], ["optimizer.lr: got '', expected a number > 0"]),
    "null": (["optimizer.lr=null"], ["optimizer.lr: got nothing, expected a number > 0"]),
    "a fraction": (["train.epochs=1.5"], ["train.epochs: got 1.5, expected a whole number >= 1"]),
    "of two kinds": (
        ["train.early_stopping.patience=soon"],
        ["patience: got 'soon', expected a whole number >= 1 or null"],
    ),
    "another key's value": (["seed=${optimizer.lr}"], ["seed: got 0.1, expected a whole number"]),
    "out of bounds": (["optimizer.lr=-1"], ["optimizer.lr: got -1", "expected > 0"]),
    "infinite": (["optimizer.lr=inf"], ["optimizer.lr: got inf", "expected a finite number > 0"]),
    "NaN as a value": (["optimizer.lr=nan"], ["optimizer.lr: got nan", "expected a finite number > 0"]),
    "no epochs": (["train.epochs=0"], ["train.epochs: got 0", ">= 1"]),
    "negative repeats": (["repeats=-1"], ["repeats: got -1", ">= 1"]),
    "misspelt kind": (["optimzer=adam"], ["no key 'optimzer'", "did you mean optimizer"]),
    "key without its section": (["lr=0.1"], ["no key 'lr'", "did you mean optimizer.lr?"]),
    "section as a value": (["train=3"], ["train is a section", "train.epochs"]),
    "taken out": (["~optimizer.lr"], ["optimizer.lr cannot be taken out"]),
    "top key taken out": (["~seed"], ["seed: got nothing, expected a whole number"]),
    "plugin taken out": (["~optimizer"], ["optimizer: got nothing", "adam"]),
    "plugin null": (["activation=null"], ["chosen by name", "got null"]),
    "two plugins": (["activation=[relu,tanh]"], ["activation: one plugin is expected"]),
    "sweep without -m": (["activation=relu,tanh"], ["activation=relu,tanh: several values", "train -m"]),
    "spaces around =": (["optimizer.lr", "=", "0.1"], ["'=' is no override", "KEY=VALUE"]),
    "open bracket": (["model.hidden=[64"], ["model.hidden: the value '[64' cannot be read"]),
    "number for list": (["model.hidden=64"], ["model.hidden: got a number, expected a list of whole numbers"]),
    "nested list": (["model.hidden=[[1]]"], ["model.hidden: got [1], expected a whole number"]),
    "no units": (["model.hidden=[0]"], ["model.hidden: got [0], expected a list of numbers >= 1"]),
    "misspelt option": (["--multirum", "seed=0,1"], ["no option '--multirum', did you mean --multirun?"]),
    "option for a key": (["--lr", "0.1"], ["no option '--lr'", "KEY=VALUE"]),
    "option without value": (["--cfg", "jobs"], ["--cfg", "'jobs'", "job"]),
    "MLflow experiment": (["tracking.experiment="], ["tracking.experiment: got '', expected a name"]),
    "no csv but a folder": (["dataset=csv", "dataset.path="], ["is a folder"]),
    "no override": (["optimizer.lr"], ["'optimizer.lr' is no override", "KEY=VALUE"]),
    "loss and task": (
        ["loss=softmax_cross_entropy", "dataset=diabetes"],
        ["loss: got 'softmax_cross_entropy'", "regression", "squared_error"],
    ),
    "binary loss": (
        ["loss=sigmoid_cross_entropy", "dataset=iris"],
        ["two classes", "has 3", "softmax_cross_entropy"],
    ),
    "class weights": (
        ["loss=softmax_cross_entropy", "loss.class_weights=[1,2]", "dataset=iris"],
        ["class_weights", "3"],
    ),
    "batch size": (["train.batch_size=5000"], ["train.batch_size: got 5000", "1 to 1079"]),
    "no file": (["dataset=csv", "dataset.path=nope.csv", "dataset.target=y"], ["nope.csv"]),
    "no path": (["dataset=csv"], ["dataset.path"]),
    "empty csv": (["dataset=csv", "dataset.path=empty.csv", "dataset.target=y"], ["empty.csv", "empty"]),
    "malformed csv": (["dataset=csv", "dataset.path=ragged.csv", "dataset.target=y"], ["ragged.csv", "line 3"]),
    "no target": (["dataset=csv", "dataset.path=good.csv", "dataset.target=z"], ["no column 'z'", "a, b, y"]),
    "NaN": (["dataset=csv", "dataset.path=nan.csv", "dataset.target=y"], ["NaN", "'b'", "line 3"]),
    "unwritable": (["outputs=file/below"], ["file/below", "cannot be written", "outputs=DIR"]),
    "a file for outputs": (["outputs=file"], ["cannot be written", "file is a file", "outputs=DIR"]),
    "a file for runs": (["outputs=full"], ["full/runs/", "cannot be written", "full/runs is a file"]),
    "a file for sweeps": (
        ["-m", "dataset=iris", "seed=0,1", "outputs=full"],
        ["full/sweeps/", "cannot be written", "full/sweeps is a file"],
    ),
    "no server for a sweep": (
        ["-m", "dataset=iris", "seed=0,1", "tracking.uri=http://127.0.0.1:9"],
        ["no MLflow server answers", "127.0.0.1:9", "tracking=off"],
    ),
    "bad points": (
        ["-m", "optimizer.lr=0.1,1e-3x"],
        ["got '1e-3x', expected a number > 0", "in the point optimizer.lr=1e-3x of the sweep; nothing was run"],
    ),
    "no server": (
        ["tracking.uri=http://127.0.0.1:9"],
        ["no MLflow server answers", "127.0.0.1:9", "tracking=off"],
    ),
    "unknown scheme": (["tracking.uri=foo://bar"], ["'foo'", "sqlite"]),
    "unknown experiment": (["experiment=cs447"], ["cs447", "did you mean cs446"]),
    "unknown metric": (["metrics=[acuracy]"], ["'acuracy'", "did you mean accuracy"]),
    "metric and task": (["metrics=[r2]"], ["metrics: got 'r2'", "classification"]),
    "metric and classes": (["metrics=[top_k]", "dataset=iris"], ["top_k", "below the number of classes, 3"]),
    "negative layer": (["model.hidden=[3,-1]"], ["model.hidden", ">= 1"]),
    "dtype": (["train.dtype=float16"], ["train.dtype", "one of float32, float64"]),
    "monitor": (
        ["train.early_stopping.patience=1", "train.early_stopping.monitor=val/x"],
        ["monitor", "val/loss"],
    ),
    "switch": (["gradcheck=of"], ["no gradcheck is called 'of'", "did you mean off"]),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_block_with_exit_code_2_and_leaves_nothing(workdir, capsys, name):
    overrides, parts = BAD[name]
    Path("file").write_text("not a folder")
    Path("full").mkdir()
    for name in ("runs", "sweeps"):
        Path("full", name).write_text("not a folder")
    Path("empty.csv").write_text("")
    Path("ragged.csv").write_text("a,b,y\n1,2,0\n1,2\n")
    Path("good.csv").write_text("a,b,y\n" + "1,2,0\n2,3,1\n" * 10)
    Path("nan.csv").write_text("a,b,y\n1,2,0\n2,nan,1\n" + "1,2,0\n2,3,1\n" * 10)
    before = sorted(map(str, Path().rglob("*")))
    assert main(["train", *overrides]) == 2
    captured = capsys.readouterr()
    for part in parts:
        assert part in captured.err
    assert captured.err.startswith("backproof: ")
    assert "Traceback" not in captured.err
    assert len(captured.err.strip().splitlines()) <= 5
    assert captured.out == ""
    left = [path for path in sorted(map(str, Path().rglob("*"))) if path not in before]
    assert left == []


def test_ctrl_c_in_the_middle_of_an_import_is_ctrl_c(workdir, capsys, monkeypatch):
    """Compiled modules turn what a signal raises while they are imported into an ImportError."""

    def load(self):
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except KeyboardInterrupt:
            raise ImportError("initialization failed") from None

    monkeypatch.setattr(registry().get("dataset", "iris"), "load", load)
    assert main(["train", *QUICK]) == 130
    assert capsys.readouterr().err.startswith("backproof: stopped by Ctrl-C")


class TestOtherCommands:
    def test_check_passes_and_fails_by_its_exit_code(self, workdir, capsys):
        assert main(["check", "dataset=iris", "activation=tanh"]) == 0
        shown = capsys.readouterr().out
        assert "fresh" in shown
        assert "moved" in shown
        assert "✓ passed" in shown
        assert not Path("outputs").exists()

    def test_check_as_json(self, workdir, capsys):
        assert main(["check", "--json", "dataset=iris"]) == 0
        report = json.loads(capsys.readouterr().out)
        assert report["schema"] == "backproof.gradcheck/1"
        moments = [section["moment"] for section in report["sections"]]
        assert moments == ["fresh", "moved", "one sample", "burned in", "odd sizes"]

    def test_check_writes_a_page_that_needs_nothing_else(self, workdir, capsys):
        assert main(["check", "dataset=iris", "--report", "check.html"]) == 0
        page = Path("check.html").read_text()
        for part in (
            "✓ passed",
            "Point: fresh",
            "Taylor remainders",
            "data:image/png;base64,",
            "W1",
        ):
            assert part in page
        assert "http" not in page
        assert "<script" not in page
        assert main(["check", "--report"]) == 2

    def test_check_refuses_a_page_in_a_folder_that_is_not_there(self, workdir, capsys):
        assert main(["check", "--report", "nowhere/check.html"]) == 2
        assert "--report nowhere/check.html" in capsys.readouterr().err

    def test_check_refuses_options(self, workdir, capsys):
        assert main(["check", "--fast"]) == 2
        assert "check has no option '--fast'" in capsys.readouterr().err
        assert main(["check", "activation=reluu"]) == 2

    def test_plugins_lists_all(self, capsys):
        assert main(["plugins"]) == 0
        shown = capsys.readouterr().out
        for entry in registry().entries():
            assert entry.name in shown
        assert main(["plugins", "optimizer"]) == 0
        shown = capsys.readouterr().out
        for part in ("optimizer.momentum = 0.0", "plugins/optimizer/adam.py", "Kingma", ">= 0 and < 1"):
            assert part in shown
        assert main(["plugins", "optimizers"]) == 2
        assert "did you mean optimizer" in capsys.readouterr().err

    def test_verify(self, capsys):
        assert main(["verify", "activation", "relu"]) == 0
        assert "✓ activation relu: 8 of 8 checks" in capsys.readouterr().out
        assert main(["verify", "activation", "rel"]) == 2

    def test_help(self, capsys):
        for args in ([], ["--help"]):
            assert main(args) == 0
            shown = capsys.readouterr().out
            for command in ("train", "check", "plugins", "verify", "ui"):
                assert f"\n  {command} " in shown
        assert main(["--version"]) == 0

    def test_an_unknown_command(self, capsys):
        assert main(["trian"]) == 2
        assert "did you mean 'train'" in capsys.readouterr().err
        assert main(["seed=1"]) == 2
        assert "backproof train seed=1" in capsys.readouterr().err

    def test_train_help_shows_plugins_and_keys(self, workdir):
        done = subprocess.run([*BACKPROOF, "train", "--help"], capture_output=True, text=True, check=True)
        for part in (
            "activation: ",
            "gelu_tanh",
            "hidden:",
            "batch_size: 32",
            "early_stopping",
            "-m KEY=V1,V2",
        ):
            assert part in done.stdout

    def test_cfg_job_shows_the_config(self, workdir):
        done = subprocess.run(
            [*BACKPROOF, "train", "--cfg", "job", "optimizer=adam", "seed=3"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert "name: adam" in done.stdout
        assert "beta1: 0.9" in done.stdout
        assert "seed: 3" in done.stdout
        assert not Path("outputs").exists()

    @pytest.mark.parametrize(
        ("line", "offered"),
        [
            ("backproof ", {"train", "check", "plugins", "ui", "verify"}),
            ("backproof tr", {"train"}),
            ("backproof train activation=ge", {"activation=gelu", "activation=gelu_tanh"}),
            ("backproof train optimizer=adam optimizer.be", {"optimizer.beta1=", "optimizer.beta2="}),
            ("backproof check loss=hin", {"loss=hinge"}),
            ("backproof train experiment=", {"experiment=cs446"}),
        ],
    )
    def test_completion(self, workdir, line, offered):
        done = subprocess.run(
            [*BACKPROOF, "-sc", "query=bash"],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "COMP_LINE": line, "COMP_POINT": str(len(line))},
        )
        assert offered <= set(done.stdout.split())
        assert done.stderr == ""


@pytest.mark.parametrize(
    ("number", "code", "sweep"),
    [
        (signal.SIGINT, 130, False),
        (signal.SIGTERM, 143, False),
        (signal.SIGINT, 130, True),
        (signal.SIGTERM, 143, True),
    ],
)
def test_a_run_that_is_stopped_is_killed_with_what_was_measured(workdir, number, code, sweep):
    args = ["train", "dataset=iris", "train.epochs=100000000", "gradcheck=on", "tracking.flush_seconds=0.2"]
    # A store that is there already: the loop below reads it while the process records.
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
        assert run.data.metrics["gradcheck/max_relative_error"] < 1e-12
        assert len(client().get_metric_history(run.info.run_id, "train/loss")) > 1
