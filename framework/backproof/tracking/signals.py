"""SIGTERM and Ctrl-C as exceptions that are not lost, so that a stopped run is recorded as stopped."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Generator
from types import FrameType


class Terminated(BaseException):
    """SIGTERM arrived: from `kill`, a scheduler, or a container being stopped."""


#: The signal that has arrived; 0 for none.
_arrived = 0
#: Nesting depth of `deferred_signals`, and whether a signal has arrived inside.
_holding, _held_back = 0, False


def check_terminated() -> None:
    """Raise Terminated if SIGTERM has arrived, KeyboardInterrupt if it was Ctrl-C.

    Call this regularly: an exception that a signal handler raises inside a callback of a library (SQLite's, a weak
    reference's) is lost, which happened in one of six runs that mostly wrote to SQLite. During the import of a
    compiled module it turns into an ImportError.
    """
    if _arrived == signal.SIGTERM:
        raise Terminated("stopped by SIGTERM")
    if _arrived == signal.SIGINT:
        raise KeyboardInterrupt


def request_stop() -> None:
    """Stop the run of this process as SIGTERM would, from a thread other than the main one."""
    global _arrived
    _arrived = signal.SIGTERM


def clear_request() -> None:
    """Forget the signal or request, which has been handled."""
    global _arrived
    _arrived = 0


@contextlib.contextmanager
def deferred_signals() -> Generator[None, None, None]:
    """Defer a signal to the end of the block; only a second Ctrl-C is raised at once.

    An exception in the middle of an MLflow transaction may leave it open and the database locked, also for this
    process, which would then wait for itself at the end of the run.
    """
    global _holding, _held_back
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _holding += 1
    try:
        yield
    finally:
        _holding -= 1
        if _held_back and not _holding:
            _held_back = False
            check_terminated()


@contextlib.contextmanager
def terminate_on_sigterm() -> Generator[None, None, None]:
    """Raise Terminated in the main thread at SIGTERM, KeyboardInterrupt at Ctrl-C; nothing in other threads.

    Only the first SIGTERM raises, so that the next one does not interrupt the cleanup. A second Ctrl-C does.
    """
    global _arrived
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handler(number: int, frame: FrameType | None) -> None:
        global _arrived, _held_back
        signal.signal(number, signal.SIG_IGN if number == signal.SIGTERM else signal.default_int_handler)
        _arrived = number
        _held_back = _holding > 0
        if not _held_back:
            check_terminated()

    def unraisable(lost: sys.UnraisableHookArgs) -> None:
        # `check_terminated` raises it again.
        if not isinstance(lost.exc_value, Terminated | KeyboardInterrupt):
            report(lost)

    _arrived = 0
    report, sys.unraisablehook = sys.unraisablehook, unraisable
    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, handler)}
    # A shell's background job ignores Ctrl-C; it still does.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        before[signal.SIGINT] = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        sys.unraisablehook = report
        for number, earlier in before.items():
            # None is a handler that was not set from Python, and cannot be restored.
            signal.signal(number, signal.SIG_DFL if earlier is None else earlier)
