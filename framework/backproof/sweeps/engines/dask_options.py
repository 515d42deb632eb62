"""The options of `hydra/launcher=dask`: the one declaration of their names, defaults and bounds.

Every Hydra application of the environment imports this module, so it imports nothing but the standard library.
"""

# No postponed annotations: Hydra and OmegaConf read them while the subclass is being made.

from dataclasses import dataclass, field
from typing import Any

SCHEMES = ("tcp", "tls", "ws", "wss")


def _option(default: Any, doc: str, **bounds: float) -> Any:
    """Declare an option as `backproof.contracts.hyper` does."""
    return field(default=default, metadata={"doc": doc, **bounds})


@dataclass
class DaskOptions:
    """Where jobs run."""

    address: str | None = _option(None, "of a scheduler, as tcp://host:8786; null: processes of this machine")
    n_workers: int | None = _option(None, "processes of this machine; null: one for each core", ge=1)
    threads_per_worker: int = _option(1, "threads of each job's matrix products", ge=1)
    memory_limit: str | None = _option(None, "of each process, as 2GB, which is restarted beyond; null: none")
    timeout: float = _option(30.0, "seconds to wait for a scheduler, and for a first worker", gt=0)
    dashboard: str | None = _option(None, "address of Dask's own pages, as 127.0.0.1:8787; needs bokeh")

    def __post_init__(self) -> None:
        from backproof.contracts.errors import InvalidValue
        from backproof.contracts.fields import check_fields

        check_fields(self)
        scheme, separator, host = (self.address or "tcp://localhost").partition("://")
        if not (separator and host and scheme in SCHEMES):
            raise InvalidValue("address", self.address, "that of a scheduler, as tcp://host:8786")
