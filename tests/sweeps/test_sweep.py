"""Resuming sweeps so that every point is finished exactly once; failures, retries, the parent run."""

import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from backproof.sweeps import jobs
from backproof.sweeps.objective import Objective
from backproof.sweeps.planned import PlannedRun
from backproof.sweeps.result import RunResult, SweepResult
from backproof.sweeps.resume import match
from backproof.tracking.query import RunRecord
from hydra._internal.core_plugins.basic_launcher import BasicLauncher

from tests.helpers.command import BACKPROOF, client, runs
from tests.helpers.sweeps import GRID, QUICK, children, hashes, interrupt_at, launch_by, parents, points, sweep


class TestResume:
    @pytest.mark.slow
    def test_an_interrupted_sweep_is_resumed_by_the_same_command(self, workdir, monkeypatch, capsys):
        with monkeypatch.context() as patch:
            interrupt_at(patch, 4, KeyboardInterrupt())
            assert sweep(*GRID) == 130
        (parent,) = parents()
        assert parent.info.status == "KILLED"
        assert parent.data.metrics["sweep/done"] == 3
        table = points(parent.data.tags["backproof.folder"])
        assert [row["status"] for row in table] == ["done"] * 3 + ["not run"] * 3
        before = {r.info.run_id: r.info.end_time for r in children(parent)}
        weights = {p: p.stat().st_mtime_ns for p in Path("outputs/sweeps").rglob("*") if p.is_file()}

        assert sweep(*GRID) == 0
        shown = capsys.readouterr().out
        assert "3 of 6 points are done" in shown
        assert "3 runs over" in shown
        (parent,) = parents()
        records = children(parent)
        assert parent.info.status == "FINISHED"
        assert [r.info.status for r in records] == ["FINISHED"] * 6
        assert len(set(hashes(records))) == 6
        assert len({r.data.tags["backproof.folder"] for r in records}) == 6
        assert before.items() <= {r.info.run_id: r.info.end_time for r in records}.items()
        assert all(path.stat().st_mtime_ns == then for path, then in weights.items())
        assert parent.data.metrics["sweep/done"] == 6
        table = points(parent.data.tags["backproof.folder"])
        assert [row["status"] for row in table] == ["done"] * 6
        rates = {rate: [row for row in table if f"lr={rate}" in row["overrides"]] for rate in ("0.1", "0.2")}
        means = [np.mean([float(row["val/accuracy"]) for row in rows]) for rows in rates.values()]
        assert parent.data.metrics["best/val/accuracy"] == pytest.approx(max(means), rel=1e-12)

    @pytest.mark.slow
    def test_a_complete_sweep_starts_again_unless_it_is_named(self, workdir, capsys):
        assert sweep("seed=0,1") == 0
        assert sweep("seed=0,1") == 0
        assert len(parents()) == 2
        assert sweep("seed=0,1", "sweep.resume=last") == 0
        assert "0 runs over seed, 2 more are done" in capsys.readouterr().out
        assert [len(children(parent)) for parent in parents()] == [2, 2]

    @pytest.mark.slow
    def test_off_starts_a_new_sweep(self, workdir, monkeypatch):
        with monkeypatch.context() as patch:
            interrupt_at(patch, 2, KeyboardInterrupt())
            assert sweep("seed=0,1,2") == 130
        assert sweep("seed=0,1,2", "sweep.resume=off") == 0
        assert [len(children(parent)) for parent in parents()] == [1, 3]

    @pytest.mark.slow
    def test_failed_and_killed_points_are_run_again(self, workdir, monkeypatch):
        with monkeypatch.context() as patch:
            interrupt_at(patch, 2, ArithmeticError("planted"))
            assert sweep("seed=0,1,2") == 1
        (parent,) = parents()
        assert parent.data.tags["backproof.failed"] == "1"
        # The state after a power cut.
        victim = children(parent)[-1]
        client().update_run(victim.info.run_id, status="RUNNING")
        client().update_run(parent.info.run_id, status="RUNNING")
        assert sweep("seed=0,1,2") == 0
        (parent,) = parents()
        records = children(parent)
        assert sorted(r.info.status for r in records) == ["FINISHED"] * 3 + ["KILLED"]
        assert len(set(hashes(children(parent, "FINISHED")))) == 3
        (killed,) = children(parent, "KILLED")
        assert killed.info.run_id == victim.info.run_id
        assert killed.data.tags["backproof.superseded"] == "true"
        assert "backproof.failed" not in parent.data.tags

    @pytest.mark.slow
    def test_a_sweep_is_extended_by_name_or_id(self, workdir):
        assert sweep("seed=0,1", "tracking.run_name=mine") == 0
        (parent,) = parents()
        assert sweep("seed=0,1,2,3", "sweep.resume=mine") == 0
        assert sweep("seed=4,3,2", f"sweep.resume={parent.info.run_id[:10]}") == 0
        (parent,) = parents()
        assert sorted(int(r.data.params["seed"]) for r in children(parent, "FINISHED")) == [0, 1, 2, 3, 4]

    @pytest.mark.slow
    def test_an_id_that_looks_like_a_number_is_an_id(self, workdir, capsys):
        assert sweep("seed=0,1", "sweep.resume=437367e5") == 2
        assert "'437367e5'" in capsys.readouterr().err

    @pytest.mark.slow
    def test_sweeps_that_cannot_be_resumed(self, workdir, capsys):
        assert sweep("seed=0,1", "sweep.resume=last") == 2
        assert "sweep.resume: got 'last'" in capsys.readouterr().err
        assert sweep("seed=0,1") == 0
        assert sweep("seed=7,8", "sweep.resume=last") == 2
        assert "a sweep of these points" in capsys.readouterr().err
        assert sweep("seed=0,1", "sweep.resume=nothing") == 2
        assert "'nothing'" in capsys.readouterr().err
        assert sweep("seed=0,1", "sweep.resume=last", "tracking=off") == 2
        assert len(runs()) == 3

    @pytest.mark.slow
    def test_a_running_sweep_is_not_resumed(self, workdir, monkeypatch, capsys):
        codes = []
        original = jobs.sweep_job

        def job(cfg):
            if not codes:
                codes.append(None)
                args = [*BACKPROOF, "train", "-m", *QUICK, "seed=0,1"]
                codes.append(subprocess.run([*args, "sweep.resume=last"], capture_output=True, text=True))
                codes.append(subprocess.run(args, capture_output=True, text=True))
            return original(cfg)

        monkeypatch.setattr(jobs, "sweep_job", job)
        assert sweep("seed=0,1") == 0
        _, named, auto = codes
        assert named.returncode == 2
        assert "at work" in named.stderr
        assert auto.returncode == 0, auto.stderr
        assert [len(children(parent)) for parent in parents()] == [2, 2]

    @pytest.mark.slow
    def test_no_folder_is_written_twice(self, workdir):
        for chosen in ([], ["hydra.sweep.subdir=s${seed}"]):
            args = ["seed=0,1", "hydra.sweep.dir=outputs/fixed", *chosen]
            assert sweep(*args) == 0
            assert sweep(*args, "sweep.resume=off") == 0
        names = sorted(path.name for path in Path("outputs/fixed").iterdir() if path.is_dir())
        assert names == ["0", "1", "2", "3", "jobs", "s0", "s0-2", "s1", "s1-2"]
        assert len({r.data.tags["backproof.folder"] for r in runs(**{"backproof.kind": "run"})}) == 8

    @pytest.mark.slow
    def test_kill_9_loses_only_the_points_that_were_running(self, workdir):
        """Kill the sweep repeatedly until it completes: every point is finished exactly once."""
        args = [*BACKPROOF, "train", "-m", *QUICK, "seed=range(24)", "train.epochs=60"]
        for patience in (0.0, 0.1, 0.25, None):
            process = subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            if patience is not None:
                assert process.stdout is not None
                # Kill it some moments after the first point of this attempt is done.
                for line in process.stdout:
                    if " 2/" in line:
                        break
                time.sleep(patience)
                process.send_signal(signal.SIGKILL)
            shown, _ = process.communicate(timeout=120)
        assert process.returncode == 0, shown
        (parent,) = parents()
        done = children(parent, "FINISHED")
        assert sorted(int(r.data.params["seed"]) for r in done) == list(range(24))
        assert {r.info.status for r in children(parent)} <= {"FINISHED", "KILLED"}
        assert parent.info.status == "FINISHED"
        table = points(parent.data.tags["backproof.folder"])
        assert [row["status"] for row in table] == ["done"] * 24

    def test_two_points_with_the_same_config_are_distinguished(self):
        def child(run_id, point):
            tags = {"backproof.config_hash": "h", "backproof.point": point}
            return RunRecord(run_id, run_id, "FINISHED", 0.0, 1.0, {}, {}, tags)

        planned = [
            PlannedRun([override], "h", index=i) for i, override in enumerate(("gradcheck=on", "gradcheck=off"))
        ]
        off = child("off", planned[1].digest)
        assert match(planned, [off]) == {1: off}
        other = child("other", "made by another command")
        assert match(planned, [off, other]) == {0: other, 1: off}
        assert match(planned, [other]) == {0: other}


class TestFailures:
    @pytest.mark.slow
    def test_fail_fast_stops_at_the_first_failure(self, workdir, monkeypatch, capsys):
        interrupt_at(monkeypatch, 2, ArithmeticError("planted"))
        assert sweep("seed=0,1,2,3", "sweep.fail_fast=true") == 1
        shown = capsys.readouterr().out
        assert "ArithmeticError: planted" in shown
        (parent,) = parents()
        assert parent.info.status == "FAILED"
        table = points(parent.data.tags["backproof.folder"])
        assert [row["status"] for row in table] == ["done", "failed", "not run", "not run"]

    @pytest.mark.slow
    def test_a_traceback_is_in_the_folder_and_in_mlflow(self, workdir):
        args = ["dataset=diabetes", "optimizer.lr=0.01,5e3", "gradcheck=on", "train.epochs=3"]
        assert sweep(*args) == 1
        (failed,) = runs(**{"backproof.diverged": "true"})
        assert "Traceback" in Path(failed.data.tags["backproof.folder"], "error.txt").read_text()
        assert "error.txt" in [artifact.path for artifact in client().list_artifacts(failed.info.run_id)]

    @pytest.mark.slow
    def test_a_sweep_without_a_finished_point_has_failed(self, workdir, monkeypatch):
        def job(cfg):
            raise ArithmeticError("planted")

        monkeypatch.setattr(jobs, "sweep_job", job)
        assert sweep("seed=0,1") == 1
        assert parents()[0].info.status == "FAILED"

    @pytest.mark.slow
    def test_a_timeout_starts_no_further_point(self, workdir, capsys):
        assert sweep("seed=0,1,2", "sweep.timeout=1e-9") == 0
        (parent,) = parents()
        assert children(parent) == []
        assert sweep("seed=0,1,2") == 0
        assert len(children(parents()[0])) == 3

    @pytest.mark.slow
    @pytest.mark.parametrize("retries", [0, 1])
    def test_jobs_of_dead_workers_are_retried(self, workdir, monkeypatch, retries):
        """As with joblib's launcher: if one worker dies, the whole call is lost."""
        calls = []

        class TerminatedWorkerError(Exception):
            pass

        class Loses(BasicLauncher):
            def launch(self, job_overrides, initial_job_idx):
                calls.append(len(job_overrides))
                if len(calls) == 1:
                    super().launch(job_overrides[:1], initial_job_idx)
                    raise TerminatedWorkerError("a worker was killed")
                return super().launch(job_overrides, initial_job_idx)

        launch_by(monkeypatch, Loses)
        code = sweep("seed=0,1,2", f"sweep.retries={retries}")
        (parent,) = parents()
        done = sorted(int(r.data.params["seed"]) for r in children(parent, "FINISHED"))
        if retries:
            assert code == 0
            assert calls == [3, 2]
            assert done == [0, 1, 2]
        else:
            assert code == 1
            assert done == [0]
        assert parent.data.metrics["sweep/done"] == len(done)
        assert len({r.data.tags["backproof.folder"] for r in children(parent)}) == len(children(parent))


class TestResult:
    @staticmethod
    def result(*rows):
        runs = [
            RunResult(PlannedRun([str(i)], "h", point=str(i)), "done", {"metrics": {"val/a": a, "val/b": b}})
            for i, (a, b) in enumerate(rows)
        ]
        return SweepResult([], runs, (Objective("val/a", True), Objective("val/b", False)))

    def test_the_front_contains_the_points_that_are_not_dominated(self):
        outcome = self.result((1, 1), (2, 2), (2, 3), (0, 0), (float("nan"), -1), (2, 2))
        assert [point.overrides for point in outcome.front] == [["1"], ["5"], ["0"], ["3"]]

    def test_ranking_and_aggregates(self):
        outcome = self.result((1, 1), (3, 2), (float("nan"), 0), (2, 3))
        assert [point.overrides[0] for point in outcome.ranked] == ["1", "3", "0", "2"]
        numbers = outcome.aggregates()
        assert numbers["mean/val/a"] == 2
        assert numbers["std/val/a"] == 1
        assert numbers["best/val/b"] == 0
        assert numbers["sweep/done"] == 4


@pytest.mark.slow
def test_the_parent_run_describes_the_sweep(workdir):
    assert sweep("optimizer.lr=0.1,0.2", "seed=0,1") == 0
    (parent,) = parents()
    params, tags, metrics = parent.data.params, parent.data.tags, parent.data.metrics
    assert params["space.optimizer.lr"] == "0.1,0.2"
    assert (params["sweep.runs"], params["sweep.points"]) == ("4", "2")
    assert tags["backproof.objective"] == "val/accuracy"
    assert tags["backproof.direction"] == "maximize"
    assert "optimizer.lr=" in tags["backproof.best"]
    values = [r.data.metrics["val/accuracy"] for r in children(parent)]
    assert metrics["mean/val/accuracy"] == pytest.approx(sum(values) / 4)
    assert "backproof train -m" in tags["mlflow.note.content"]
    paths = [artifact.path for artifact in client().list_artifacts(parent.info.run_id)]
    assert {"points.csv", "multirun.yaml", "report.html"} <= set(paths)
    (first, *_) = children(parent)
    assert "sweep" not in first.data.tags["mlflow.note.content"]
    assert "tracking" not in first.data.tags["mlflow.note.content"].replace("tracking.plots", "")
    assert os.listdir(tags["backproof.folder"]).count(".running") == 0
