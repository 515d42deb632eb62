"""A job of a sweep in a process of another engine, on this host or another one.

A worker makes its own registry, config schemas and store. What it is told of the sweep is plain data and travels
with each job, so that workers may come and go.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import io
import os
import pickle
import signal
import socket
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra._internal.callbacks import Callbacks
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_search_path_impl import ConfigSearchPathImpl
from hydra.core.config_search_path import SearchPathElement
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobRuntime, JobStatus, run_job, setup_globals
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, open_dict

import backproof
from backproof.app import config
from backproof.app.session import get_session, processors, writable
from backproof.contracts.errors import LauncherError
from backproof.discovery.registry import Registry
from backproof.sweeps.locks import FOLDER
from backproof.tracking import Terminated, TrackingOptions
from backproof.tracking.signals import clear_request, request_stop
from backproof.tracking.store import SQLITE, resolve_uri

#: What the libraries under NumPy read when they are loaded.
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class WorkerDied(Exception):
    """The process that had begun a job has died."""


@dataclass(frozen=True)
class Setup:
    """What a worker must know of a sweep."""

    sweep: str  # names this go at it
    folder: str
    cwd: str
    environment: dict[str, str]
    threads: int
    paths: list[tuple[str, str | None]]  # where configs are: provider and path; None for our own
    name: str  # of the config
    overrides: list[str]  # of Hydra's own
    cache: dict[str, Any]  # of what was resolved, as the time
    task: Any
    fingerprint: str

    def marker(self, number: int) -> Path:
        """The file that is there once a job has begun."""
        return Path(self.folder, FOLDER, f"{self.sweep}-{number}.begun")


_ready: str | None = None
_at_work: str | None = None
_stopped: set[str] = set()
_alone = threading.Lock()


def run(setup: Setup, overrides: list[str], number: int) -> tuple[JobReturn, str]:
    """Run a job; what came of it (with UNKNOWN as status if it was stopped), and what it printed.

    An engine that has lost a worker hands its jobs to others. One that had begun is not begun a second time: its
    run is RUNNING in MLflow, or already FINISHED. That is the sweeper's to see.
    """
    global _at_work
    with _alone:  # Hydra's config is that of the process.
        _prepare(setup)
        if setup.sweep in _stopped:
            return JobReturn(), ""
        try:
            setup.marker(number).touch(exist_ok=False)
        except FileExistsError:
            died = WorkerDied("the process of its worker ended (killed, out of memory, or the host is lost)")
            return JobReturn(status=JobStatus.FAILED, _return_value=died), ""
        out = io.StringIO()
        _at_work = setup.sweep
        try:
            from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

            with contextlib.redirect_stdout(out), threadpool_limits(setup.threads):
                return _portable(_job(setup, overrides, number)), out.getvalue()
        except Terminated:
            return JobReturn(), out.getvalue()
        finally:
            _at_work = None
            clear_request()


def stop(sweep: str) -> None:
    """End the job of the sweep that runs here, at the end of its epoch, and begin no other."""
    _stopped.add(sweep)
    if _at_work == sweep:
        request_stop()


def check(setup: Setup, expected: dict[str, str], host: str, tracking: TrackingOptions, outputs: str) -> int:
    """Raise LauncherError or TrackingError unless this worker can run jobs of the sweep; its number of threads."""
    own = parts()
    differ = [name for name in {**expected, **own} if expected.get(name) != own.get(name)]
    if differ:
        shown = [f"{name} {own.get(name, 'none')} instead of {expected.get(name, 'none')}" for name in differ]
        more = f" and {len(differ) - 5} more" if len(differ) > 5 else ""
        raise LauncherError(
            f"it has {', '.join(shown[:5])}{more}\nInstall there what is installed here, and restart the worker: "
            "what it has imported once, it keeps"
        )
    folder = Path(setup.folder)
    if not setup.marker(-1).is_file():
        raise LauncherError(
            f"it does not see the sweep's folder {folder}\nRun folders are written by the workers: name a folder "
            "that all hosts share under the same path, as outputs=/shared/outputs"
        )
    _prepare(setup)
    writable(folder)
    if tracking.enabled:
        uri = resolve_uri(tracking.uri, Path(outputs))
        if uri.startswith(SQLITE) and socket.gethostname() != host:
            raise LauncherError(
                f"it is on another host, {socket.gethostname()}, and {uri} is SQLite, which several hosts cannot "
                "write\nStart an MLflow server and name it: tracking.uri=http://HOST:5000 (docs/cluster.md)"
            )
        get_session().store(tracking, outputs)
    return processors()


def dask_setup(worker: Any) -> None:
    """Dask's call as a local worker starts: Ctrl-C is meant for the sweep, which tells its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _prepare(setup: Setup) -> None:
    """Once in a process and sweep: its directory, environment, plugins and schemas."""
    global _ready
    if _ready == setup.sweep:
        return
    try:
        os.chdir(setup.cwd)
    except OSError as error:
        raise LauncherError(
            f"a worker on {socket.gethostname()} has no directory {setup.cwd}: {error.strerror}\n"
            "Start the sweep in a directory that all hosts share under the same path"
        ) from None
    os.environ.update(setup.environment)
    if fingerprint() != setup.fingerprint:
        raise LauncherError(
            f"a worker on {socket.gethostname()} has another backproof, or other plugins, than the sweep\n"
            "Install there what is installed here, and restart the worker. If a file was changed while the sweep "
            "ran, the same command goes on with the change"
        )
    from hydra import version
    from hydra.core.plugins import Plugins

    version.setbase("1.3")
    setup_globals()
    config.register(get_session().plugins)
    Plugins.instance()
    _ready = setup.sweep


def _job(setup: Setup, overrides: list[str], number: int) -> JobReturn:
    """Compose the job's config and run it, as Hydra's launchers do."""
    search = ConfigSearchPathImpl()
    ours = str(config.conf_dir())
    search.config_search_path = [SearchPathElement(who, path or ours) for who, path in setup.paths]
    loader = ConfigLoaderImpl(search)
    master = OmegaConf.create(
        {"hydra": {"overrides": {"hydra": setup.overrides}, "job": {"config_name": setup.name}}}
    )
    OmegaConf.set_cache(master, setup.cache)
    composed = loader.load_sweep_config(master, overrides)
    with open_dict(composed):
        composed.hydra.job.id = f"{composed.hydra.job.name}_{number}"
        composed.hydra.job.num = number
    HydraConfig.instance().set_config(composed)
    JobRuntime.instance().set("name", composed.hydra.job.name)
    return run_job(
        hydra_context=HydraContext(config_loader=loader, callbacks=Callbacks(composed)),
        task_function=setup.task,
        config=composed,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
    )


def _portable(job: JobReturn) -> JobReturn:
    """Without classes that are made in this process."""
    error = job._return_value  # pyright: ignore[reportPrivateUsage]
    if job.status == JobStatus.FAILED:
        try:
            pickle.loads(pickle.dumps(error))  # noqa: S301 -- our own bytes, to see whether they can travel
        except Exception:  # noqa: BLE001 -- whatever an exception's own constructor does
            error = type(type(error).__name__, (Exception,), {})(str(error))
    return dataclasses.replace(job, cfg=_plain(job.cfg), hydra_cfg=_plain(job.hydra_cfg), _return_value=error)


def _plain(made: DictConfig | None) -> DictConfig | None:
    return None if made is None else OmegaConf.create(OmegaConf.to_container(made, resolve=False))  # type: ignore[return-value]


def fingerprint() -> str:
    """Of all that decides a result apart from the config, as this process has imported it."""
    return hashlib.sha256(repr(sorted(parts().items())).encode()).hexdigest()[:16]


@functools.cache
def parts() -> dict[str, str]:
    """What the fingerprint is made of."""
    import numpy as np

    plugins: Registry = get_session().plugins
    source = sorted(Path(backproof.__file__).parent.rglob("*.py"))
    return {
        "Python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "NumPy": np.__version__,
        "backproof": f"{backproof.__version__} ({_digest(*source)})",
        **{f"{entry.kind} {entry.name}": _digest(entry.file) for entry in plugins.entries()},
    }


def _digest(*files: Path) -> str:
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:8]
