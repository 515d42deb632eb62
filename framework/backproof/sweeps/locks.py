"""File locks held by running sweeps and runs. The system releases them however the process ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Generator
from pathlib import Path

from backproof.contracts.errors import LockedError

FOLDER = ".running"
SWEEP = "sweep"
#: Seconds to wait for the writer process of a sweep that was killed.
PATIENCE = 60.0


@contextlib.contextmanager
def sweeping(folder: Path) -> Generator[None, None, None]:
    """Hold the lock of a sweep's folder. Raise LockedError if another sweep does."""
    taken = f"another sweep is running in {folder}: wait for it, stop it, or choose another folder"
    with _held(_file(folder, SWEEP), 0, taken):
        # The writer process of a sweep that was killed still writes what it has received.
        writing = (
            f"the runs of an earlier attempt at the sweep in {folder} are still being written after "
            f"{PATIENCE:g} s: stop that process, or wait for it"
        )
        with _held(writer_lock(folder), PATIENCE, writing):
            pass
        yield


@contextlib.contextmanager
def running(folder: Path) -> Generator[None, None, None]:
    """Hold the lock of a run's folder."""
    with _held(_file(folder.parent, folder.name)):
        yield


def writer_lock(folder: Path) -> Path:
    """Return the lock file of a sweep's writer process."""
    return _file(folder, "writer")


def is_sweeping(folder: Path) -> bool:
    """Return whether a process on this machine runs a sweep in the folder."""
    return _is_held(folder / FOLDER / f"{SWEEP}.lock")


def is_running(folder: Path) -> bool:
    """Return whether a process on this machine runs the run of this folder."""
    return _is_held(folder.parent / FOLDER / f"{folder.name}.lock")


def _file(folder: Path, name: str) -> Path:
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    return folder / FOLDER / f"{name}.lock"


@contextlib.contextmanager
def _held(file: Path, timeout: float = -1, message: str = "") -> Generator[None, None, None]:
    """Hold a lock. Raise LockedError with the message if it cannot be had within the timeout; -1 waits for it."""
    from filelock import FileLock, Timeout

    lock = FileLock(file)
    try:
        lock.acquire(timeout=timeout)
    except Timeout:
        raise LockedError(message) from None
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            file.unlink()  # Before the release, so that no other process's file is deleted.
        lock.release()
        with contextlib.suppress(OSError):
            file.parent.rmdir()  # Unless it has other locks.


def _is_held(file: Path) -> bool:
    # Read-only, since a tag in MLflow may name any folder.
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK)
    except (OSError, ValueError):
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
