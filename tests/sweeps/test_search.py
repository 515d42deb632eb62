"""Spaces and searches: zipped lists, Optuna's samplers, several objectives, pruning, bad spaces."""

import json
import math
from pathlib import Path

import pytest
from backproof.app.sweep_options import SweepOptions
from backproof.cli.main import main
from backproof.contracts.errors import InvalidValue
from backproof.sweeps.objective import Objective
from backproof.sweeps.planned import PlannedRun, name_of
from backproof.sweeps.result import DONE, PRUNED, RunResult
from backproof.sweeps.search import Study, draw
from backproof.sweeps.space import Interval, parse
from backproof.tracking.query import recorded
from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.override_parser.overrides_parser import OverridesParser

from tests.helpers.command import client
from tests.helpers.sweeps import children, interrupt_at, launch_by, parents, points, sweep

LR = "optimizer.lr=tag(log,interval(0.01,1))"
LOWEST = [Objective("loss", greater=False)]


def result(value=None, params=None, status=DONE):
    """Return the result of a run with this loss."""
    return RunResult(PlannedRun([], "h", params), status, {"metrics": {} if value is None else {"loss": value}})


def space(*overrides, groups=(), integer=lambda key: False):
    return parse(OverridesParser.create().parse_overrides(list(overrides)), list(groups), integer)


class TestSpace:
    def test_a_grid_equals_that_of_hydra(self):
        points = space("a=1,2", "c=5", "b=range(0,1,0.5)", "d=choice(x,'y z')", "sweep.seed=3").grid()
        assert len(points) == 8
        assert points[:3] == [
            ["a=1", "c=5", "b=0.0", "d=x"],
            ["a=1", "c=5", "b=0.0", "d=y\\ z"],
            ["a=1", "c=5", "b=0.5", "d=x"],
        ]

    def test_the_last_of_two_overrides_counts(self):
        assert space("a=1,2", "a=3").grid() == [["a=3"]]

    def test_a_zip_advances_lists_together(self):
        grid_space = space("a=1,2,3", "b=0,1", "c=range(3)", groups=[["a", "c"]])
        assert grid_space.grid()[:3] == [["a=1", "c=0", "b=0"], ["a=1", "c=0", "b=1"], ["a=2", "c=1", "b=0"]]
        assert len(grid_space.grid()) == 6
        assert grid_space.swept == ["a", "c", "b"]

    @pytest.mark.parametrize(
        ("overrides", "groups", "part"),
        [
            (["a=1,2", "b=1,2,3"], [["a", "b"]], "a has 2, b has 3"),
            (["a=1,2", "b=3"], [["a", "b"]], "'b'"),
            (["a=1,2", "b=1,2"], [["a"]], "two or more"),
            (["a=1,2", "b=1,2"], [["a", "a"]], "two or more"),
            (["a=1,2", "b=1,2", "c=1,2"], [["a", "b"], ["b", "c"]], "'b'"),
            (["a=1,2", "b=interval(0,1)"], [["a", "b"]], "'b'"),
            (["a=1,2", "bb=1,2"], [["a", "b"]], "did you mean bb"),
            (["a=interval(1,0)"], [], "lower"),
            (["a=tag(log,interval(0,1))"], [], "above 0"),
            (["a=tag(lg,interval(1,2))"], [], "did you mean log"),
            (["a=tag(log,range(0,5))"], [], "from 1"),
            (["a=range(3,3)"], [], "one value or more"),
            (["sweep.seed=1,2"], [], "one way"),
        ],
    )
    def test_invalid_spaces(self, overrides, groups, part):
        with pytest.raises(InvalidValue, match=part):
            space(*overrides, groups=groups)

    def test_intervals(self):
        def interval(text, integer=False):
            return space(text, integer=lambda key: integer).axes[0].interval

        assert interval("a=interval(0,1)") == Interval(0.0, 1.0)
        assert interval("a=interval(1,10)", integer=True) == Interval(1.0, 10.0, integer=True)
        assert interval("a=int(interval(1,10))") == Interval(1, 10, integer=True)
        assert interval("a=tag(log,interval(1,10))") == Interval(1.0, 10.0, log=True)
        assert interval("a=range(0,1,0.25)") == Interval(0.0, 0.75, step=0.25)
        assert interval("a=range(2,11,4)") == Interval(2, 10, step=4, integer=True)

    def test_probes_touch_both_ends_and_every_choice(self):
        points = space("a=interval(0,1)", "b=x,y,z").probes()
        assert points == [["a=0.0", "b=x"], ["a=1.0", "b=x"], ["a=0.0", "b=y"], ["a=0.0", "b=z"]]


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["random", "qmc"])
def test_a_longer_sweep_of_a_sampler_begins_with_the_same_points(sampler):
    chosen = space("a=tag(log,interval(0.01,1))", "b=x,y", "c=int(interval(1,9))", "d=range(0,1,0.25)")
    few = draw(chosen, SweepOptions(sampler=sampler, n_trials=5, seed=3))
    many = draw(chosen, SweepOptions(sampler=sampler, n_trials=9, seed=3))
    assert many[:5] == few
    assert len({json.dumps(params) for params in many}) == 9
    assert draw(chosen, SweepOptions(sampler=sampler, n_trials=5, seed=4)) != few
    for params in many:
        assert 0.01 <= params["a"] <= 1
        assert params["b"] in "xy"
        assert isinstance(params["c"], int)
        assert params["d"] in (0, 0.25, 0.5, 0.75)


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["tpe", "cmaes", "nsga2"])
def test_a_search_finds_the_lowest_point(tmp_path, sampler):
    chosen = space("a=interval(-5,5)", "b=interval(-5,5)")
    study = Study(tmp_path / "s", chosen, SweepOptions(sampler=sampler, n_trials=1), LOWEST)
    for _ in range(120):
        number, params = study.ask()
        study.tell(number, result((params["a"] - 1) ** 2 + (params["b"] + 2) ** 2))
    assert study.study.best_value < 0.6


def test_a_study_is_updated_from_the_recorded_runs(tmp_path):
    chosen, options = space("a=interval(0,1)"), SweepOptions(sampler="tpe", n_trials=1)
    study = Study(tmp_path / "s", chosen, options, LOWEST)
    asked = [study.ask() for _ in range(4)]
    study.tell(asked[0][0], result(0.5))
    study.tell(asked[1][0], None)
    again = Study(tmp_path / "s", chosen, options, LOWEST)
    known = [
        result(0.5, asked[0][1]),
        result(0.25, asked[2][1]),
        result(None, {"a": 0.125}, PRUNED),
    ]
    assert again.settle(known) == [asked[1][1], asked[3][1]]
    states = [trial.state.name for trial in again.study.trials]
    assert states == ["COMPLETE", "FAIL", "COMPLETE", "FAIL", "PRUNED"]
    assert again.study.best_value == 0.25
    # A resumed search does not draw its first points again.
    assert again.ask()[1] not in [params for _, params in asked]
    again.tell(5, result(math.nan))
    assert again.study.trials[5].state.name == "FAIL"


@pytest.mark.slow
def test_a_zip_from_the_command_line(workdir, capsys):
    args = ["optimizer.lr=0.1,0.2", "train.batch_size=8,16", "seed=0,1"]
    assert sweep(*args, "sweep.zip=[[optimizer.lr,train.batch_size]]") == 0
    combinations = {
        (r.data.params["optimizer.lr"], r.data.params["train.batch_size"], r.data.params["seed"])
        for r in children(parents()[0])
    }
    assert combinations == {("0.1", "8", "0"), ("0.1", "8", "1"), ("0.2", "16", "0"), ("0.2", "16", "1")}
    assert sweep(*args, "sweep.zip=[optimizer.lr,seeds]") == 2
    assert "did you mean seed" in capsys.readouterr().err


@pytest.mark.slow
def test_a_random_sweep_is_resumed(workdir, monkeypatch):
    args = [LR, "optimizer=sgd,adam", "sweep.sampler=random", "sweep.n_trials=5", "sweep.seed=2"]
    with monkeypatch.context() as patch:
        interrupt_at(patch, 3, KeyboardInterrupt())
        assert sweep(*args) == 130
    assert sweep(*args) == 0
    (parent,) = parents()
    assert len(children(parent, "FINISHED")) == 5
    assert len({r.data.params["optimizer.lr"] for r in children(parent)}) == 5
    args[3] = "sweep.n_trials=7"
    assert sweep(*args, "sweep.resume=last") == 0
    (parent,) = parents()
    assert len({r.data.params["optimizer.lr"] for r in children(parent, "FINISHED")}) == 7


@pytest.mark.slow
@pytest.mark.parametrize("file", ["kept", "lost"])
def test_a_search_is_resumed(workdir, monkeypatch, file, capsys):
    args = [LR, "activation=relu,tanh", "sweep.sampler=tpe", "sweep.n_trials=6"]
    with monkeypatch.context() as patch:
        interrupt_at(patch, 2, ArithmeticError("planted"))
        assert sweep(*args) == 1
    (parent,) = parents()
    assert len(children(parent, "FINISHED")) == 5
    if file == "lost":
        Path(parent.data.tags["backproof.study"]).unlink()
    assert sweep(*args, "sweep.resume=last") == 0
    (parent,) = parents()
    finished = children(parent, "FINISHED")
    assert len({r.data.params["optimizer.lr"] for r in finished}) == len(finished) == 6
    assert parent.data.metrics["sweep/done"] == 6
    assert len(points(parent.data.tags["backproof.folder"])) == 6
    for run in finished:
        trial = json.loads(run.data.tags["backproof.trial"])
        assert float(run.data.params["optimizer.lr"]) == trial["optimizer.lr"]
    args[3] = "sweep.n_trials=7"
    assert sweep(*args, "sweep.resume=last") == 0
    assert len(children(parents()[0], "FINISHED")) == 7
    assert sweep(*args, "sweep.seed=1", "sweep.resume=last") == 2
    assert "same space" in capsys.readouterr().err


@pytest.mark.slow
def test_several_objectives(workdir):
    args = [LR, "sweep.sampler=nsga2", "sweep.n_trials=4", "sweep.objective=[val/accuracy,train/loss]"]
    assert sweep(*args) == 0
    (parent,) = parents()
    assert parent.data.tags["backproof.direction"] == "maximize,minimize"
    front = parent.data.tags["backproof.front"].split(",")
    table = points(parent.data.tags["backproof.folder"])
    assert {row["run_id"] for row in table if row["best_in_a_trade-off"] == "1"} == set(front)


@pytest.mark.slow
def test_one_objective_and_its_direction(workdir):
    assert sweep("activation=relu,tanh,sine", "sweep.objective=train/loss", "sweep.directions=[maximize]") == 0
    (parent,) = parents()
    assert parent.data.metrics["best/train/loss"] == max(r.data.metrics["train/loss"] for r in children(parent))


BAD = {
    "interval": ([LR], ["a list or a range", "sweep.sampler=tpe"]),
    "n_trials": ([LR, "sweep.sampler=random"], ["sweep.n_trials", "how many points"]),
    "sampler": ([LR, "sweep.sampler=tpee"], ["sweep.sampler: got 'tpee'", "tpe"]),
    "end": (
        ["optimizer.lr=interval(-1,1)", "sweep.sampler=tpe", "sweep.n_trials=2"],
        ["optimizer.lr: got -1.0"],
    ),
    "random end": (
        ["optimizer.lr=interval(0,1)", "sweep.sampler=random", "sweep.n_trials=2"],
        ["optimizer.lr: got 0.0"],
    ),
    "choice": ([LR, "activation=relu,tahn", "sweep.sampler=tpe", "sweep.n_trials=2"], ["did you mean tanh"]),
    "objective": (["seed=0,1", "sweep.objective=val/acuracy"], ["did you mean val/accuracy"]),
    "directions": (["seed=0,1", "sweep.directions=[up]"], ["sweep.directions", "maximize"]),
    "number of directions": (
        ["seed=0,1", "sweep.objective=[val/loss,val/accuracy]", "sweep.directions=[minimize]"],
        ["one for each of 2"],
    ),
    "no step": (["seed=range(0,3,0)"], ["seed: got 'range(0,3,0)'", "step is not 0"]),
    "too many": (["seed=range(0,1000)", "repeats=range(1,1001)"], ["1,000,000 points", "sweep.sampler=random"]),
    "a long range": (["seed=range(0,1000000)"], ["seed: got 'range(0,1000000)'", "at most 100,000 values"]),
    "one objective twice": (
        ["seed=0,1", "sweep.objective=[val/loss,val/loss]"],
        ["sweep.objective", "different metrics"],
    ),
    "no space": (["sweep.sampler=tpe", "sweep.n_trials=2"], ["a space to search"]),
    "cmaes": (
        [LR, "sweep.sampler=cmaes", "sweep.n_trials=2", "sweep.objective=[val/loss,val/accuracy]"],
        ["several objectives"],
    ),
    "pruner": (["seed=0,1", "sweep.pruner=median", "sweep.objective=test/accuracy"], ["not known at the end"]),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", BAD)
def test_a_bad_space_is_an_error_before_anything_runs(workdir, capsys, name):
    overrides, parts = BAD[name]
    assert main(["train", "-m", "dataset=iris", *overrides]) == 2
    error = capsys.readouterr().err
    for part in parts:
        assert part in error
    assert "Traceback" not in error
    assert not Path("outputs").exists()


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["grid", "tpe"])
def test_pruned_runs_are_finished_and_marked(workdir, capsys, sampler):
    # The first four are good. Learning rates near zero prove worse after some epochs.
    lrs = "optimizer.lr=0.1,0.11,0.12,0.13,1e-9,1e-10,1e-11"
    args = [lrs] if sampler == "grid" else ["optimizer.lr=0.1,1e-9", "sweep.sampler=tpe", "sweep.n_trials=12"]
    assert sweep(*args, "train.epochs=12", "sweep.pruner=median", "sweep.objective=val/loss") == 0
    shown = capsys.readouterr().out
    assert "pruned after epoch" in shown
    (parent,) = parents()
    finished = children(parent, "FINISHED")
    pruned = [r for r in finished if r.data.tags.get("backproof.pruned") == "true"]
    assert 1 <= len(pruned) < len(finished) == (7 if sampler == "grid" else 12)
    assert parent.data.metrics["sweep/pruned"] == len(pruned)
    if sampler == "grid":
        assert {float(r.data.params["optimizer.lr"]) for r in pruned} == {1e-9, 1e-10, 1e-11}
    for run in pruned:
        assert not Path(run.data.tags["backproof.folder"], "error.txt").exists()
        assert len(client().get_metric_history(run.info.run_id, "val/loss")) < 12
    # Pruned runs are done: nothing is run again.
    assert (
        sweep(*args, "train.epochs=12", "sweep.pruner=median", "sweep.objective=val/loss", "sweep.resume=last")
        == 0
    )
    assert len(children(parents()[0])) == len(finished)


@pytest.mark.parametrize(
    ("overrides", "swept", "expected"),
    [
        (
            ["dataset=iris", "activation=tanh", "optimizer=adam", "optimizer.lr=0.01"],
            ["activation", "optimizer", "optimizer.lr"],
            "tanh-adam-lr0.01",
        ),
        (["seed=3", "model.hidden=[32,16]"], ["seed", "model.hidden"], "seed3-hidden32x16"),
        (["optimizer.lr=0.012345678"], ["optimizer.lr"], "lr0.01235"),
        (["+a.k=1", "b.k=2"], ["a.k", "b.k"], "a.k1-b.k2"),
        (["train.shuffle=True"], ["train.shuffle"], "shuffleTrue"),
        (["dataset=iris"], [], ""),
        (["dataset.path='" + "x" * 300 + "'"], ["dataset.path"], "path" + "x" * 115 + "…"),
    ],
)
def test_a_point_is_named_by_what_differs(overrides, swept, expected):
    assert name_of(overrides, swept) == expected


@pytest.mark.slow
def test_runs_have_these_names_and_commands_without_them(workdir):
    assert sweep("activation=relu,tanh", "optimizer.lr=0.1,0.01") == 0
    (parent,) = parents()
    notes = {run.info.run_name: run.data.tags["mlflow.note.content"] for run in children(parent)}
    assert set(notes) == {"relu-lr0.1", "relu-lr0.01", "tanh-lr0.1", "tanh-lr0.01"}
    assert "activation=tanh optimizer.lr=0.01\n" in notes["tanh-lr0.01"]
    assert "run_name" not in "".join(notes.values())


@pytest.mark.slow
def test_resuming_an_unknown_sweep_writes_nothing(workdir, capsys):
    assert sweep("seed=0,1", "sweep.resume=last") == 2
    assert "no runs yet" in capsys.readouterr().err
    assert not Path("outputs").exists()


@pytest.mark.slow
def test_the_description_of_a_sweep_lists_the_best_points(workdir):
    assert sweep("activation=relu,tanh", "repeats=2") == 0
    (parent,) = parents()
    note = parent.data.tags["mlflow.note.content"]
    best = max(children(parent), key=lambda run: run.data.metrics["val/accuracy"])
    value, std = (best.data.metrics[f"val/accuracy{end}"] for end in ("", "_std"))
    row = f"| 1 | `activation={best.data.params['activation']}` | {value:.4g} ± {std:.2g} |"
    assert row in note
    assert "2 points, 2 runs (2 done);" in note
    assert "report.html" in note
    # The command can still be read back from the description.
    assert recorded(parent).command.startswith("backproof train -m ")


@pytest.mark.slow
def test_a_trial_whose_worker_died_is_retried_as_a_new_trial(workdir, monkeypatch):
    """A study accepts one result per trial: a second one would end the sweep."""

    class WorkerDied(Exception):
        pass

    class Loses(BasicLauncher):
        calls = 0

        def launch(self, job_overrides, initial_job_idx):
            Loses.calls += 1
            if Loses.calls == 2:
                raise WorkerDied("a worker was killed")
            return super().launch(job_overrides, initial_job_idx)

    launch_by(monkeypatch, Loses)
    assert sweep("optimizer.lr=interval(0.01,1)", "sweep.sampler=tpe", "sweep.n_trials=3") == 0
    (parent,) = parents()
    assert len(children(parent)) == len(children(parent, "FINISHED")) == 3
    assert Loses.calls == 4
