"""Everything that names the best point of a sweep names the same one."""

import csv
import itertools
import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from backproof.cli.main import main
from backproof.gradcheck.report import Section
from backproof.netcheck.report import NetworkReport
from backproof.report.build import build
from backproof.sweeps.jobs import _values
from backproof.sweeps.objective import Objective
from backproof.sweeps.planned import PlannedRun
from backproof.sweeps.result import DONE, FAILED, NOT_RUN, RunResult, SweepResult
from backproof.tracking import Store, TrackingOptions

from tests.helpers import recorded
from tests.helpers.command import client
from tests.helpers.sweeps import children, parents

QUICK = ["dataset=iris", "train.epochs=2", "model.hidden=[4]", "gradcheck=off"]
CASES = {
    "seeds": ["activation=relu,tanh,gelu", "optimizer=sgd,adam", "seed=0,1,2"],
    # Three similar points: their accuracies are equal, their losses are not.
    "ties": [
        "optimizer.lr=0.1,0.1001,0.1002",
        "optimizer.momentum=0.0001,0.0002,0.0003",
        "sweep.zip=[[optimizer.lr,optimizer.momentum]]",
    ],
    "repeats": ["activation=relu,tanh", "repeats=2", "seed=0,2"],
}


ONE = (Objective("val/a", True),)


def best_by_hand(runs, keys):
    """Return the choices of the best point, computed from the runs."""
    points = {}
    for run in runs:
        points.setdefault(tuple(run.data.params[key] for key in keys), []).append(run.data.metrics)
    means = {
        choices: [np.mean([metrics[name] for metrics in group]) for name in ("val/accuracy", "val/loss")]
        for choices, group in points.items()
    }
    choices = min(means, key=lambda choices: (-means[choices][0], means[choices][1]))
    return dict(zip(keys, choices, strict=True)), means[choices][0]


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_everything_names_the_same_best_point(workdir, capsys, case):
    assert main(["train", "-m", *QUICK, *CASES[case]]) == 0
    terminal = re.search(r"^best +(.*)$", capsys.readouterr().out, re.MULTILINE).group(1)
    (parent,) = parents()
    runs = children(parent)
    tags = parent.data.tags
    keys = [key for key in parent.data.params["sweep.over"].split(", ") if key not in ("seed", "repeats")]
    if case == "ties":
        assert len({run.data.metrics["val/accuracy"] for run in runs}) == 1
        assert len({run.data.metrics["val/loss"] for run in runs}) == 3
    choices, value = best_by_hand(runs, keys)
    chosen = {f"{key}={text}" for key, text in choices.items()}
    mine = [run for run in runs if all(run.data.params[key] == text for key, text in choices.items())]
    nearest = min(mine, key=lambda run: abs(run.data.metrics["val/accuracy"] - value)).info.run_id

    def printed(*args):
        assert main(["runs", "last", "--format", "json", *args]) == 0
        return json.loads(capsys.readouterr().out)

    best = printed("--best")
    tie = "3 points tie" if case == "ties" else ""
    assert best["tied_points"] == (3 if case == "ties" else 1)
    assert ("points tie" in terminal) == bool(tie)
    assert main(["runs", "last", "--best", "--format", "table"]) == 0
    assert tie in capsys.readouterr().out
    assert tie in tags["mlflow.note.content"]
    assert best["params"] == choices
    assert best["value"] == pytest.approx(value)
    assert best["best_run"] == nearest
    assert set(best["runs"]) == {run.info.run_id for run in mine}
    assert printed()[0]["id"] == nearest
    assert chosen <= set(terminal.split())
    assert tags["backproof.best_run"] == nearest
    assert chosen <= set(tags["backproof.best"].split())
    assert parent.data.metrics["best/val/accuracy"] == pytest.approx(value)
    # The description: the first row of its table.
    first = re.search(r"^\| 1 \| `([^`]*)`", tags["mlflow.note.content"], re.MULTILINE).group(1)
    assert set(first.split()) == chosen
    # Only this run has a model and plots.
    for run in runs:
        folders = {artifact.path for artifact in client().list_artifacts(run.info.run_id)}
        logged = client().get_run(run.info.run_id).outputs
        assert ("plots" in folders) == (run.info.run_id == nearest)
        assert bool(logged and logged.model_outputs) == (run.info.run_id == nearest)
    with Path(tags["backproof.folder"], "points.csv").open() as file:
        ranked = [row["run_id"] for row in csv.DictReader(file) if row["rank"] == "1"]
    assert set(ranked) == set(best["runs"])
    # The report, as the sweep has logged it and as the command writes it.
    page = build(Store.find(TrackingOptions(), Path("outputs")), parent.info.run_id)
    logged_page = Path(client().download_artifacts(parent.info.run_id, "report.html", str(workdir))).read_text()
    for text in (page, logged_page):
        assert tie in text
        assert f"<pre>{best['command']}</pre>" in text.replace("&#39;", "'")
        row = re.search(r'<tr data-p="0" class="best">.*?</tr>', text).group(0)
        assert all(f'data-v="{text}"' in row for text in choices.values())


def result(*points, objectives=ONE):
    """A sweep of points, each a list of runs: a number, numbers of objective and loss, or a status."""
    runs = []
    for number, values in enumerate(points):
        for seed, value in enumerate(values):
            planned = PlannedRun([f"x={number}", f"seed={seed}"], "h", point=str(number), seed=seed)
            if isinstance(value, str):
                runs.append(RunResult(planned, value))
                continue
            a, loss = value if isinstance(value, tuple) else (value, 0.0)
            values_ = {"metrics": {"val/a": a, "val/loss": loss}, "run_id": f"{number}.{seed}"}
            runs.append(RunResult(planned, DONE, values_))
    return SweepResult(["x", "seed"], runs, objectives)


def names(outcome):
    return [point.name for point in outcome.ranked]


class TestRanking:
    def test_by_the_mean_over_seeds_and_not_by_the_best_run(self):
        outcome = result([0.9, 0.1], [0.6, 0.6])
        assert names(outcome) == ["x=1", "x=0"]
        assert outcome.aggregates()["best/val/a"] == 0.6

    def test_ties_by_the_validation_loss_then_by_order(self):
        assert names(result([(0.5, 2.0)], [(0.5, 1.0)], [(0.5, 2.0)])) == ["x=1", "x=0", "x=2"]

    def test_ties_are_counted_and_said(self):
        outcome = result([(0.5, 2.0)], [(0.5, 1.0)], [0.4], [0.5, FAILED], [(0.5, 3.0)])
        assert [outcome.tie_text(point) for point in outcome.ranked] == ["3 points tie"] * 3 + [""] * 2
        assert outcome.describe(outcome.best) == "val/a 0.5  3 points tie  x=1"
        assert "; 3 points tie; see" in outcome.markdown()
        alone = result([0.5], [0.4])
        assert alone.tie_text(alone.best) == ""
        assert result([float("nan")], [float("nan")]).tied == []
        two = (Objective("val/a", True), Objective("val/loss", False))
        both = result([(0.5, 1.0)], [(0.5, 1.0)], [(0.5, 2.0)], objectives=two)
        assert both.tie_text(both.best) == "2 points tie"

    def test_incomplete_points_come_after_complete_ones(self):
        outcome = result([0.9, FAILED, NOT_RUN], [0.5, 0.5, 0.5], [FAILED, FAILED, FAILED])
        assert names(outcome) == ["x=1", "x=0"]
        assert [point.seed_text for point in outcome.ranked] == ["over 3 seeds", "1 of 3 seeds"]
        assert "1 of 3" in outcome.markdown()
        # Points and runs are counted separately, since a point has a run for each seed.
        assert "3 points, 9 runs (4 done, 4 failed, 1 not run); " in outcome.markdown()

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
    def test_points_without_a_finite_objective_come_last(self, value):
        outcome = result([value, 0.9], [0.1, FAILED])
        assert names(outcome) == ["x=1", "x=0"]
        assert result([value]).best is None
        assert "backproof.best" not in result([value]).tags()

    def test_the_run_nearest_to_the_mean_represents_its_point(self):
        outcome = result([0.9, 0.2, 0.5], [0.1])
        assert outcome.best_run.run_id == "0.2"
        assert outcome.tags()["backproof.best_run"] == "0.2"
        assert outcome.tags()["backproof.best"] == "x=0"
        assert outcome.tags()["backproof.best_seeds"] == "3 of 3"

    def test_the_front_contains_the_best_and_is_ranked_by_the_first_objective(self):
        two = (Objective("val/a", True), Objective("val/loss", False))
        outcome = result([(0.9, 3.0)], [(0.9, 2.0)], [(0.5, 1.0)], [(0.4, 1.5)], objectives=two)
        assert [point.name for point in outcome.front] == ["x=1", "x=2"]
        assert outcome.best is outcome.front[0]

    def test_deviation_over_runs_that_have_repeats(self):
        values = [np.array([0.1, 0.4]), np.array([0.2, 0.9])]
        runs = [
            RunResult(
                PlannedRun([f"seed={2 * i}"], "h", point="p", seed=2 * i, repeats=2),
                DONE,
                {"metrics": {"val/a": own.mean(), "val/a_std": own.std(ddof=1)}},
            )
            for i, own in enumerate(values)
        ]
        (point,) = SweepResult(["seed"], runs, (Objective("val/a", True),)).ranked
        stat = point.stat("val/a")
        every = np.concatenate(values)
        assert (stat.mean, stat.std, stat.n) == pytest.approx((every.mean(), every.std(ddof=1), 4))


@pytest.mark.parametrize("verdict", ["passed", "failed", "untested", "nothing to check", "skipped"])
def test_a_point_has_the_verdict_of_its_recorded_run(verdict):
    (point,) = recorded.sweep([recorded.run(tags={"backproof.gradcheck": verdict})]).points
    assert point.gradcheck == verdict


def test_a_point_has_the_worst_verdict_of_its_runs():
    verdicts = ["skipped", "nothing to check", "passed", "untested", "failed"]
    for better, worse in itertools.pairwise(verdicts):
        runs = [
            recorded.run(seed, seed=seed, tags={"backproof.gradcheck": verdict})
            for seed, verdict in enumerate((better, worse))
        ]
        (point,) = recorded.sweep(runs).points
        assert (point.seeds, point.gradcheck) == (2, worse)


def test_a_live_run_with_nothing_to_check_has_the_verdict_of_its_record():
    """The report of a network in which no tensor can be compared."""
    report = NetworkReport((Section("fresh", ()),))
    assert report.status == "nothing to check"
    values = _values(
        SimpleNamespace(folder=Path("run"), run=None), SimpleNamespace(report=report, summary={}, seconds=1.0)
    )
    (point,) = SweepResult([], [RunResult(PlannedRun([], "h"), DONE, values)], ONE).points
    assert point.gradcheck == report.status
