"""backproof's plugins for Hydra: `hydra/sweeper=backproof` and `hydra/launcher=dask`.

Every Hydra application in this environment imports this file, so it holds little: what does the work is imported
when an instance is made.
"""

# Hydra 1.3 runs this file before it is in sys.modules: dataclasses cannot resolve annotations that are text.

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

_SWEEPER, _DASK = "backproof", "dask"


class BackproofSweeper(Sweeper):
    """Sweeps of backproof's experiments."""

    def __init__(self, **options: Any) -> None:
        from backproof.sweeps.sweeper import SweepOfPoints

        self.implementation = SweepOfPoints(**options)

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Hydra's call before `sweep`."""
        self.implementation.setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def sweep(self, arguments: list[str]) -> Any:
        """Run every point."""
        return self.implementation.sweep(arguments)


class DaskLauncher(Launcher):
    """Jobs on the cores of this machine, or on a Dask cluster."""

    def __init__(self, **options: Any) -> None:
        from backproof.sweeps.engines.dask import DaskJobs

        self.implementation = DaskJobs(**options)

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Hydra's call before `launch`."""
        self.implementation.setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs, all at once."""
        return self.implementation.launch(job_overrides, initial_job_idx)


@dataclass
class SweeperConfig:
    """The options of the sweeper."""

    _target_: str = f"{__name__}.{BackproofSweeper.__name__}"
    max_batch_size: int | None = None
    params: dict[str, Any] | None = None


@dataclass
class DaskConfig:
    """The options of the launcher; `backproof.sweeps.engines.dask` explains and checks them."""

    _target_: str = f"{__name__}.{DaskLauncher.__name__}"
    address: str | None = None
    n_workers: int | None = None
    threads_per_worker: int = 1
    memory_limit: str | None = None
    timeout: float = 30.0
    dashboard: str | None = None


ConfigStore.instance().store(group="hydra/sweeper", name=_SWEEPER, node=SweeperConfig, provider="backproof")
ConfigStore.instance().store(group="hydra/launcher", name=_DASK, node=DaskConfig, provider="backproof")
