"""`backproof train`: Hydra composes a config and runs it, as a single run or as a sweep."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Callable, Generator
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from backproof.app import config
from backproof.app.session import Session, set_session
from backproof.app.single_run import PrepareRun, Rejected, run_single
from backproof.app.ui_command import ui_command
from backproof.cli.errors import explain
from backproof.cli.hydra_options import arrange
from backproof.discovery.registry import PluginWarning, registry
from backproof.render.console import print_error, print_warning
from backproof.render.terminal import console
from backproof.sweeps import jobs
from backproof.tracking import Terminated, check_terminated, terminate_on_sigterm

#: Exit codes of a process that was stopped by a signal, as shells have them.
CTRL_C, SIGTERM = 130, 143


def train(args: list[str]) -> int:
    """Run `backproof train` with these arguments and return the exit code."""
    # Otherwise Hydra prints errors in its own form and exits with 1.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    arranged = arrange(args)
    with new_session() as session:
        return guarded(session, lambda: _train(arranged, session))


@contextlib.contextmanager
def new_session() -> Generator[Session, None, None]:
    """Find the plugins and register them with Hydra; warnings about plugins are lines on stderr."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", PluginWarning)
        # Hydra 1.4 warns of every class that a config names. This one is ours, named by `train` itself.
        warnings.filterwarnings("ignore", message=rf".*{PrepareRun.__module__}.{PrepareRun.__name__}'")
        warnings.showwarning = _show_warning
        session = set_session(Session(registry()))
        config.register(session.plugins)
        with terminate_on_sigterm():
            yield session


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    print_warning(message)


def guarded(session: Session, action: Callable[[], int]) -> int:
    """Run an action; turn errors that a user can act on, and signals, into a message and an exit code."""
    try:
        try:
            return action()
        except Exception:
            # What a signal raises in the middle of an import comes out as an ImportError.
            check_terminated()
            raise
    except Terminated as error:
        return print_error(str(error), SIGTERM)
    except KeyboardInterrupt:
        return print_error("stopped by Ctrl-C; what was measured is recorded", CTRL_C)
    except Exception as error:
        explained = explain(error, session.plugins)
        if explained is None:
            raise
        return print_error(*explained)


def _train(args: list[str], session: Session) -> int:
    task = Task(session)
    try:
        _run_hydra(args, task)
    except Rejected as rejected:
        raise rejected.error from None
    if task.error is not None:
        raise task.error
    return _show_sweep(session) if session.outcome is not None else 0


class Task:
    """The function that Hydra calls with a config: for a single run, or for each job of a sweep."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.error: Exception | None = None

    def __call__(self, cfg: Any) -> Any:
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            return jobs.sweep_job(cfg)
        try:
            run_single(self.session, cfg)
        except Exception as error:  # noqa: BLE001
            # Hydra would print lines of its own above the message; `_train` raises it again.
            self.error = error
        return None

    def __reduce__(self) -> tuple[Any, ...]:
        # A session, with its plugins and its open store, does not travel.
        return _sweep_job, ()


def _sweep_job() -> Callable[[Any], Any]:
    return jobs.sweep_job


def _run_hydra(args: list[str], task: Callable[[Any], Any]) -> None:
    """Call Hydra's main, which reads the arguments from sys.argv."""
    before = sys.argv
    sys.argv = ["backproof train", *args]
    try:
        with warnings.catch_warnings():
            config.accept_own_callback()
            hydra.main(config_path=str(config.conf_dir()), config_name="config", **config.VERSION_BASE)(task)()
    finally:
        sys.argv = before


def _show_sweep(session: Session) -> int:
    """Show the best points of a sweep and what failed; return the exit code."""
    from rich.markup import escape

    from backproof.report.build import log_report

    out, outcome = console(), session.outcome
    # Of several objectives, every point that no other one beats.
    for point in outcome.front or filter(None, [outcome.best]):
        out.print(f"[bold]best    [/] {escape(outcome.describe(point))}")
    counts = {status: len(outcome.of(status)) for status in ("pruned", "not run")}
    if any(counts.values()):
        shown = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
        out.print(f"[bold]others  [/] {shown} of {len(outcome.runs)} runs")
    if outcome.failed:
        out.print(f"[bold red]failed  [/] {len(outcome.failed)} of {len(outcome.runs)} runs")
        for run in outcome.failed:
            out.print(f"  {outcome.words(run)}\n    {run.error}", markup=False)
    if session.sweep is not None:
        log_report(*session.sweep)
    if session.recorded is not None:
        out.print(f"[bold]compare [/] {ui_command(*session.recorded)}; backproof report writes one page")
    return 1 if outcome.failed else 0
