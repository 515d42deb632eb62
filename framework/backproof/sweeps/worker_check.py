"""What a worker must have to run backproof's points: the same code and plugins, a store that it can write."""

from __future__ import annotations

import functools
import hashlib
import socket
import sys
from dataclasses import dataclass, field
from pathlib import Path

import backproof
from backproof.app import config
from backproof.app.session import get_session, writable
from backproof.contracts.errors import LauncherError
from backproof.sweeps.planned_job import difference
from backproof.tracking import TrackingOptions
from backproof.tracking.store import SQLITE, resolve_uri


@functools.cache
def fingerprint() -> dict[str, str]:
    """Return a digest of each part that decides a result apart from the config, as this process imported it."""
    import numpy as np

    source = sorted(Path(backproof.__file__).parent.rglob("*.py"))
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in source)).hexdigest()
    return {
        "Python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "NumPy": np.__version__,
        "backproof": f"{backproof.__version__} ({digest[:8]})",
        **{f"{entry.kind} {entry.name}": entry.digest for entry in get_session().plugins.entries()},
    }


@dataclass(frozen=True)
class SameCode:
    """Check that a worker runs what the sweep was planned with; made in the sweep's process, called in a worker."""

    expected: dict[str, str] = field(default_factory=fingerprint)

    def __call__(self) -> None:
        """Raise LauncherError that names what differs."""
        actual = fingerprint()
        if differs := difference(self.expected, actual):
            raise LauncherError(
                f"a worker on {socket.gethostname()} has another backproof, or other plugins, than the sweep: "
                f"{differs}\nInstall the same versions there and restart the worker, "
                "which keeps the modules it has imported. If a file was changed while the sweep ran, repeat the "
                "command to continue with the change"
            )
        config.accept_own_callback()


@dataclass(frozen=True)
class WritableStore:
    """Check that a worker of a cluster can write where the sweep's runs are recorded."""

    folder: str
    tracking: TrackingOptions
    outputs: str
    host: str = field(default_factory=socket.gethostname)

    def __call__(self) -> None:
        """Raise LauncherError or TrackingError where it cannot."""
        writable(Path(self.folder))
        if not self.tracking.enabled:
            return
        uri = resolve_uri(self.tracking.uri, Path(self.outputs))
        if uri.startswith(SQLITE) and socket.gethostname() != self.host:
            raise LauncherError(
                f"it is on another host, {socket.gethostname()}, and {uri} is SQLite, which several hosts cannot "
                "write\nStart an MLflow server and name it: tracking.uri=http://HOST:5000 (docs/cluster.md)"
            )
        get_session().store(self.tracking, self.outputs)
