"""Run jobs of any Hydra application in a worker process, on this host or another one.

The whole application is sent to the workers, as Hydra's joblib and submitit launchers do: task, configs with their
search path, and singletons with the registered configs and resolvers. Every job carries it, so that
workers may join and leave at any time; a process loads it once.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import io
import os
import pickle
import signal
import socket
import threading
import traceback
from collections import ChainMap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Any, ClassVar

from hydra._internal.callbacks import Callbacks
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from backproof.contracts.errors import LauncherError
from backproof.sweeps.locks import FOLDER
from backproof.tracking.signals import Terminated, clear_request, request_stop

#: Environment variables that the libraries under NumPy read when they are loaded.
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class WorkerDied(Exception):
    """The worker process that had begun a job has died."""


class RemoteTraceback(Exception):
    """The traceback in a worker, as text."""

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'


@dataclass(frozen=True)
class Application:
    """A Hydra application: the config that its jobs are composed from, and the function that runs them."""

    context: HydraContext
    config: DictConfig
    task: TaskFunction
    singletons: Any

    @classmethod
    def dumps(cls, context: HydraContext, config: DictConfig, task: TaskFunction) -> bytes:
        """Serialize the application of this process, without callbacks: a worker creates them from the config."""
        cloudpickle: Any = importlib.import_module("cloudpickle")  # It has no types.
        context = dataclasses.replace(context, callbacks=Callbacks())

        class Pickler(cloudpickle.CloudPickler):
            # Schemas are dataclasses made at run time, which compare a field's default with this very object.
            dispatch_table: ClassVar[Any] = ChainMap(
                {type(dataclasses.MISSING): _missing, CodeType: _with_filename},
                cloudpickle.CloudPickler.dispatch_table,
            )

        file = io.BytesIO()
        Pickler(file).dump(cls(context, config, task, Singleton.get_state()))
        return file.getvalue()

    def run(self, overrides: list[str], number: int) -> JobReturn:
        """Compose a job's config and run it, as Hydra's own launchers do."""
        config = self.context.config_loader.load_sweep_config(self.config, overrides)
        with open_dict(config):
            config.hydra.job.id = f"{config.hydra.job.name}_{number}"
            config.hydra.job.num = number
        HydraConfig.instance().set_config(config)
        return run_job(
            hydra_context=dataclasses.replace(self.context, callbacks=Callbacks(config)),
            task_function=self.task,
            config=config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )


@dataclass(frozen=True)
class Setup:
    """The information about a sweep that a worker needs."""

    sweep: str  # the id of this attempt
    folder: str
    cwd: str
    environment: dict[str, str]
    threads: int
    application: bytes
    #: Called once in each process, before its first job; raises LauncherError if the process cannot run jobs.
    check: Callable[[], None] | None = None

    def marker(self, number: int) -> Path:
        """Return the file that exists once a job has begun."""
        return Path(self.folder, FOLDER, f"{self.sweep}-{number}.begun")


_application: tuple[str, Application] | None = None
_running_sweep: str | None = None
_stopped: set[str] = set()
_one_job = threading.Lock()


def run(setup: Setup, overrides: list[str], number: int) -> tuple[JobReturn, str]:
    """Run a job. Return its result (of status UNKNOWN if it was stopped) and what it printed.

    When Dask loses a worker, it gives the jobs to others. A job that had begun is not started again: its run is
    RUNNING in MLflow, or already FINISHED. The sweeper decides what to do about it.
    """
    global _running_sweep
    with _one_job:  # Hydra has one config per process.
        application = _prepare(setup)
        if setup.sweep in _stopped:
            return JobReturn(), ""
        try:
            setup.marker(number).touch(exist_ok=False)
        except FileExistsError:
            died = WorkerDied("the process of its worker ended (killed, out of memory, or the host is lost)")
            return JobReturn(status=JobStatus.FAILED, _return_value=died), ""
        printed = io.StringIO()
        _running_sweep = setup.sweep
        try:
            from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

            with contextlib.redirect_stdout(printed), threadpool_limits(setup.threads):
                return _portable(application.run(overrides, number)), printed.getvalue()
        except Terminated:
            return JobReturn(), printed.getvalue()
        finally:
            _running_sweep = None
            clear_request()


def stop(sweep: str) -> None:
    """End the sweep's job in this process after its epoch, and start no other."""
    _stopped.add(sweep)
    if _running_sweep == sweep:
        request_stop()


def check(setup: Setup, check_cluster: Callable[[], None] | None = None) -> None:
    """Raise LauncherError or TrackingError unless this worker of a cluster can run jobs of the sweep."""
    if not setup.marker(-1).is_file():
        raise LauncherError(
            f"it has no access to the sweep's folder {setup.folder}\nThe workers write the run folders: choose a "
            "folder that all hosts share under the same path, as outputs=/shared/outputs"
        )
    _prepare(setup)
    if check_cluster is not None:
        check_cluster()


def dask_setup(worker: Any) -> None:
    """Ignore Ctrl-C in a local worker: the sweep receives it too, and stops its workers. Dask calls this."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _prepare(setup: Setup) -> Application:
    """Set up this process for the sweep, once: directory, environment, Hydra's state."""
    global _application
    if _application is not None and _application[0] == setup.sweep:
        return _application[1]
    try:
        os.chdir(setup.cwd)
    except OSError as error:
        raise LauncherError(
            f"a worker on {socket.gethostname()} has no directory {setup.cwd}: {error.strerror}\n"
            "Start the sweep in a directory that all hosts share under the same path"
        ) from None
    os.environ.update(setup.environment)
    if setup.check is not None:
        setup.check()
    application: Application = pickle.loads(setup.application)  # noqa: S301 -- as Dask does with every job
    Singleton.set_state(application.singletons)
    setup_globals()
    _application = setup.sweep, application
    return application


def _missing(_: object) -> Any:
    """Reduce `dataclasses.MISSING`, or a copy of it that another launcher has brought, to a look-up."""
    return getattr, (dataclasses, "MISSING")


def _with_filename(code: CodeType) -> Any:
    """Reduce code as cloudpickle does, but keep the name of its file: tracebacks show it."""
    cloudpickle: Any = importlib.import_module("cloudpickle")
    build, args = cloudpickle.CloudPickler.dispatch_table[CodeType](code)
    return _code, (build, args, code.co_filename)


def _code(build: Callable[..., CodeType], args: tuple[Any, ...], filename: str) -> CodeType:
    return build(*args).replace(co_filename=filename)


def _portable(job: JobReturn) -> JobReturn:
    """Return a job's result without the classes that exist in this process only."""
    error = job._return_value  # pyright: ignore[reportPrivateUsage]
    if job.status == JobStatus.FAILED:
        error = _portable_error(error)
    return dataclasses.replace(job, cfg=_plain(job.cfg), hydra_cfg=_plain(job.hydra_cfg), _return_value=error)


def _portable_error(error: Exception) -> Exception:
    """Return an error that pickle can carry, with its traceback."""
    # Dask does it for the errors of its own tasks, and at its import for the classes that exist then.
    importlib.import_module("tblib.pickling_support").install(error)
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 -- our own bytes, to see whether they can travel
    except Exception:  # noqa: BLE001 -- whatever an exception's own constructor does
        substitute = type(type(error).__name__, (Exception,), {})(str(error))
        substitute.__cause__ = RemoteTraceback("".join(traceback.format_exception(error)))
        return substitute
    return error


def _plain(config: DictConfig | None) -> DictConfig | None:
    return None if config is None else OmegaConf.create(OmegaConf.to_container(config, resolve=False))  # type: ignore[return-value]
