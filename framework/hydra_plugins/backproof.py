"""backproof's plugins for Hydra: `hydra/sweeper=backproof` and `hydra/launcher=dask`.

Every Hydra application of the environment imports this file, so it stays thin: the implementation is imported when
a sweep is set up.
"""

# No postponed annotations: Hydra 1.3 runs this file before it is in sys.modules, where dataclasses look them up.

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from backproof.sweeps.engines.dask_options import DaskOptions
from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.errors import CompactHydraException
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

#: Sections of backproof's config, by which the sweeper knows its own application.
SECTIONS = ("dataset", "derivation", "gradcheck", "sweep", "tracking")


class BackproofSweeper(Sweeper):
    """Run a sweep of backproof's experiments."""

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.implementation: Any = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Prepare the sweep; Hydra calls this before `sweep`. Raise for an application other than backproof."""
        if any(section not in config for section in SECTIONS):
            raise CompactHydraException(
                "hydra/sweeper=backproof sweeps the experiments of `backproof train -m`, not this application: "
                "use hydra/sweeper=basic"
            )
        from backproof.sweeps.sweeper import PointSweeper

        self.implementation = PointSweeper(hydra_context, task_function, config, **self.options)

    def sweep(self, arguments: list[str]) -> Any:
        """Run every point."""
        return self.implementation.sweep(arguments)


class DaskLauncher(Launcher):
    """Run the jobs of any Hydra application on the cores of this machine, or on a Dask cluster."""

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.implementation: Any = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Check the options; Hydra calls this before `launch`."""
        from backproof.sweeps.engines.dask import DaskJobs

        self.implementation = DaskJobs(hydra_context, task_function, config, **self.options)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs in parallel and return their results in order."""
        return self.implementation.launch(job_overrides, initial_job_idx)


@dataclass
class SweeperConfig:
    """The options of the sweeper."""

    _target_: str = f"{__name__}.{BackproofSweeper.__name__}"
    max_batch_size: int | None = None
    params: dict[str, Any] | None = None


@dataclass
class DaskConfig(DaskOptions):
    """The options of the launcher, with the class that takes them."""

    _target_: str = f"{__name__}.{DaskLauncher.__name__}"


def _register(group: str, name: str, node: type[Any]) -> None:
    """Store a config, unless an earlier scan of the plugins did: Hydra 1.4 warns of a second registration."""
    store = ConfigStore.instance()
    known = store.repo
    for part in group.split("/"):
        known = known.get(part, {})
    if f"{name}.yaml" not in known:
        store.store(group=group, name=name, node=node, provider="backproof")


_register("hydra/sweeper", "backproof", SweeperConfig)
_register("hydra/launcher", "dask", DaskConfig)
