"""File locks held by running sweeps and runs. The system releases them however the process ends."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from pathlib import Path
from typing import Any

from backproof.contracts.errors import LockedError

FOLDER = ".running"
SWEEP = "sweep"
#: Seconds to wait for the writer process of a sweep that was killed.
PATIENCE = 60.0


@contextlib.contextmanager
def sweeping(folder: Path) -> Generator[None, None, None]:
    """Hold the lock of a sweep's folder. Raise LockedError if another sweep does."""
    lock = _acquire(
        _file(folder, SWEEP),
        0,
        f"another sweep is running in {folder}: wait for it, stop it, or choose another folder",
    )
    try:
        _await_writer(folder)
        yield
    finally:
        _release(lock)
        with contextlib.suppress(OSError):
            (folder / FOLDER).rmdir()  # Unless a lock file is left in it.


def writer_lock(folder: Path) -> Path:
    """Return the lock file of a sweep's writer process."""
    return _file(folder, "writer")


def _await_writer(folder: Path) -> None:
    """Wait for the writer process of a sweep that was killed: it still writes what it has received."""
    _release(
        _acquire(
            writer_lock(folder),
            PATIENCE,
            f"the runs of an earlier attempt at the sweep in {folder} are still being written after "
            f"{PATIENCE:g} s: "
            "stop that process, or wait for it",
        )
    )


@contextlib.contextmanager
def running(folder: Path) -> Generator[None, None, None]:
    """Hold the lock of a run's folder."""
    from filelock import FileLock

    lock = FileLock(_file(folder.parent, folder.name))
    lock.acquire()
    try:
        yield
    finally:
        _release(lock)
        with contextlib.suppress(OSError):
            (folder.parent / FOLDER).rmdir()  # Unless it has locks of the sweep or of other runs.


def is_sweeping(folder: Path) -> bool:
    """Return whether a process on this machine runs a sweep in the folder."""
    return _held(folder / FOLDER / f"{SWEEP}.lock")


def is_running(folder: Path) -> bool:
    """Return whether a process on this machine runs the run of this folder."""
    return _held(folder.parent / FOLDER / f"{folder.name}.lock")


def _file(folder: Path, name: str) -> Path:
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    return folder / FOLDER / f"{name}.lock"


def _acquire(file: Path, timeout: float, message: str) -> Any:
    """Acquire a lock. Raise LockedError with the message after the timeout."""
    from filelock import FileLock, Timeout

    lock = FileLock(file)
    try:
        lock.acquire(timeout=timeout)
    except Timeout:
        raise LockedError(message) from None
    return lock


def _release(lock: Any) -> None:
    with contextlib.suppress(OSError):
        Path(lock.lock_file).unlink()  # Before the release, so that no other process's file is deleted.
    lock.release()


def _held(file: Path) -> bool:
    from filelock import FileLock, Timeout

    if not file.is_file():
        return False
    try:
        with FileLock(file).acquire(timeout=0):
            return False
    except Timeout:
        return True
