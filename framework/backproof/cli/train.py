"""`backproof train`: Hydra composes a config and runs it once, or as a sweep."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Generator
from typing import Any

import hydra
from click.exceptions import Exit
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from backproof.app import config
from backproof.app.session import Session, set_session
from backproof.app.single_run import Rejected, run_single
from backproof.app.ui_command import ui_command
from backproof.cli.hydra_options import arrange
from backproof.discovery.registry import PluginWarning, registry
from backproof.render.console import print_error, warnings_as_lines
from backproof.render.terminal import console, labelled
from backproof.tracking import Terminated, check_terminated, terminate_on_sigterm
from backproof.tracking.secret import hide

#: Exit codes of a process that was stopped by a signal, as shells have them.
CTRL_C, SIGTERM = 130, 143


def train(args: list[str]) -> int:
    """Run `backproof train` with these arguments and return the exit code."""
    # Otherwise Hydra prints errors in its own form and exits with 1.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    arranged = arrange(hide(args))
    with new_session() as session:
        task = Task(session)
        try:
            _run_hydra(arranged, task)
        except Rejected as rejected:
            raise rejected.error from None
        if task.error is not None:
            raise task.error
        return 0 if session.outcome is None else _show_sweep(session)


@contextlib.contextmanager
def new_session() -> Generator[Session, None, None]:
    """Find the plugins and register them with Hydra.

    Raise UsageError for an error of Hydra that a user can act on, and click's Exit for a signal.
    """
    with warnings_as_lines(PluginWarning):
        config.accept_own_callback()
        session = set_session(Session(registry()))
        config.register(session.plugins)
        try:
            with terminate_on_sigterm():
                try:
                    yield session
                except Exception as error:
                    # What a signal raises in the middle of an import comes out as an ImportError.
                    check_terminated()
                    from backproof.cli.errors import translated

                    explained = translated(error, session.plugins)
                    if explained is None:
                        raise
                    raise explained from error
        except Terminated as error:
            raise Exit(print_error(str(error), SIGTERM)) from None
        except KeyboardInterrupt:
            raise Exit(print_error("stopped by Ctrl-C; what was measured is recorded", CTRL_C)) from None


class Task:
    """The function that Hydra calls with a config: for a single run, or for each job of a sweep."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.error: Exception | None = None

    def __call__(self, cfg: Any) -> Any:
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            return _sweep_job()(cfg)
        try:
            run_single(self.session, cfg)
        except Exception as error:  # noqa: BLE001
            # Hydra would print its own lines above the message; `train` raises the error again.
            self.error = error
        return None

    def __reduce__(self) -> tuple[Any, ...]:
        # A session, with its plugins and its open store, does not travel.
        return _sweep_job, ()


def _sweep_job() -> Callable[[Any], Any]:
    from backproof.sweeps.jobs import sweep_job

    return sweep_job


def _run_hydra(args: list[str], task: Callable[[Any], Any]) -> None:
    """Call Hydra's main, which reads the arguments from sys.argv."""
    before = sys.argv
    sys.argv = ["backproof train", *args]
    try:
        hydra.main(config_path=str(config.conf_dir()), config_name="config", **config.VERSION_BASE)(task)()
    finally:
        sys.argv = before


def _show_sweep(session: Session) -> int:
    """Show the best points of a sweep and what failed; return the exit code."""
    from backproof.report.build import log_report

    out, outcome = console(), session.outcome
    # Of several objectives, every point that no other one beats.
    for point in outcome.front or filter(None, [outcome.best]):
        out.print(labelled("best", outcome.describe(point)))
    counts = {status: len(outcome.of(status)) for status in ("pruned", "not run")}
    if any(counts.values()):
        shown = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
        out.print(labelled("others", f"{shown} of {len(outcome.runs)} runs"))
    if outcome.failed:
        out.print(labelled("failed", f"{len(outcome.failed)} of {len(outcome.runs)} runs", "bold red"))
        for run in outcome.failed:
            out.print(f"  {outcome.words(run)}\n    {run.error}")
    if session.sweep is not None:
        log_report(*session.sweep)
    if session.recorded is not None:
        out.print(labelled("compare", f"{ui_command(*session.recorded)}; backproof report writes one page"))
    return 1 if outcome.failed else 0
