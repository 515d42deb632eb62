"""`backproof runs` and `backproof report` on recorded runs."""

import csv
import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from backproof.cli.main import main
from backproof.cli.ui import MLFLOW_SERVER
from backproof.contracts.errors import TrackingError
from backproof.tracking import TrackingOptions
from backproof.tracking.query import find, get, history, members, runs
from backproof.tracking.store import Store

from tests.cli.test_ui import free_port
from tests.helpers.recorded import parent, run

pytestmark = pytest.mark.slow  # The fixture `recorded` trains three sweeps.

QUICK = ["dataset=iris", "train.epochs=3", "model.hidden=[5]", "tracking.model=false", "tracking.plots=false"]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Return a folder with a run and three sweeps: over activation and seed, with a failure, with repeats."""
    folder = tmp_path_factory.mktemp("recorded")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        assert main(["train", "-m", *QUICK, "activation=relu,tanh", "seed=0,1", "tracking.run_name=first"]) == 0
        assert main(["train", "-m", *QUICK, "optimizer.lr=0.05,1e300", "tracking.run_name=broken"]) == 1
        assert (
            main(["train", "-m", *QUICK, "repeats=3", "optimizer.lr=0.01,0.1", "tracking.run_name=stacks"]) == 0
        )
        assert main(["train", *QUICK, "dataset=wine", "tracking.run_name=alone"]) == 0
    return folder


@pytest.fixture
def workdir(recorded, monkeypatch, capsys):
    monkeypatch.chdir(recorded)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    capsys.readouterr()
    return recorded


@pytest.fixture
def output_of(workdir, capsys):
    """Return a function that runs a command and returns its output."""

    def call(*args, code=0):
        assert main([*args]) == code
        captured = capsys.readouterr()
        return captured.err if code else captured.out

    return call


def store():
    return Store.find(TrackingOptions(), Path("outputs"))


class TestRuns:
    def test_sweeps_and_single_runs_are_listed_newest_first(self, output_of):
        head, *rows = output_of("runs", "--format", "table").splitlines()
        assert head.split() == ["run", "name", "best", "check", "status", "when", "took"]
        assert [re.split(r"  +", row)[1] for row in rows] == ["alone", "stacks", "broken", "first"]
        assert re.search(r"val/accuracy 0\.\d+ +–  +done, 4 runs", rows[3])
        assert "passed" in rows[0]

    def test_the_points_of_a_sweep_are_listed_best_first(self, output_of):
        head, *rows = output_of("runs", "first", "--format", "table").splitlines()
        assert head.split()[:7] == [
            "run",
            "name",
            "activation",
            "seed",
            "val/accuracy",
            "test/accuracy",
            "val/loss",
        ]
        values = [float(row.split()[4]) for row in rows]
        assert len(values) == 4
        # The runs of the better point come first, and the runs of a point stay together.
        assert sum(values[:2]) >= sum(values[2:])
        assert [row.split()[2] for row in rows] in (["relu"] * 2 + ["tanh"] * 2, ["tanh"] * 2 + ["relu"] * 2)
        assert not any(row.endswith(" ") or "\x1b" in row for row in rows)

    def test_repeats_show_a_standard_deviation(self, output_of):
        assert output_of("runs", "last", "--format", "table").count(" ± ") == 3 * 2

    def test_a_failure_shows_its_reason(self, output_of):
        done, failed = output_of("runs", "broken", "--format", "table").splitlines()[1:]
        assert "done" in done
        assert re.search(r"1e\+?300 .* failed .*DivergedError: the loss became", failed)

    def test_json(self, output_of):
        records = json.loads(output_of("runs", "first", "--format", "json"))
        assert len(records) == 4
        assert {(run["differs"]["activation"], run["differs"]["seed"]) for run in records} == {
            (a, s) for a in ("relu", "tanh") for s in "01"
        }
        first = records[0]
        assert len(first["id"]) == 32
        assert first["status"] == "done"
        assert first["gradcheck"] == "passed"
        assert first["seconds"] > 0
        assert time.strptime(first["started"], "%Y-%m-%dT%H:%M:%S%z")
        assert {"val/accuracy", "test/loss", "verification/log10_error"} <= first["metrics"].keys()
        assert first["command"].startswith("backproof train dataset=iris")
        # NaN, which JSON does not have, is null.
        assert "NaN" not in output_of("runs", "broken", "--format", "json")

    def test_csv(self, output_of):
        rows = list(csv.DictReader(io.StringIO(output_of("runs", "stacks", "--format", "csv"))))
        assert [row["optimizer.lr"] for row in rows] == ["0.1", "0.01"]
        assert float(rows[0]["val/accuracy_std"]) >= 0
        assert not [key for key in rows[0] if key.startswith("gradcheck/")]
        assert len(list(csv.DictReader(io.StringIO(output_of("runs", "--format", "csv", "--limit", "2"))))) == 2

    def test_sort(self, output_of):
        records = json.loads(output_of("runs", "first", "--format", "json", "--sort", "train/loss"))
        losses = [run["metrics"]["train/loss"] for run in records]
        assert losses == sorted(losses)
        error = output_of("runs", "first", "--sort", "val/acuracy", code=2)
        assert "no run has the metric 'val/acuracy'" in error
        assert "val/accuracy" in error.splitlines()[1]

    def test_best_is_the_point_with_the_best_mean_over_seeds(self, output_of):
        best = json.loads(output_of("runs", "first", "--best", "--format", "json"))
        records = json.loads(output_of("runs", "first", "--format", "json"))
        means = {}
        for a in ("relu", "tanh"):
            means[a] = np.mean(
                [e["metrics"]["val/accuracy"] for e in records if e["differs"]["activation"] == a]
            )
        assert best["value"] == pytest.approx(max(means.values()))
        assert best["params"] == {"activation": max(means, key=means.get)}
        assert best["seeds"] == [0, 1]
        assert len(best["runs"]) == 2
        line = output_of("runs", "first", "--best", "--format", "table")
        assert line.count("\n") == 1
        assert line.rstrip().endswith(best["command"])
        assert " ± " in line
        assert "over 2 seeds" in line

    def test_the_command_of_the_best_point_gives_the_same_runs(self, output_of, tmp_path, monkeypatch):
        best = json.loads(output_of("runs", "first", "--best", "--format", "json"))
        before = [get(store(), run_id) for run_id in best["runs"]]
        words = shlex.split(best["command"])
        assert words[:3] == ["backproof", "train", "-m"]
        monkeypatch.chdir(tmp_path)
        assert main([*words[1:], "tracking.plots=false"]) == 0
        after = [run for run in runs(store()) if not run.is_sweep]
        tag = "backproof.config_hash"
        assert {run.tags[tag] for run in after} == {run.tags[tag] for run in before}
        key = "val/loss"
        assert sorted(run.metrics[key] for run in after) == sorted(run.metrics[key] for run in before)

    def test_a_command_built_from_the_parameters_gives_the_same_run(self, workdir, tmp_path, monkeypatch):
        from backproof.sweeps.recorded import command_words

        original = find(runs(store()), "alone")
        original.tags["mlflow.note.content"] = "somebody's own words"
        monkeypatch.chdir(tmp_path)
        assert main([*command_words(original)[1:], "tracking.plots=false"]) == 0
        (again,) = runs(store())
        assert again.tags["backproof.config_hash"] == original.tags["backproof.config_hash"]
        assert again.metrics["val/loss"] == original.metrics["val/loss"]

    def test_best_needs_comparable_runs(self, output_of):
        assert "2 datasets (iris, wine)" in output_of("runs", "--best", code=2)

    def test_a_pipe_that_closes(self, workdir):
        script = f"{sys.executable} -m backproof runs first --format json | head -1"
        done = subprocess.run(
            ["bash", "-c", script],
            capture_output=True,
            text=True,
            check=True,
            env={
                "PYTHONPATH": str(Path(__file__).parents[2] / "framework"),
                "PATH": "/usr/bin:/bin",
                "HOME": str(workdir),
            },
        )
        assert done.stdout == "[\n"
        assert done.stderr == ""


class TestWhichRun:
    def test_by_id_prefix_name_and_last(self, output_of):
        records = json.loads(output_of("runs", "--format", "json"))
        first = next(run for run in records if run["name"] == "first")
        for reference in (first["id"], first["id"][:9], "first"):
            assert output_of("runs", reference) == output_of("runs", "first")
        assert output_of("runs", "last") == output_of("runs", "stacks")

    @pytest.mark.parametrize("options", [["--best"], ["--format", "json"]])
    def test_last_says_that_a_single_run_is_newer(self, workdir, capsys, options):
        assert main(["runs", "last", *options]) == 0
        sweep = find(runs(store()), "last")
        note = f"last is the sweep stacks ({sweep.id[:8]}); the single run alone is newer\n"
        assert capsys.readouterr().err == note
        assert main(["runs", "stacks", *options]) == 0
        assert capsys.readouterr().err == ""

    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("nowhere", "no run has the id or the name 'nowhere'; the latest sweeps are"),
            ("alone", "not a sweep: it was trained alone"),
        ],
    )
    @pytest.mark.parametrize("command", ["runs", "report"])
    def test_anything_but_a_sweep_is_rejected(self, output_of, command, name, words):
        assert words in output_of(command, name, code=2)

    def test_a_point_names_its_sweep(self, output_of):
        point = json.loads(output_of("runs", "first", "--format", "json"))[0]
        assert "it is a point of the sweep" in output_of("runs", point["id"], code=2)

    def test_an_ambiguous_prefix_is_rejected(self):
        sweep = parent()
        with pytest.raises(TrackingError, match="begins the ids of 2 runs"):
            find([run(1), run(2), sweep], "000")
        assert find([run(1), run(2), sweep], "ff") is sweep
        with pytest.raises(TrackingError, match="no sweep is recorded"):
            find([run(1)], "last")
        with pytest.raises(TrackingError, match="no run has"):
            find([run(1)], "")

    @pytest.mark.parametrize("command", ["runs", "report"])
    def test_an_empty_folder(self, tmp_path, monkeypatch, capsys, command):
        monkeypatch.chdir(tmp_path)
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        assert main([command]) == 2
        assert "there are no runs yet" in capsys.readouterr().err
        assert list(tmp_path.iterdir()) == []

    def test_another_experiment(self, output_of):
        error = output_of("runs", "--experiment", "mine", code=2)
        assert "no experiment 'mine'" in error
        assert "backproof" in error
        # The query has not created it.
        assert "no experiment 'mine'" in output_of("report", "--experiment", "mine", code=2)

    @pytest.mark.parametrize("options", [["--limit", "-1"], ["--format", "xml"], ["--limit", "x"]])
    def test_bad_options(self, workdir, options):
        assert main(["runs", *options]) == 2


class TestReport:
    def test_it_shows_the_sweep(self, output_of, tmp_path):
        file = tmp_path / "deep" / "page.html"
        assert str(file) in output_of("report", "first", "--out", str(file))
        text = file.read_text()
        assert "first</h1>" in text
        assert text.count('<tr data-p="') == 2
        assert text.count('class="run"') == 4
        assert text.count("paired t-test") == 1
        assert "activation=relu,tanh seed=0,1" in text
        assert text.count('class="curve"') == 3 * 2
        assert 'class="band"' in text
        assert not re.search(r"https?:", text)

    def test_stacks_are_compared_by_their_members(self, output_of, tmp_path):
        output_of("report", "stacks", "--out", str(tmp_path / "page.html"))
        text = (tmp_path / "page.html").read_text()
        assert "paired t-test" in text
        assert 'class="band"' in text

    def test_failures_are_listed_with_their_reasons(self, output_of, tmp_path):
        output_of("report", "broken", "--out", str(tmp_path / "page.html"))
        text = (tmp_path / "page.html").read_text()
        assert "Runs that did not finish" in text
        assert "DivergedError: the loss became" in text
        assert "before their run was recorded" not in text

    def test_a_path_that_cannot_be_written(self, output_of, tmp_path):
        (tmp_path / "file").write_text("")
        assert "cannot be written" in output_of("report", "--out", str(tmp_path / "file" / "x.html"), code=2)

    def test_the_name_of_the_file(self, output_of, tmp_path, monkeypatch, recorded):
        monkeypatch.chdir(tmp_path)
        out = output_of("report", "--outputs", str(recorded / "outputs"))
        (file,) = tmp_path.iterdir()
        assert re.fullmatch(r"report-[0-9a-f]{8}\.html", file.name)
        assert file.name in out


class TestReading:
    def test_members_are_the_seeds(self, workdir):
        stack = next(run for run in runs(store()) if run.repeats == 3)
        members_by_seed = members(store(), stack)
        assert sorted(members_by_seed) == [0, 1, 2]
        mean = np.mean([member["val/loss"] for member in members_by_seed.values()])
        assert mean == pytest.approx(stack.metrics["val/loss"])

    def test_history_has_the_epochs(self, workdir):
        alone = find(runs(store()), "alone")
        folder = Path(alone.tags["backproof.folder"])
        rows = list(csv.DictReader(io.StringIO((folder / "metrics.csv").read_text())))
        assert history(store(), alone.id, "val/loss") == {
            int(row["epoch"]): pytest.approx(float(row["val/loss"])) for row in rows
        }

    def test_more_runs_than_one_request_returns(self, workdir, monkeypatch):
        from backproof.tracking import query

        before = [run.id for run in runs(store())]
        monkeypatch.setattr(query, "PAGE", 3)
        assert [run.id for run in runs(store())] == before
        assert len(before) == 4 + 2 + 2 + 3 + 1


def test_a_server_gives_the_same_results(output_of, workdir, tmp_path):
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    database = f"sqlite:///{workdir / 'outputs' / 'mlflow.db'}"
    server = subprocess.Popen(
        [*MLFLOW_SERVER, "--backend-store-uri", database, "--host", "127.0.0.1", "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{address}/health", timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        for args in (["stacks"], ["first", "--best"], ["--format", "json"]):
            assert output_of("runs", *args, "--uri", address) == output_of("runs", *args)
        output_of("report", "stacks", "--out", str(tmp_path / "a.html"), "--uri", address)
        output_of("report", "stacks", "--out", str(tmp_path / "b.html"))
        assert (tmp_path / "a.html").read_text() == (tmp_path / "b.html").read_text()
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
