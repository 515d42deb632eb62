"""Hydra's own test suites for launchers, run as they are on `hydra/launcher=dask`."""

import os
import signal
import subprocess
import sys
import traceback
from pathlib import Path

import pytest
from backproof.cli.main import main
from backproof.sweeps import worker
from backproof.sweeps.engines.dask_nanny import STARTS
from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import CompactHydraException
from hydra.plugins.launcher import Launcher
from hydra.test_utils.launcher_common_tests import (
    BatchedSweeperTestSuite,
    IntegrationTestSuite,
    LauncherTestSuite,
)
from hydra.version import VersionBase
from omegaconf import OmegaConf

from tests.helpers.command import client
from tests.helpers.sweeps import QUICK, children, interrupt_at, launch_by, parents, sweep

pytest.importorskip("distributed")
TWO_WORKERS = "hydra.launcher.n_workers=2"
DASK = ["hydra/launcher=dask", TWO_WORKERS]


@pytest.fixture(autouse=True)
def hydra_as_its_suites_expect_it():
    """Load the plugins, and forget the version base that backproof's own commands chose: the suites choose none.

    `hydra_restore_singletons` saves the registered configs before a test, and restores them afterwards. If the
    plugins were loaded in between, theirs would be lost: Hydra 1.4 does not run a plugin's module a second time.
    """
    Plugins.instance()
    Singleton._instances.pop(VersionBase, None)


def test_hydra_discovers_it():
    assert "DaskLauncher" in [cls.__name__ for cls in Plugins.instance().discover(Launcher)]


@pytest.mark.slow
@pytest.mark.parametrize(("launcher_name", "overrides"), [("dask", [TWO_WORKERS])])
class TestLauncher(LauncherTestSuite):
    pass


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher_name", "overrides"),
    [("dask", [TWO_WORKERS, "hydra/sweeper=basic", "hydra.sweeper.max_batch_size=2"])],
)
class TestBatches(BatchedSweeperTestSuite):
    pass


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task_launcher_cfg", "extra_flags"),
    [({}, ["-m", "hydra/launcher=dask", TWO_WORKERS])],
)
class TestIntegration(IntegrationTestSuite):
    pass


class OutOfLuck(Exception):
    """An error that distributed does not know when it is imported."""


@pytest.mark.slow
def test_the_traceback_of_a_job_comes_back(hydra_restore_singletons, hydra_sweep_runner, tmp_path):
    """With Hydra 1.3 too, which has no test of it."""

    def task(_):
        try:
            raise ValueError("the cause")
        except ValueError as cause:
            raise OutOfLuck("the failure") from cause

    runner = hydra_sweep_runner(
        calling_file=None,
        calling_module="hydra.test_utils.a_module",
        task_function=task,
        config_path="configs",
        config_name="compose.yaml",
        overrides=DASK,
        temp_dir=tmp_path,
    )
    with pytest.raises(OutOfLuck, match=r"^the failure$") as info, runner:
        pass
    frames = traceback.extract_tb(info.value.__traceback__)
    assert (__file__, "task") in [(frame.filename, frame.name) for frame in frames]
    text = "".join(traceback.format_exception(info.value))
    assert 'raise ValueError("the cause")' in text
    assert "The above exception was the direct cause" in text


def test_an_error_that_pickle_cannot_carry_comes_back_with_its_traceback_as_text():
    class Local(Exception):
        pass

    def task():
        raise Local("the failure")

    with pytest.raises(Local) as info:
        task()
    error = worker._portable(JobReturn(status=JobStatus.FAILED, _return_value=info.value))._return_value
    assert (type(error).__name__, str(error)) == ("Local", "the failure")
    assert error is not info.value
    assert "in task\n" in str(error.__cause__)
    assert 'raise Local("the failure")' in str(error.__cause__)


def kill_at_start(monkeypatch, count):
    """Kill that many worker processes as they start."""
    from distributed.process import AsyncProcess

    original, killed = AsyncProcess.start, []

    async def start(self):
        await original(self)
        if len(killed) < count:
            killed.append(self.pid)
            os.kill(self.pid, signal.SIGKILL)

    monkeypatch.setattr(AsyncProcess, "start", start)
    return killed


@pytest.mark.slow
class TestWorkersThatDieWhileTheyStart:
    def test_they_are_replaced(self, workdir, monkeypatch, capfd):
        killed = kill_at_start(monkeypatch, 2)
        assert sweep("seed=0,1,2", *DASK) == 0
        assert len(killed) == 2
        (parent,) = parents()
        assert (parent.info.status, len(children(parent, "FINISHED"))) == ("FINISHED", 3)
        shown = "".join(capfd.readouterr())
        assert shown.count("a worker process died while it was being started; starting another one") == 2
        assert "Traceback" not in shown

    def test_where_all_die_the_sweep_ends_and_can_be_resumed(self, workdir, monkeypatch, capfd):
        with monkeypatch.context() as patch:
            interrupt_at(patch, 2, KeyboardInterrupt)
            sweep("seed=0,1,2")
        (parent,) = parents()
        # As if that sweep had been killed with SIGKILL.
        client().update_run(parent.info.run_id, status="RUNNING")
        with monkeypatch.context() as patch:
            killed = kill_at_start(patch, 1000)
            capfd.readouterr()
            assert sweep("seed=0,1,2", *DASK) == 2
        assert len(killed) == 2 * STARTS
        shown = "".join(capfd.readouterr())
        assert (
            "Dask could not start 2 worker processes on this machine, in 3 attempts each: Nanny failed" in shown
        )
        assert "Traceback" not in shown
        assert [run.info.status for run in parents()] == ["KILLED"]
        assert sweep("seed=0,1,2") == 0
        (parent,) = parents()
        assert (parent.info.status, len(children(parent, "FINISHED"))) == ("FINISHED", 3)


class TestSweeper:
    """`hydra/sweeper=backproof` plans experiments, so Hydra's BatchedSweeperTestSuite, whose application is not
    backproof, cannot pass: the sweeper refuses that application, in one line. What the suite asserts of the folder,
    the batches and the order of the jobs holds in backproof's own application.
    """

    def test_it_refuses_another_application(self, hydra_restore_singletons, hydra_sweep_runner, tmp_path):
        sweep = hydra_sweep_runner(
            calling_file=None,
            calling_module="hydra.test_utils.a_module",
            task_function=None,
            config_path="configs",
            config_name="compose.yaml",
            overrides=["hydra/sweeper=backproof", "bar=1,2"],
            temp_dir=tmp_path,
        )
        with (
            pytest.raises(CompactHydraException, match=r"^hydra/sweeper=backproof .*use hydra/sweeper=basic$"),
            sweep,
        ):
            pass

    @pytest.mark.slow
    def test_batches_as_the_suite_wants_them(self, workdir, monkeypatch):
        calls = []

        class Recording(BasicLauncher):
            def launch(self, job_overrides, initial_job_idx):
                calls.append([[text for text in job if "=" in text][:2] for job in job_overrides])
                return super().launch(job_overrides, initial_job_idx)

        launch_by(monkeypatch, Recording)
        swept = ["activation=relu,tanh", "seed=0,1,2"]
        assert main(["train", "-m", *swept, *QUICK, "sweep.batch=2"]) == 0
        expected = [[f"activation={a}", f"seed={s}"] for a in ("relu", "tanh") for s in range(3)]
        assert calls == [expected[0:2], expected[2:4], expected[4:6]]
        (parent,) = parents()
        folder = Path(parent.data.tags["backproof.folder"])
        multirun = OmegaConf.load(folder / "multirun.yaml")
        assert multirun.hydra.overrides.task[:2] == swept
        for number, overrides in enumerate(expected):
            assert OmegaConf.load(folder / str(number) / "config/overrides.yaml")[:2] == overrides


@pytest.mark.slow
def test_every_application_imports_the_plugins_quickly():
    """No NumPy, no MLflow: only the standard library and Hydra."""
    code = (
        "import sys, hydra_plugins.backproof; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"numpy", "mlflow", "optuna", "dask", "distributed", "rich"} & set(done.stdout.split())
