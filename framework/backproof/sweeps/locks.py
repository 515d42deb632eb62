"""Whether a sweep or a run is alive: each holds a lock, which the system lets go however its process ends."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from pathlib import Path
from typing import Any

from backproof.contracts.errors import LockedError

FOLDER = ".running"
SWEEP = "sweep"
#: Seconds that a process is given which writes the runs of a sweep that was killed.
PATIENCE = 60.0


@contextlib.contextmanager
def sweeping(folder: Path) -> Generator[None, None, None]:
    """Hold a sweep's folder. Raises AliveError where another sweep does."""
    lock = _taken(
        _file(folder, SWEEP),
        0,
        f"another sweep is at work in {folder}: wait for it, end it, or name another folder",
    )
    try:
        _await_writer(folder)
        yield
    finally:
        _release(lock)
        with contextlib.suppress(OSError):
            (folder / FOLDER).rmdir()  # Unless a lock file is left in it.


def writer_lock(folder: Path) -> Path:
    """The lock of the process that writes a sweep's runs, if they have one."""
    return _file(folder, "writer")


def _await_writer(folder: Path) -> None:
    """Where a sweep was killed, what it had handed over is still being written for a moment."""
    _release(
        _taken(
            writer_lock(folder),
            PATIENCE,
            f"the runs of an earlier go at the sweep in {folder} are still being written after {PATIENCE:g} s: "
            "end that process, or wait for it",
        )
    )


@contextlib.contextmanager
def running(folder: Path) -> Generator[None, None, None]:
    """Hold the folder of a run."""
    from filelock import FileLock

    lock = FileLock(_file(folder.parent, folder.name))
    lock.acquire()
    try:
        yield
    finally:
        _release(lock)
        with contextlib.suppress(OSError):
            (folder.parent / FOLDER).rmdir()  # Unless it is that of a sweep, which holds it, or of other runs.


def is_sweeping(folder: Path) -> bool:
    """Whether a sweep is at work in the folder, as far as this machine can tell."""
    return _held(folder / FOLDER / f"{SWEEP}.lock")


def is_running(folder: Path) -> bool:
    """Whether the run of that folder is going on, as far as this machine can tell."""
    return _held(folder.parent / FOLDER / f"{folder.name}.lock")


def _file(folder: Path, name: str) -> Path:
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    return folder / FOLDER / f"{name}.lock"


def _taken(file: Path, timeout: float, otherwise: str) -> Any:
    """The lock, once it is ours. Raises AliveError where another process keeps it for that many seconds."""
    from filelock import FileLock, Timeout

    lock = FileLock(file)
    try:
        lock.acquire(timeout=timeout)
    except Timeout:
        raise LockedError(otherwise) from None
    return lock


def _release(lock: Any) -> None:
    with contextlib.suppress(OSError):
        Path(lock.lock_file).unlink()  # Before it is free: nobody else's file is taken away.
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
