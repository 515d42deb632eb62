"""Bad input is one readable block with exit code 2, and leaves nothing behind."""

import os
import signal
from pathlib import Path

import pytest
from backproof.cli.main import main
from backproof.discovery.registry import registry

from tests.helpers.command import QUICK

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
    "removed": (["~optimizer.lr"], ["optimizer.lr cannot be removed"]),
    "top key removed": (["~seed"], ["seed: got nothing, expected a whole number"]),
    "plugin removed": (["~optimizer"], ["optimizer: got nothing", "adam"]),
    "plugin null": (["activation=null"], ["chosen by name", "got null"]),
    "two plugins": (["activation=[relu,tanh]"], ["activation: one plugin is expected"]),
    "sweep without -m": (["activation=relu,tanh"], ["activation=relu,tanh: several values", "train -m"]),
    "a list in the place of a plugin": (["activation=[1,-2]"], ["by one name", "activation=NAME"]),
    "a nested list in the place of a plugin": (["optimizer=[[1,2],[3]]"], ["by one name"]),
    "a missing section": (["model=???"], ["model: got '???', expected its keys one by one: hidden"]),
    "a section from the environment": (["train=${oc.env:HOME}"], ["train: got", "one by one: epochs"]),
    "a missing nested section": (["train.early_stopping=???"], ["early_stopping: got '???'", "one by one"]),
    "a missing value of a plugin": (["optimizer.nesterov=???"], ["optimizer.nesterov: got nothing"]),
    "a metric that is null": (["metrics=[null]"], ["metrics: got [None], expected a list such as"]),
    "an added key of a section": (["+sweep.zz=1"], ["no key 'sweep.zz'", "did you mean sweep.zip"]),
    "no reference in a tag": (["+tracking.tags.q='${z}'"], ["tracking.tags.q: ", "'z' not found"]),
    "no boolean": (["sweep.fail_fast=2"], ["sweep.fail_fast: got 2, expected true or false"]),
    "400 digits": ([f"optimizer.lr={'1' * 400}"], ["optimizer.lr: got a whole number of too many digits"]),
    "no outputs": (["outputs="], ["outputs: got '', expected the name of a folder"]),
    "unused monitor": (
        ["train.early_stopping.monitor=any"],
        ["monitor: got 'any', expected one of train/loss"],
    ),
    "null in the place of a launcher": (
        ["-m", "seed=0,1", "hydra.launcher=null"],
        ["cannot use these", "hydra"],
    ),
    "a target": (["-m", "seed=0,1", "hydra.sweeper._target_=x"], ["cannot use these", "Invalid plugin 'x'"]),
    "a billion seeds": (
        ["repeats=1000000000"],
        ["1,000,000,000 networks of", "GiB of memory, and this machine"],
    ),
    "a wide layer": (["model.hidden=[1000000000000]"], ["parameters need about", "Lower model.hidden"]),
    "the widest layer": (["model.hidden=[9223372036854775807]"], ["parameters need about", "GiB of memory"]),
    "a long range": (["-m", "seed=range(1000000000)"], ["seed: got", "a range of at most 100,000 values"]),
    "spaces around =": (["optimizer.lr", "=", "0.1"], ["'=' is not an override", "KEY=VALUE"]),
    "open bracket": (["model.hidden=[64"], ["model.hidden: the value '[64' cannot be read"]),
    "number for list": (["model.hidden=64"], ["model.hidden: got a number, expected a list of whole numbers"]),
    "nested list": (["model.hidden=[[1]]"], ["model.hidden: got [1], expected a whole number"]),
    "no units": (["model.hidden=[0]"], ["model.hidden: got [0], expected a list of numbers >= 1"]),
    "misspelt option": (["--multirum", "seed=0,1"], ["no option '--multirum', did you mean --multirun?"]),
    "option for a key": (["--lr", "0.1"], ["no option '--lr'", "KEY=VALUE"]),
    "option without value": (["--cfg", "jobs"], ["--cfg", "'jobs'", "job"]),
    "MLflow experiment": (["tracking.experiment="], ["tracking.experiment: got '', expected a name"]),
    "no csv but a folder": (["dataset=csv", "dataset.path="], ["is a folder"]),
    "no override": (["optimizer.lr"], ["'optimizer.lr' is not an override", "KEY=VALUE"]),
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


@pytest.mark.slow
@pytest.mark.parametrize("name", BAD)
def test_bad_input_prints_one_block_exits_with_2_and_writes_nothing(workdir, capsys, name):
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
    new_files = [path for path in sorted(map(str, Path().rglob("*"))) if path not in before]
    assert new_files == []


def test_ctrl_c_during_an_import_is_reported_as_ctrl_c(workdir, capsys, monkeypatch):
    """Compiled modules turn an exception that a signal raises during their import into an ImportError."""

    def load(self):
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except KeyboardInterrupt:
            raise ImportError("initialization failed") from None

    monkeypatch.setattr(registry().get("dataset", "iris"), "load", load)
    assert main(["train", *QUICK]) == 130
    assert capsys.readouterr().err.startswith("backproof: stopped by Ctrl-C")
