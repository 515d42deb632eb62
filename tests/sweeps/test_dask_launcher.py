"""Hydra's own test suites for launchers, run as they are on `hydra/launcher=dask`."""

import pytest
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.test_utils.launcher_common_tests import (
    BatchedSweeperTestSuite,
    IntegrationTestSuite,
    LauncherTestSuite,
)

pytest.importorskip("distributed")
TWO_WORKERS = "hydra.launcher.n_workers=2"


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
