"""Hydra's own test suites for launchers, run as they are on `hydra/launcher=dask`."""

import subprocess
import sys
from pathlib import Path

import pytest
from backproof.cli.main import main
from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton
from hydra.errors import CompactHydraException
from hydra.plugins.launcher import Launcher
from hydra.test_utils.launcher_common_tests import (
    BatchedSweeperTestSuite,
    IntegrationTestSuite,
    LauncherTestSuite,
)
from hydra.version import VersionBase
from omegaconf import OmegaConf

from tests.helpers.sweeps import QUICK, launch_by, parents

pytest.importorskip("distributed")
TWO_WORKERS = "hydra.launcher.n_workers=2"


@pytest.fixture(autouse=True)
def no_version_base():
    """Forget the version base that backproof's own commands chose in this process: Hydra's suites choose none."""
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
