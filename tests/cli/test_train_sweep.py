"""`backproof train -m`: sweeps from the command line, and what they record."""

from pathlib import Path

import numpy as np
import pytest
from backproof.cli.main import main

from tests.helpers.command import QUICK, client, runs


class TestSweep:
    @pytest.mark.slow
    def test_eighteen_runs_under_one_parent(self, workdir, capsys):
        args = ["activation=relu,tanh,gelu", "optimizer=sgd,adam", "seed=0,1,2"]
        assert main(["train", "-m", *args, *QUICK]) == 0
        output = capsys.readouterr().out
        assert "18 runs over activation, optimizer, seed" in output
        assert "best" in output
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
        points = {}
        for child in children:
            point = child.data.params["activation"], child.data.params["optimizer"]
            points.setdefault(point, {})[child.info.run_id] = child.data.metrics["val/accuracy"]
        means = {point: np.mean([*values.values()]) for point, values in points.items()}
        assert parent.data.metrics["best/val/accuracy"] == pytest.approx(max(means.values()), rel=1e-12)
        # The model is that of the best point's seed that is nearest to the mean.
        best = parent.data.tags["backproof.best_run"]
        (point,) = [point for point, values in points.items() if best in values]
        assert means[point] == pytest.approx(max(means.values()), rel=1e-12)
        distances = {run: abs(value - means[point]) for run, value in points[point].items()}
        assert distances[best] == pytest.approx(min(distances.values()), abs=1e-12)
        logged = [r.info.run_id for r in children if r.outputs and r.outputs.model_outputs]
        assert logged == [best]

    @pytest.mark.slow
    def test_a_sweep_that_is_not_recorded_offers_no_ui(self, workdir, capsys):
        assert main(["train", "-m", "seed=0,1", *QUICK, "tracking=off", "gradcheck=off"]) == 0
        assert "backproof ui" not in capsys.readouterr().out

    @pytest.mark.slow
    def test_a_failing_point_does_not_affect_the_others(self, workdir, capsys):
        assert main(["train", "-m", "dataset=diabetes", "optimizer.lr=0.01,5e3,0.02", "train.epochs=3"]) == 1
        captured = capsys.readouterr()
        assert "1 of 3 runs" in captured.out
        assert "DivergedError" in captured.out
        (parent,) = runs(**{"backproof.kind": "sweep"})
        states = [r.info.status for r in runs(**{"mlflow.parentRunId": parent.info.run_id})]
        assert sorted(states) == ["FAILED", "FINISHED", "FINISHED"]
        assert parent.info.status == "FINISHED"
        assert parent.data.tags["backproof.failed"] == "1"

    @pytest.mark.slow
    @pytest.mark.parametrize("bad", ["optimizer.lr=0.1,-1", "activation=relu,tanhh", "dataset=iris,diabetes"])
    def test_a_bad_point_is_found_before_anything_runs(self, workdir, capsys, bad):
        assert main(["train", "-m", "loss=softmax_cross_entropy", bad]) == 2
        error = capsys.readouterr().err
        assert "in the point" in error
        assert "nothing was run" in error
        assert not Path("outputs").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ["-m", "seed=0,1", "--config-dir", "mine", "experiment=a"],
        ["experiment=a", "--config-dir=mine", "seed=0,1", "--multirun"],
        ["-cd", "mine", "experiment=a", "-m", "seed=0,1"],
    ],
    ids=" ".join,
)
def test_hydra_options_are_accepted_anywhere(workdir, capsys, words):
    experiment = workdir / "mine/experiment/a.yaml"
    experiment.parent.mkdir(parents=True)
    experiment.write_text("# @package _global_\ndefaults:\n  - override /dataset: iris\ntrain:\n  epochs: 1\n")
    assert main(["train", *words, "tracking=off"]) == 0
    assert "2 runs over seed" in capsys.readouterr().out
    configs = list((workdir / "outputs").rglob("config.yaml"))
    assert configs
    assert all("name: iris" in config.read_text() for config in configs)
