"""The options of `hydra/launcher=dask`: their names, defaults and bounds, declared only here.

Every Hydra application of the environment imports this module, so it imports only the standard library.
"""

# No postponed annotations: Hydra and OmegaConf read them while the subclass is being created.

from dataclasses import dataclass, field
from typing import Any

SCHEMES = ("tcp", "tls", "ws", "wss")


def _option(default: Any, doc: str, **bounds: float) -> Any:
    """Declare an option as `backproof.contracts.hyper` does."""
    return field(default=default, metadata={"doc": doc, **bounds})


@dataclass
class DaskOptions:
    """Where jobs run."""

    address: str | None = _option(
        None, "the address of a scheduler, as tcp://host:8786; null: processes on this machine"
    )
    n_workers: int | None = _option(None, "processes on this machine; null: one for each core", ge=1)
    threads_per_worker: int = _option(1, "threads for the matrix products of each job", ge=1)
    memory_limit: str | None = _option(None, "memory at which a process is restarted, as 2GB; null: no limit")
    timeout: float = _option(30.0, "seconds to wait for the scheduler, and for the first worker", gt=0)
    dashboard: str | None = _option(None, "the address of Dask's dashboard, as 127.0.0.1:8787; needs bokeh")

    def __post_init__(self) -> None:
        from backproof.contracts.errors import InvalidValue
        from backproof.contracts.fields import check_fields

        check_fields(self)
        scheme, separator, host = (self.address or "tcp://localhost").partition("://")
        if not (separator and host and scheme in SCHEMES):
            raise InvalidValue("address", self.address, "the address of a scheduler, as tcp://host:8786")
