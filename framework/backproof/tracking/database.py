"""The SQLite file of a store: created whole or not at all, by one process while others wait."""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import math
import os
import sqlite3
import time
from collections.abc import Generator
from pathlib import Path
from urllib.parse import quote

from backproof.contracts.errors import TrackingError
from backproof.render.console import print_warning

#: Seconds until a process says what it waits for, and until one that creates the database counts as hung.
NOTICE, PATIENCE = 5.0, 120.0
#: Seconds to wait for another process's transaction.
BUSY = 30.0


def prepare(file: Path, artifacts: str) -> None:
    """Create the database unless it has MLflow's tables. Its default experiment stores files in `artifacts`.

    A complete database is opened without a lock, so any number of processes can start at once, and a folder that
    cannot be written can be read. Raise TrackingError if the file is no database, or cannot be created.
    """
    notice = time.monotonic() + NOTICE
    holder, since = "", time.monotonic()
    while not _is_complete(file):
        with _lock(file.parent) as held:
            if held:
                if not _is_complete(file):
                    _create(file, artifacts)
                return
        now, current = time.monotonic(), _holder(file.parent)
        if current != holder:  # The queue moves.
            holder, since = current, now
        if now - since > PATIENCE:
            raise TrackingError(
                f"process {holder or '(unknown)'} has been creating {file} for {PATIENCE:g} s\n"
                "If it hangs, end it; or name another folder: outputs=DIR"
            )
        if now >= notice:
            print_warning(f"waiting for process {holder or '(unknown)'}, which creates {file}")
            notice = math.inf
        time.sleep(0.1)


def _is_complete(file: Path) -> bool:
    """Return whether the database has MLflow's tables. Raise TrackingError if it cannot be read."""
    from mlflow.store.db.base_sql_model import Base

    # Importing the store defines its tables: before that, Base knows none, and any database would be complete.
    importlib.import_module("mlflow.store.tracking.sqlalchemy_store")
    try:
        if file.is_dir():
            raise IsADirectoryError("it is a folder")
        if not file.exists():
            return False
        with _connection(file) as database:
            rows = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            return set(Base.metadata.tables) <= {row[0] for row in rows}
    except (OSError, sqlite3.Error) as error:
        why = getattr(error, "strerror", None) or error
        raise TrackingError(
            f"cannot record in sqlite:///{file}: {why}\n"
            "Name another place (outputs=DIR or tracking.uri), or train without a record: tracking=off"
        ) from error


def _create(file: Path, artifacts: str) -> None:
    """Create the database under another name and rename it: a process that is killed meanwhile leaves none."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    if file.exists() and not _is_interrupted(file):
        # Of an earlier MLflow, which is migrated in place.
        SqlAlchemyStore(f"sqlite:///{file}", artifacts).engine.dispose()
        return
    new = file.with_name(f"{file.name}.new")
    leftovers = [new, new.with_name(f"{new.name}-journal")]
    for leftover in leftovers:
        leftover.unlink(missing_ok=True)
    try:
        SqlAlchemyStore(f"sqlite:///{new}", artifacts).engine.dispose()
        new.replace(file)
    finally:
        for leftover in leftovers:
            leftover.unlink(missing_ok=True)


def _is_interrupted(file: Path) -> bool:
    """Return whether the creation of the database was interrupted: it has no experiment, not even the default."""
    with _connection(file) as database:
        try:
            return database.execute("SELECT count(*) FROM experiments").fetchone()[0] == 0
        except sqlite3.OperationalError:
            return True


@contextlib.contextmanager
def _connection(file: Path) -> Generator[sqlite3.Connection, None, None]:
    # Not read-only, which cannot undo the transaction of a process that was killed.
    with contextlib.closing(sqlite3.connect(f"file:{quote(str(file))}?mode=rw", BUSY, uri=True)) as database:
        yield database


@contextlib.contextmanager
def _lock(folder: Path) -> Generator[bool, None, None]:
    """Try to lock the folder's store; yield whether that succeeded. The lock file has the id of the process."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / "mlflow.lock", os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise TrackingError(
            f"the folder {folder} cannot be written: {error.strerror or error}\n"
            "Name another (outputs=DIR), or train without a record: tracking=off"
        ) from None
    try:
        held = _flock(descriptor)
        if held:
            os.truncate(descriptor, 0)
            os.write(descriptor, str(os.getpid()).encode())
        yield held
    finally:
        os.close(descriptor)


def _flock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(folder: Path) -> str:
    """Return the id of the process that has the lock, or had it last."""
    try:
        text = (folder / "mlflow.lock").read_text(errors="replace")[:20]
    except OSError:
        return ""
    return text if text.isdecimal() else ""
