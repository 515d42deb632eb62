"""Points on a launcher that returns each job as it ends, and the setup and checks of a worker. Without Dask."""

import contextlib
import dataclasses
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import ClassVar

import pytest
from backproof.app.session import Session
from backproof.cli.main import main
from backproof.cli.train import Task
from backproof.contracts.errors import ClusterLostError, LauncherError
from backproof.sweeps import jobs, worker
from backproof.sweeps.engines.dask import DaskJobs
from backproof.sweeps.engines.launcher import AsyncLauncher, EndedJob
from backproof.sweeps.objective import Objective
from backproof.sweeps.planned import PlannedRun
from backproof.sweeps.progress import Progress
from backproof.sweeps.result import RunResult
from backproof.sweeps.worker import Application
from backproof.sweeps.worker_check import SameCode, WritableStore, fingerprint
from backproof.tracking import TrackingOptions
from backproof.tracking.signals import check_terminated
from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.utils import JobReturn, JobStatus
from hydra.types import HydraContext
from omegaconf import OmegaConf

from tests.helpers.command import client
from tests.helpers.sweeps import QUICK, children, launch_by, parents, points, stacked, sweep


class Fake(AsyncLauncher, BasicLauncher):
    """Two workers that take turns. `fate` names what happens to a job when it is run."""

    fate: ClassVar[dict[int, str]] = {}
    waiting: ClassVar[list[tuple[list[str], int]]] = []
    most = 0

    def at_work(self, most, check=None, check_cluster=None):
        Fake.waiting, Fake.most = [], 0
        return contextlib.nullcontext()

    width = 2

    def submit(self, overrides, number):
        self.waiting.append((overrides, number))
        Fake.most = max(Fake.most, len(self.waiting))

    def ended(self, timeout=0.2):
        overrides, number = self.waiting.pop()  # The job that was submitted last ends first.
        what = self.fate.get(number)
        if what == "dies at once":
            return [EndedJob(number, _died(), "")]
        (job,) = self.launch([overrides], number)
        if what == "is stopped":
            raise KeyboardInterrupt
        return [EndedJob(number, _died() if what == "its answer is lost" else job, "a line\n")]

    def stop(self):
        self.waiting.clear()
        return []


def _died():
    return JobReturn(status=JobStatus.FAILED, _return_value=worker.WorkerDied("killed"))


@pytest.fixture
def fate(workdir, monkeypatch):
    launch_by(monkeypatch, Fake)
    monkeypatch.setattr(Fake, "fate", {})
    return Fake.fate


def seeds(parent, status):
    return sorted(int(run.data.params["seed"]) for run in children(parent, status))


class TestStream:
    @pytest.mark.slow
    def test_one_point_runs_on_each_worker_and_each_runs_once(self, fate):
        assert sweep("seed=0,1,2,3,4") == 0
        (parent,) = parents()
        assert seeds(parent, "FINISHED") == [0, 1, 2, 3, 4]
        assert Fake.most == 2
        table = points(parent.data.tags["backproof.folder"])
        assert [row["overrides"].split()[-1] for row in table] == [f"seed={i}" for i in range(5)]

    @pytest.mark.slow
    def test_a_search_draws_a_point_as_soon_as_one_is_done(self, fate):
        args = ["optimizer.lr=interval(0.01,1)", "sweep.sampler=tpe", "sweep.n_trials=6"]
        assert sweep(*args) == 0
        assert Fake.most == 2
        (parent,) = parents()
        assert len({run.data.params["optimizer.lr"] for run in children(parent, "FINISHED")}) == 6

    @pytest.mark.slow
    @pytest.mark.parametrize("retries", [1, 0])
    def test_a_dead_worker_uses_a_retry(self, fate, retries):
        fate[1] = "dies at once"
        assert sweep("seed=0,1,2", f"sweep.retries={retries}") == (0 if retries else 1)
        (parent,) = parents()
        assert seeds(parent, "FINISHED") == ([0, 1, 2] if retries else [0, 2])
        status = [row["status"] for row in points(parent.data.tags["backproof.folder"])]
        assert status == ["done", "done" if retries else "failed", "done"]

    @pytest.mark.slow
    def test_a_dead_worker_in_a_search(self, fate):
        fate[2] = "dies at once"
        args = ["optimizer.lr=interval(0.01,1)", "sweep.sampler=tpe", "sweep.n_trials=4", "sweep.pruner=median"]
        assert sweep(*args) == 0
        (parent,) = parents()
        assert parent.data.metrics["sweep/points"] == 4
        assert len(children(parent, "FINISHED")) == 4

    @pytest.mark.slow
    def test_a_run_that_was_finished_when_its_answer_was_lost_is_not_run_again(self, fate):
        fate[1] = "its answer is lost"
        assert sweep("seed=0,1,2") == 0
        (parent,) = parents()
        assert seeds(parent, "FINISHED") == [0, 1, 2]
        assert {row["status"] for row in points(parent.data.tags["backproof.folder"])} == {"done"}

    @pytest.mark.slow
    def test_a_run_without_a_process_is_ended(self, fate, monkeypatch):
        original = jobs.sweep_job

        def job(cfg):
            values = original(cfg)
            if cfg.seed == 1 and values["folder"].endswith("/1"):
                client().update_run(values["run_id"], status="RUNNING")
            return values

        fate[1] = "its answer is lost"
        monkeypatch.setattr(jobs, "sweep_job", job)
        assert sweep("seed=0,1,2") == 0
        (parent,) = parents()
        assert seeds(parent, "FINISHED") == [0, 1, 2]
        (killed,) = children(parent, "KILLED")
        assert killed.data.params["seed"] == "1"
        assert killed.data.tags["backproof.superseded"] == "true"

    @pytest.mark.slow
    def test_fail_fast_starts_no_other_point(self, fate, monkeypatch):
        def job(cfg):
            raise ArithmeticError("planted")

        monkeypatch.setattr(jobs, "sweep_job", job)
        assert sweep("seed=0,1,2,3", "sweep.fail_fast=true") == 1
        (parent,) = parents()
        status = [row["status"] for row in points(parent.data.tags["backproof.folder"])]
        assert status == ["not run", "failed", "not run", "not run"]

    @pytest.mark.slow
    def test_interrupted_and_resumed(self, fate):
        fate[3] = "is stopped"
        assert sweep("seed=0,1,2,3,4") == 130
        (parent,) = parents()
        assert parent.info.status == "KILLED"
        fate.clear()
        assert sweep("seed=0,1,2,3,4") == 0
        (parent,) = parents()
        assert seeds(parent, "FINISHED") == [0, 1, 2, 3, 4]


class TestProgress:
    @staticmethod
    def of(*values, total=None, timeout=None):
        made = {
            i: RunResult(PlannedRun([], "h"), "failed" if v is None else "done", {"metrics": {"val/a": v}})
            for i, v in enumerate(values)
        }
        return Progress(total, timeout, Objective("val/a", True), made)

    def test_it_shows_what_is_known(self):
        assert (
            self.of(0.5, None, 0.75, total=9).text(2) == "2 of 9 done, 2 running, 1 failed, best run val/a 0.75"
        )
        assert self.of().text(0) == "0 done"

    def test_time_left(self, monkeypatch):
        progress = self.of(total=9)
        progress.points |= {i: RunResult(PlannedRun([], "h"), "failed") for i in range(3)}
        progress._started -= 30
        assert progress.text(0).endswith("1:00 left")
        progress.timeout = 35
        assert progress.text(0).endswith("0:05 left")


def _application():
    """An application whose jobs are never run."""
    return Application.dumps(HydraContext(None, None), OmegaConf.create(), None)


class TestWorker:
    @pytest.fixture
    def setup(self, workdir):
        Path("sweep/.running").mkdir(parents=True)
        made = worker.Setup(
            sweep="abc",
            folder=str(workdir / "sweep"),
            cwd=str(workdir),
            environment={},
            threads=1,
            application=_application(),
            check=SameCode(),
        )
        made.marker(-1).touch()
        return made

    @staticmethod
    def check(setup, host=None, **tracking):
        host = host or os.uname().nodename
        worker.check(setup, WritableStore(setup.folder, TrackingOptions(**tracking), "outputs", host))

    def test_one_that_can(self, setup, monkeypatch):
        monkeypatch.setattr(worker, "_application", None)
        self.check(setup, enabled=False)

    def test_another_plugin_or_version(self, setup):
        expected = fingerprint() | {"NumPy": "1.0", "activation mine": "0"}
        other = dataclasses.replace(setup, sweep="new", check=SameCode(expected))
        with pytest.raises(LauncherError, match=r"NumPy .* instead of 1\.0, activation mine none instead"):
            self.check(dataclasses.replace(other, sweep="abc", folder=setup.folder), enabled=False)
        with pytest.raises(LauncherError, match="another backproof"):
            worker.run(other, [], 0)

    def test_a_folder_that_is_not_shared(self, setup):
        with pytest.raises(LauncherError, match="all hosts share"):
            self.check(dataclasses.replace(setup, sweep="other"))
        with pytest.raises(LauncherError, match="has no directory"):
            worker.run(dataclasses.replace(setup, sweep="new", cwd="/nowhere/at/all"), [], 0)

    def test_sqlite_from_another_host(self, setup):
        with pytest.raises(LauncherError, match=r"tracking\.uri=http://HOST:5000"):
            self.check(setup, host="elsewhere")

    @pytest.mark.slow
    def test_schemas_are_usable_where_they_arrive(self):
        """With cloudpickle alone, a field without a default would have another object than dataclasses.MISSING."""
        made = dataclasses.make_dataclass("Made", [("value", int)])
        sent = Application.dumps(HydraContext(None, None), OmegaConf.create(), lambda _: made)
        code = "import dataclasses, pickle, sys; made = pickle.load(sys.stdin.buffer).task(None); "
        code += "assert dataclasses.fields(made)[0].default is dataclasses.MISSING"
        subprocess.run([sys.executable, "-c", code], input=sent, capture_output=True, check=True)

    def test_a_job_that_has_begun_is_not_started_again(self, setup):
        setup.marker(4).touch()
        job, _ = worker.run(setup, [], 4)
        assert type(job._return_value) is worker.WorkerDied

    def test_a_stopped_sweep_starts_no_job(self, setup, monkeypatch):
        monkeypatch.setattr(worker, "_stopped", set())
        worker.stop("abc")
        job, _ = worker.run(setup, [], 5)
        assert job.status == JobStatus.UNKNOWN
        check_terminated()  # The request concerned only the jobs of the sweep.

    def test_errors_that_cannot_be_pickled(self):
        class Odd(Exception):
            def __init__(self, a, b):
                super().__init__(f"{a} and {b}")

        job = worker._portable(JobReturn(status=JobStatus.FAILED, _return_value=Odd(1, 2)))
        assert type(job._return_value).__name__ == "Odd"
        assert str(job._return_value) == "1 and 2"

    def test_the_job_of_another_process_is_that_of_a_point(self):
        job = Task(Session())
        assert pickle.loads(pickle.dumps(job)) is jobs.sweep_job  # noqa: S301


class TestOptions:
    @pytest.mark.slow
    def test_without_dask(self, workdir, monkeypatch, capsys):
        monkeypatch.setitem(sys.modules, "distributed", None)
        assert sweep("seed=0,1", "hydra/launcher=dask") == 2
        assert "pip install 'backproof[dask]'" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("option", "message"),
        [
            ("n_workers=0", "hydra.launcher.n_workers: got 0, expected"),
            ("timeout=abc", "hydra.launcher.timeout: Value 'abc'"),
            ("workers=2", "hydra.launcher.workers"),
            ("address=foo://here:1", "hydra.launcher.address: got 'foo://here:1', expected"),
        ],
    )
    def test_bad_options(self, workdir, capsys, option, message):
        assert main(["train", "-m", *QUICK, "seed=0,1", "hydra/launcher=dask", f"hydra.launcher.{option}"]) == 2
        assert message in capsys.readouterr().err
        assert not Path("outputs/mlflow.db").exists()


def test_a_scheduler_that_has_gone_away():
    class Client:
        status = "running"

        def nthreads(self):
            raise ConnectionResetError

    launcher = DaskJobs(None, None, None)
    launcher.client = Client()
    with pytest.raises(ClusterLostError, match="repeat the command to run the others"):
        _ = launcher.width
    launcher.client.status = "closed"
    with pytest.raises(ClusterLostError):
        launcher._watch()


def test_processes_are_ended_also_where_dask_does_not_come_to_an_end():
    """It waits for ever where it is told to stop while it starts a process again."""

    class Cluster:
        def close(self, timeout):
            raise TimeoutError

    launcher = DaskJobs(None, None, None)
    context = multiprocessing.get_context("spawn")
    launcher._others = [other := context.Process(target=time.sleep, args=(60,), daemon=True)]
    other.start()
    launcher.cluster = Cluster()
    ours = context.Process(target=time.sleep, args=(60,), daemon=True)
    ours.start()
    launcher._close()
    ours.join(10)
    assert ours.exitcode == -signal.SIGKILL
    assert other.is_alive()
    other.kill()
    other.join()


class TestStacks:
    """Points trained as a stack, when their job is lost with its worker."""

    @pytest.mark.slow
    def test_a_stack_whose_worker_died_is_run_again(self, fate):
        fate[1] = "dies at once"
        assert stacked("seed=range(8)") == 0
        (parent,) = parents()
        done = children(parent, "FINISHED")
        assert sorted(int(run.data.params["seed"]) for run in done) == list(range(8))
        assert {run.data.tags["backproof.stacked"] for run in done} == {"2"}
        assert len(children(parent)) == 8

    @pytest.mark.slow
    def test_a_stack_whose_answer_was_lost_is_not_run_again(self, fate):
        fate[1] = "its answer is lost"
        assert stacked("seed=range(8)") == 0
        (parent,) = parents()
        assert len(children(parent)) == len(children(parent, "FINISHED")) == 8
        assert parent.data.metrics["sweep/done"] == 8
