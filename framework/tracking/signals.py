"""SIGTERM as an exception, so that a run which is stopped says so."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Generator
from types import FrameType


class Terminated(BaseException):
    """SIGTERM has come: from `kill`, a scheduler, a container that is stopped."""


_arrived = threading.Event()


def check_terminated() -> None:
    """Raise Terminated if SIGTERM has come.

    To be called now and then: an exception that a signal raises inside a callback of a library (SQLite's, a weak
    reference's) is lost there. One in six was, of runs that wrote to SQLite most of their time.
    """
    if _arrived.is_set():
        raise Terminated("stopped by SIGTERM")


def request() -> None:
    """End the run of this process as SIGTERM would, from outside of its main thread."""
    _arrived.set()


def forget() -> None:
    """What was requested is done."""
    _arrived.clear()


@contextlib.contextmanager
def terminate_on_sigterm() -> Generator[None, None, None]:
    """Raise Terminated in the main thread at SIGTERM. It does nothing in other threads.

    Only the first one raises: what is cleaned up because of it shall not be broken off by the next.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handler(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _arrived.set()
        check_terminated()

    def unraisable(lost: sys.UnraisableHookArgs) -> None:
        # It is raised again by `check_terminated`, and is no news to anyone.
        if not isinstance(lost.exc_value, Terminated):
            report(lost)

    _arrived.clear()
    report, sys.unraisablehook = sys.unraisablehook, unraisable
    before = signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        sys.unraisablehook = report
        # None stands for a handler that was not set from Python and cannot be set from it.
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)
