"""A Dask nanny that replaces a worker process which dies while it is being started."""

from __future__ import annotations

from distributed import Nanny, Status

from backproof.render.terminal import print_status

#: How often a worker process is started before the nanny gives up.
STARTS = 3


class ReplacingNanny(Nanny):
    """Dask's nanny restarts a process that dies at work, but gives up on one that dies before that."""

    async def instantiate(self) -> Status:
        """Start the worker process, again where it dies meanwhile. Return its last status."""
        status = await super().instantiate()
        for _ in range(STARTS - 1):
            # Once the nanny itself is running, Dask starts the next process.
            if status == Status.running or self.status != Status.init:
                break
            print_status("a worker process died while it was being started; starting another one")
            status = await super().instantiate()
        return status
