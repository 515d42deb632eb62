"""Points trained as one stack: each is recorded as if it had been run alone."""

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest
from backproof.experiment.run import run_stack
from backproof.sweeps import jobs, yaml_file
from backproof.sweeps.engines.engine import packed
from backproof.sweeps.planned import PlannedRun
from backproof.tracking import Store, TrackingOptions
from backproof.tracking.query import recorded
from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from omegaconf import OmegaConf

from tests.helpers.command import BACKPROOF, client, runs
from tests.helpers.sweeps import SMALL, children, launch_by, parents, points, stacked, sweep

GRID = ["optimizer.lr=0.1,0.2", "penalty=l2", "penalty.strength=0.1,0.01", "seed=0,1"]


@pytest.fixture
def sizes(monkeypatch):
    """Return a list that collects the sizes of the stacks that are trained."""
    seen = []

    def counted(prepared, observers, **options):
        seen.append(len(prepared))
        return run_stack(prepared, observers, **options)

    monkeypatch.setattr(jobs, "run_stack", counted)
    return seen


def measured(runs):
    """Return everything that was measured, by config hash."""
    c = client()
    return {
        run.data.tags["backproof.config_hash"]: {
            name: [(metric.step, metric.value) for metric in c.get_metric_history(run.info.run_id, name)]
            for name in run.data.metrics
            if not name.startswith("verification/")
        }
        for run in runs
    }


@pytest.mark.slow
def test_each_point_is_recorded_as_if_it_had_run_alone(workdir, sizes, capsys):
    assert stacked(*GRID, "gradcheck=on", "dataset=wine", "train.batch_size=10") == 0
    assert sweep(*GRID, "gradcheck=on", "dataset=wine", "train.batch_size=10", "sweep.resume=off") == 0
    assert sizes == [8] + [1] * 8
    apart, together = (children(parent) for parent in parents()[::-1])
    assert [run.info.status for run in together] == ["FINISHED"] * 8
    assert measured(together) == measured(apart)
    names = [set(run.data.metrics) for run in (*together, *apart)]
    assert all(name == names[0] for name in names)
    assert all(run.data.tags["backproof.gradcheck"] == "passed" for run in together)
    assert {run.data.tags.get("backproof.stacked") for run in together} == {"8"}
    assert {run.data.params["optimizer.lr"] for run in together} == {"0.1", "0.2"}
    assert len({run.data.tags["backproof.folder"] for run in together}) == 8
    shown = capsys.readouterr().out
    assert "8 of 8 points as 1 stack" in shown
    lasted = [read.seconds for read in map(recorded, together)]
    wall = max(run.info.end_time for run in together) - min(run.info.start_time for run in together)
    assert 0 < sum(lasted) <= wall / 1000 + 0.01, "a run of a stack has its share of the time"
    # The files are equal too.
    one, other = (
        {run.data.tags["backproof.config_hash"]: Path(run.data.tags["backproof.folder"]) for run in records}
        for records in (together, apart)
    )
    for key, folder in one.items():
        files = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}
        expected = {str(file.relative_to(other[key])) for file in other[key].rglob("*") if file.is_file()}
        assert files == expected - {"config/hydra.yaml"}
        assert (folder / "metrics.csv").read_text() == (other[key] / "metrics.csv").read_text()
        config, alone = (
            OmegaConf.load(run_folder / "config/config.yaml") for run_folder in (folder, other[key])
        )
        assert config.optimizer == alone.optimizer
        assert (config.seed, config.penalty) == (alone.seed, alone.penalty)
        overrides = set(OmegaConf.load(folder / "config/overrides.yaml"))
        assert overrides <= set(OmegaConf.load(other[key] / "config/overrides.yaml"))
        listed = [
            artifact.path for artifact in client().list_artifacts(next(iter(runs_of(together, key))), "config")
        ]
        assert "config/config.yaml" in listed


def runs_of(runs, key):
    return [run.info.run_id for run in runs if run.data.tags["backproof.config_hash"] == key]


@pytest.mark.slow
def test_only_the_best_point_has_pictures_and_a_model(workdir):
    assert stacked("seed=0,1,2", "tracking.plots=true") == 0
    (parent,) = parents()
    best = parent.data.tags["backproof.best_run"]
    for run in children(parent):
        artifacts = [artifact.path for artifact in client().list_artifacts(run.info.run_id)]
        assert ("plots" in artifacts) == (run.info.run_id == best)
        assert bool(client().get_run(run.info.run_id).outputs.model_outputs) == (run.info.run_id == best)
        assert "weights" in artifacts
    pictures = [artifact.path for artifact in client().list_artifacts(best, "plots")]
    assert pictures == ["plots/confusion_matrix.png", "plots/learning_curves.png"]


@pytest.mark.slow
def test_points_that_differ_in_more_than_numbers_form_other_stacks(workdir, sizes):
    assert stacked("activation=relu,tanh", "optimizer=sgd,adam", "seed=0,1,2") == 0
    assert sizes == [3, 3, 3, 3]
    assert len(children(parents()[0], "FINISHED")) == 12


@pytest.mark.slow
def test_the_size_of_a_stack_is_limited(workdir, sizes):
    assert stacked("seed=range(7)", "sweep.stack_size=3") == 0
    assert sizes == [3, 3, 1]


@pytest.mark.slow
def test_one_point_of_a_kind_is_checked_entry_by_entry(workdir):
    """It is the first one, whichever stack it is in; all others are checked along random directions."""
    args = ["activation=relu,tanh", "seed=range(4)", "sweep.stack_size=2", "gradcheck=on"]
    assert stacked(*args) == 0
    first = []
    for run in children(parents()[0]):
        report = json.loads(Path(run.data.tags["backproof.folder"], "gradcheck.json").read_text())
        directions = {result["directions"] for section in report["sections"] for result in section["results"]}
        assert len(directions) == 1, "the same before and after training"
        if 0 in directions:
            first.append((run.data.params["activation"], run.data.params["seed"]))
    assert sorted(first) == [("relu", "0"), ("tanh", "0")]


@pytest.mark.slow
def test_every_point_has_the_users_tags(workdir):
    assert stacked("seed=0,1", "+tracking.tags.team=a") == 0
    assert [run.data.tags["team"] for run in children(parents()[0])] == ["a", "a"]


@pytest.mark.slow
def test_values_that_are_mappings_are_not_merged(workdir, sizes):
    """Points are composed by setting values in place, and Hydra would merge a mapping with the previous one."""
    assert stacked("seed=0,1", "++tracking.tags={a: x},{b: y}") == 0
    assert sum(sizes) == 4
    for run in children(parents()[0]):
        config = OmegaConf.load(Path(run.data.tags["backproof.folder"], "config/config.yaml"))
        assert ("a" in run.data.tags) != ("b" in run.data.tags)
        assert ("a" in config.tracking.tags) != ("b" in config.tracking.tags)
        assert "backproof.point" not in config.tracking.tags


@pytest.mark.parametrize(
    "text", ["1e5", "0123", "0x1f", "1_000", "true", "null", ".nan", "", "${a}", "a: b", "é"]
)
def test_omegaconf_reads_back_the_written_config(tmp_path, text):
    values = {"text": text, "number": 1e-05, "none": None, "list": [text, 2]}
    yaml_file.write(tmp_path / "config/config.yaml", values)
    read = OmegaConf.load(tmp_path / "config/config.yaml")
    assert OmegaConf.to_container(read, resolve=False) == values


@pytest.mark.slow
@pytest.mark.parametrize(
    "args",
    [
        ["sweep.stack=off"],
        ["sweep.pruner=median"],
        ["hydra.sweep.subdir=s${seed}"],
        ["model.hidden=[4000]"],
    ],
    ids=str,
)
def test_points_run_alone_where_stacks_are_useless(workdir, sizes, args):
    assert stacked("seed=0,1", *args) == 0
    assert sizes == [1, 1]


@pytest.mark.slow
def test_points_that_a_search_draws_together_are_stacked(workdir, sizes):
    args = ["optimizer.lr=interval(0.01,1)", "sweep.sampler=tpe", "sweep.n_trials=4"]
    assert stacked(*args, "sweep.batch=2") == 0
    assert sizes == [2, 2]
    assert len(children(parents()[0], "FINISHED")) == 4


@pytest.mark.slow
def test_a_point_that_diverges_does_not_affect_the_others(workdir, sizes, capsys):
    args = ["dataset=diabetes", "optimizer.lr=0.01,5e3,0.02", "gradcheck=on", "train.epochs=3"]
    assert stacked(*args) == 1
    assert sizes == [3]
    (failed,) = runs(**{"backproof.diverged": "true"})
    assert failed.info.status == "FAILED"
    assert failed.data.params["optimizer.lr"] == "5000.0"
    assert "Traceback" in Path(failed.data.tags["backproof.folder"], "error.txt").read_text()
    assert "error.txt" in [artifact.path for artifact in client().list_artifacts(failed.info.run_id)]
    assert "became" in failed.data.tags["backproof.error"]
    (parent,) = parents()
    assert len(children(parent, "FINISHED")) == 2
    assert [row["status"] for row in points(parent.data.tags["backproof.folder"])] == ["done", "failed", "done"]
    assert "DivergedError: the loss became" in capsys.readouterr().out


@pytest.mark.slow
def test_only_the_failed_point_is_run_again(workdir, sizes):
    args = ["dataset=diabetes", "optimizer.lr=0.01,5e3,0.02", "train.epochs=3"]
    assert stacked(*args) == 1
    assert stacked(*args) == 1
    assert sizes == [3, 1]
    (parent,) = parents()
    assert len(children(parent, "FINISHED")) == 2
    assert len(children(parent, "FAILED")) == 2


@pytest.mark.slow
def test_the_recorded_points_of_an_interrupted_stack_are_kept(workdir, monkeypatch):
    """Ctrl-C while the results of a stack are being recorded."""
    from backproof.tracking import recorder

    original, seen = recorder._write, []

    def interrupted(*args, **kwargs):
        seen.append(args)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return original(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(recorder, "_write", interrupted)
        assert stacked("seed=range(5)") == 130
    (parent,) = parents()
    assert parent.info.status == "KILLED"
    assert sorted(run.info.status for run in children(parent)) == ["FINISHED"] * 2 + ["KILLED"] * 3
    assert parent.data.metrics["sweep/done"] == 2
    table = points(parent.data.tags["backproof.folder"])
    assert [row["status"] for row in table] == ["done"] * 2 + ["not run"] * 3
    assert stacked("seed=range(5)") == 0
    (parent,) = parents()
    done = [int(run.data.params["seed"]) for run in children(parent, "FINISHED")]
    assert sorted(done) == list(range(5))


@pytest.mark.slow
def test_a_stack_whose_worker_died_is_run_again_without_its_finished_points(workdir, monkeypatch):
    class WorkerDied(Exception):
        pass

    class Loses(BasicLauncher):
        calls = 0

        def launch(self, job_overrides, initial_job_idx):
            Loses.calls += 1
            returned = super().launch(job_overrides, initial_job_idx)
            if Loses.calls == 1:
                (parent,) = parents()
                lost = [run for run in children(parent) if run.data.params["seed"] in ("1", "3")]
                for run in lost:
                    client().update_run(run.info.run_id, status="RUNNING")
                raise WorkerDied("a worker was killed")
            return returned

    Loses.__name__ = BasicLauncher.__name__
    launch_by(monkeypatch, Loses)
    assert stacked("seed=range(4)", "sweep.batch=1", "sweep.stack_size=4") == 0
    (parent,) = parents()
    done = [int(run.data.params["seed"]) for run in children(parent, "FINISHED")]
    assert sorted(done) == [0, 1, 2, 3]
    assert {run.info.status for run in children(parent)} == {"FINISHED", "KILLED"}


@pytest.mark.slow
def test_kill_9_within_a_stack(workdir):
    args = [
        *BACKPROOF,
        "train",
        "-m",
        *SMALL,
        "seed=range(8)",
        "train.epochs=400",
        "tracking.flush_seconds=0.05",
    ]
    # Create the store first: reading it below while it is being created would break it.
    Store.open(TrackingOptions(), workdir / "outputs")
    process = subprocess.Popen(args, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(600):
        time.sleep(0.1)
        if len(runs()) == 9:
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert subprocess.run(args, check=False, timeout=120, capture_output=True).returncode == 0
    (parent,) = parents()
    assert sorted(int(run.data.params["seed"]) for run in children(parent, "FINISHED")) == list(range(8))
    assert {run.info.status for run in children(parent)} <= {"FINISHED", "KILLED"}


class TestBatches:
    def test_kinds_are_separated_and_keep_their_order(self):
        kinds = [0, 1, None, 0, 1, 0, 0]
        planned = [PlannedRun([str(i)], "h", stack=kind, index=i) for i, kind in enumerate(kinds)]

        def places(most):
            batches = packed(planned, most)
            assert all(run is planned[run.index] for batch in batches for run in batch)
            return [[run.index for run in batch] for batch in batches]

        assert places(3) == [[0, 3, 5], [1, 4], [2], [6]]
        assert places(1) == [[i] for i in range(7)]
