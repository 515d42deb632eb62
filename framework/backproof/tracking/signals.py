"""SIGTERM and Ctrl-C as exceptions that are not lost, so that a run which is stopped says so."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Generator
from types import FrameType


class Terminated(BaseException):
    """SIGTERM has come: from `kill`, a scheduler, a container that is stopped."""


#: The signal that has come, 0 as long as there is none.
_arrived = 0
#: How deep we are in what no signal shall break off, and whether one has come there.
_holding, _held_back = 0, False


def check_terminated() -> None:
    """Raise Terminated if SIGTERM has come, KeyboardInterrupt if it was Ctrl-C.

    To be called now and then: an exception that a signal raises inside a callback of a library (SQLite's, a weak
    reference's) is lost there. One in six was, of runs that wrote to SQLite most of their time. And in the import
    of a compiled module it comes out as an ImportError.
    """
    if _arrived == signal.SIGTERM:
        raise Terminated("stopped by SIGTERM")
    if _arrived == signal.SIGINT:
        raise KeyboardInterrupt


def request_stop() -> None:
    """End the run of this process as SIGTERM would, from outside of its main thread."""
    global _arrived
    _arrived = signal.SIGTERM


def clear_request() -> None:
    """What was requested is done."""
    global _arrived
    _arrived = 0


@contextlib.contextmanager
def deferred_signals() -> Generator[None, None, None]:
    """A signal that comes here is raised at the end of it, and only a second Ctrl-C at once.

    An exception amid a transaction of MLflow's may leave it open, and its database locked, for this process too: it
    then waited for itself at the end of the run, for as long as anyone would.
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

    Only the first SIGTERM raises: what is cleaned up because of it shall not be broken off by the next. Whoever
    presses Ctrl-C a second time means just that.
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
        # It is raised again by `check_terminated`, and is no news to anyone.
        if not isinstance(lost.exc_value, Terminated | KeyboardInterrupt):
            report(lost)

    _arrived = 0
    report, sys.unraisablehook = sys.unraisablehook, unraisable
    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, handler)}
    # In a job of the shell's background Ctrl-C is ignored, and stays so.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        before[signal.SIGINT] = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        sys.unraisablehook = report
        for number, earlier in before.items():
            # None stands for a handler that was not set from Python and cannot be set from it.
            signal.signal(number, signal.SIG_DFL if earlier is None else earlier)
