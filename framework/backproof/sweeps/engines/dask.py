"""`hydra/launcher=dask`: jobs on processes of this machine, or on an existing Dask cluster.

A thin layer over dask.distributed that returns each job as it ends. The sweeper decides which jobs to submit, and
what happens to one whose worker has died.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import queue
import secrets
import time
import warnings
from collections.abc import Generator, Sequence
from multiprocessing import active_children
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus, configure_log, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from backproof.app.config import construct
from backproof.contracts.errors import ClusterLostError, LauncherError
from backproof.discovery.registry import ENVIRONMENT
from backproof.sweeps import worker
from backproof.sweeps.engines.dask_options import DaskOptions
from backproof.sweeps.engines.launcher import AsyncLauncher, Check, EndedJob
from backproof.sweeps.worker import Application, Setup

log = logging.getLogger(__name__)

#: Seconds to wait for running jobs to end when the sweep is stopped.
PATIENCE = 5.0
#: Environment variables that affect a run; `hydra.job.env_copy` names more.
COPIED = (ENVIRONMENT, "MLFLOW_TRACKING_URI", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
#: What to do where the processes of this machine do not start.
REASONS = "Look for what ends them (memory, a limit on processes), or start fewer: hydra.launcher.n_workers=1"


class DaskJobs(AsyncLauncher):
    """Runs jobs with Dask."""

    def __init__(self, context: HydraContext, task: TaskFunction, config: DictConfig, **values: Any) -> None:
        """Take the application whose jobs are to be run. Raise InvalidValue for an option out of bounds."""
        self.context, self.task, self.config = context, task, config
        self.options = construct(DaskOptions, values, "hydra.launcher.")
        self.client: Any = None
        self.cluster: Any = None

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs in parallel and return their results in order; Hydra's own sweepers call this."""
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        log.info("Launching %d jobs with Dask", len(job_overrides))
        returned: dict[int, JobReturn] = {}
        with self.at_work(len(job_overrides)):
            for i, overrides in enumerate(job_overrides):
                self.submit(list(overrides), initial_job_idx + i)
            while len(returned) < len(job_overrides):
                for ended in self.ended():
                    returned[ended.number] = ended.job
                    print(ended.printed, end="", flush=True)
        return [returned[number] for number in sorted(returned)]

    @contextlib.contextmanager
    def at_work(
        self, most: int | None, check: Check | None = None, check_cluster: Check | None = None
    ) -> Generator[None, None, None]:
        """Connect to the workers, or start them. Raise LauncherError if they cannot run the jobs."""
        try:
            distributed: Any = importlib.import_module("distributed")  # An optional dependency.
        except ImportError:
            raise LauncherError(
                "hydra/launcher=dask needs the package distributed: pip install 'backproof[dask]'"
            ) from None
        self._setup = self._describe(check)
        self._ended: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._flying: dict[int, Any] = {}
        marker = self._setup.marker(-1)
        marker.parent.mkdir(parents=True, exist_ok=True)
        for stale in marker.parent.glob("*.begun"):
            stale.unlink()  # Left by an earlier attempt that was killed.
        marker.touch()
        try:
            with contextlib.ExitStack() as stack:
                self._connect(distributed, stack, most)
                self._check(check_cluster)
                self._seen = time.monotonic()
                yield
        finally:
            self.client = self.cluster = None
            for stale in marker.parent.glob("*.begun"):
                stale.unlink()
            with contextlib.suppress(OSError):
                marker.parent.rmdir()  # It stays if it holds locks of the sweep.

    @property
    def width(self) -> int:
        """The current number of workers, at least one."""
        return max(1, self._workers())

    def submit(self, overrides: list[str], number: int) -> None:
        """Start a job."""
        setup = self._setup
        future = self.client.submit(
            worker.run, setup, overrides, number, pure=False, key=f"backproof-{setup.sweep}-{number}"
        )
        self._flying[number] = future
        ended = self._ended

        def on_done(_: Any) -> None:
            ended.put(number)

        future.add_done_callback(on_done)

    def ended(self, timeout: float = 0.2) -> list[EndedJob]:
        """Return the jobs that have ended since the last call, after waiting up to `timeout` seconds for one."""
        numbers: list[int] = []
        with contextlib.suppress(queue.Empty):
            numbers.append(self._ended.get(timeout=timeout))
            while True:
                numbers.append(self._ended.get_nowait())
        if not numbers:
            self._watch()
        return [self._result(number) for number in numbers]

    def stop(self) -> list[EndedJob]:
        """End all jobs and local workers within a few seconds. Return the jobs that ended by themselves."""
        jobs: list[EndedJob] = []
        try:
            if self.client.status == "running":
                self.client.run(worker.stop, self._setup.sweep, on_error="ignore")
                until = time.monotonic() + PATIENCE
                while self._flying and time.monotonic() < until:
                    jobs += self.ended()
                self.client.cancel(list(self._flying.values()), force=True)
        except ClusterLostError:
            pass  # No worker is left to be stopped.
        finally:
            self._flying.clear()
            self._close()
        return jobs

    def _close(self) -> None:
        """End the processes of this machine. Dask alone waits for ever where one is just being started again."""
        if self.options.address is not None:
            return
        if self.cluster is not None:
            with contextlib.suppress(TimeoutError):
                self.cluster.close(timeout=PATIENCE)
        for process in active_children():
            if process not in self._others:
                process.kill()
        self.cluster = None

    def _result(self, number: int) -> EndedJob:
        future = self._flying.pop(number)
        if future.status in ("cancelled", "lost"):
            raise self._lost()
        error = future.exception()
        if isinstance(error, LauncherError):
            raise error
        if error is not None:
            # KilledWorker, for a job that several workers died with, or an error in sending it.
            return EndedJob(number, JobReturn(status=JobStatus.FAILED, _return_value=error), "")
        job, shown = future.result()
        with contextlib.suppress(OSError):
            self._setup.marker(number).unlink()
        return EndedJob(number, job, shown)

    def _watch(self) -> None:
        """Raise ClusterLostError if the scheduler or all workers are gone."""
        if self.client.status != "running":
            raise self._lost()
        now = time.monotonic()
        if self._flying and now - self._seen > 2:
            if self._workers():
                self._seen = now
            elif now - self._seen > self.options.timeout:
                raise self._lost()

    def _workers(self) -> int:
        try:
            return len(self.client.nthreads())
        except OSError:
            raise self._lost() from None

    def _lost(self) -> ClusterLostError:
        where = self.options.address or "this machine"
        return ClusterLostError(
            f"the Dask cluster at {where} is gone: its scheduler, or all of its workers\n"
            "Finished runs are recorded; repeat the command to run the others"
        )

    def _connect(self, distributed: Any, stack: contextlib.ExitStack, most: int | None) -> None:
        from dask.system import CPU_COUNT

        options = self.options
        # Errors are reported once, by backproof. Each of Dask's loggers has its own level.
        for name in [name for name in logging.root.manager.loggerDict if name.startswith("distributed")]:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        stack.enter_context(warnings.catch_warnings())
        # `_check` reports what differs between the hosts.
        warnings.simplefilter("ignore", distributed.versions.VersionMismatchWarning)
        if options.address is None:
            self._others = active_children()
            stack.callback(self._close)
            self.cluster = self._start_cluster(
                distributed, options.n_workers or min(CPU_COUNT, most or CPU_COUNT)
            )
        try:
            self.client = stack.enter_context(
                distributed.Client(
                    self.cluster or options.address, timeout=options.timeout, set_as_default=False
                )
            )
            self.client.wait_for_workers(1, timeout=options.timeout)
        except (OSError, TimeoutError) as error:
            wait, where = f"{options.timeout:g} s", options.address or "this machine"
            if self.client is None:
                raise LauncherError(
                    f"no Dask scheduler answers at {where} within {wait} ({type(error).__name__})\n"
                    "Start one (dask scheduler), or leave hydra.launcher.address out to use this machine"
                ) from None
            start = f"Start some: dask worker {where} --nthreads 1" if options.address else REASONS
            raise LauncherError(
                f"the Dask scheduler at {where} has had no workers for {wait}\n{start}"
            ) from None

    def _start_cluster(self, distributed: Any, n_workers: int) -> Any:
        """Start processes of this machine. Raise LauncherError where one of them cannot be started."""
        from dask import config

        from backproof.sweeps.engines.dask_nanny import STARTS, ReplacingNanny

        options = self.options
        threads = dict.fromkeys(worker.THREADS, str(options.threads_per_worker))
        quiet: dict[str, Any] = {
            "distributed.scheduler.http.routes": [],
            "distributed.worker.http.routes": [],
        }
        try:
            with config.set({} if options.dashboard else quiet):
                return distributed.LocalCluster(
                    n_workers=n_workers,
                    worker_class=ReplacingNanny,
                    threads_per_worker=1,
                    memory_limit=options.memory_limit or 0,
                    host="127.0.0.1",
                    # Who can reach the port must not be able to run code: keys that live as long as the sweep.
                    security=True,
                    protocol="tls",
                    dashboard_address=options.dashboard,
                    scheduler_kwargs={"dashboard_address": options.dashboard or "127.0.0.1:0"},
                    silence_logs=logging.CRITICAL,
                    env=threads,
                    preload=[worker.__name__],
                )
        except RuntimeError as error:
            raise LauncherError(
                f"Dask could not start {n_workers} worker processes on this machine, in {STARTS} attempts each: "
                f"{error.__cause__ or error}\n{REASONS}"
            ) from error

    def _check(self, check_cluster: Check | None) -> None:
        """Raise LauncherError if a worker of the cluster cannot run the sweep; later ones check it themselves."""
        if self.cluster is not None:
            return
        answers: dict[str, Any] = self.client.run(worker.check, self._setup, check_cluster, on_error="return")
        for address, answer in answers.items():
            if isinstance(answer, ImportError):
                answer = f"{answer}\nInstall backproof there: pip install 'backproof[dask]'"
            if answer is not None:
                raise LauncherError(f"the worker {address} cannot run this sweep: {answer}")

    def _describe(self, check: Check | None) -> Setup:
        setup_globals()
        hydra = self.config.hydra
        copied = [*COPIED, *hydra.job.env_copy]
        environment = {key: os.environ[key] for key in copied if key in os.environ}
        if plugins := os.environ.get(ENVIRONMENT):
            folders = [str(Path(folder).absolute()) for folder in plugins.split(os.pathsep) if folder]
            environment[ENVIRONMENT] = os.pathsep.join(folders)
        return Setup(
            sweep=secrets.token_hex(4),
            folder=str(Path(hydra.sweep.dir).absolute()),
            cwd=os.getcwd(),
            environment=environment,
            threads=self.options.threads_per_worker,
            application=Application.dumps(self.context, self.config, self.task),
            check=check,
        )
