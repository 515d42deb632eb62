"""MLflow servers that stop, drip, lie, and answer with errors."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

from tests.campaign.broken_server import ANSWERS, OTHERS
from tests.campaign.case import Trial, slowdown
from tests.campaign.processes import ENVIRONMENT, ROOT, RUN, Command


def trials() -> Iterator[Trial]:
    """Yield a trial for each broken server, and for a real one that stops, restarts, and goes for good."""
    for mode in (*ANSWERS, *OTHERS):
        yield Trial("servers", f"{mode}: a run", _broken(mode, *RUN, "train.epochs=2"))
        yield Trial("servers", f"{mode}: runs", _broken(mode, "runs"))
    yield Trial("servers", "nobody listens", _nobody)
    for what in ("stopped for 15 s", "restarted", "gone for good"):
        yield Trial("servers", f"MLflow's own, {what}", _real(what))


def _broken(mode: str, *words: str) -> Callable[[Path], list[str]]:
    def run(folder: Path) -> list[str]:
        port = _free_port()
        command = [sys.executable, "-m", "tests.campaign.broken_server", mode, str(port), str(folder)]
        with _process(folder, command, port, cwd=ROOT):
            command = Command(folder, *_at(words, port))
            # One whose answers are well-formed may be believed, but for where it says to write.
            wrong = command.faults(codes=(0, 1, 2) if mode == "paths outside" else (1, 2), longest=180)
        if list(folder.rglob("ESCAPED")):
            wrong.append("files were written where the server said")
        return wrong

    return run


def _at(words: tuple[str, ...], port: int) -> tuple[str, ...]:
    address = f"http://127.0.0.1:{port}"
    return (*words, "--uri", address) if words[0] == "runs" else (*words, f"tracking.uri={address}")


def _nobody(folder: Path) -> list[str]:
    return Command(folder, *_at((*RUN, "train.epochs=2"), _free_port())).faults(codes=(2,), longest=120)


def _real(what: str) -> Callable[[Path], list[str]]:
    """Record a long run on MLflow's own server, and let that fail in the middle."""

    def run(folder: Path) -> list[str]:
        port = _free_port()
        server = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
        server += ["--workers", "1", "--backend-store-uri", f"sqlite:///{folder}/server.db"]
        server += ["--artifacts-destination", str(folder / "artifacts")]
        epochs = 20000 if what == "gone for good" else 4000
        with _process(folder, server, port) as process:
            command = Command(folder, *_at((*RUN, f"train.epochs={epochs}"), port))
            until = time.monotonic() + 120 * slowdown()
            while _epochs(folder) < 5 and command.process.poll() is None and time.monotonic() < until:
                time.sleep(0.2)
            if what == "stopped for 15 s":
                os.killpg(process.pid, signal.SIGSTOP)
                time.sleep(15)
                os.killpg(process.pid, signal.SIGCONT)
                return command.faults(silence=120) + _complete(folder, epochs)
            os.killpg(process.pid, signal.SIGKILL)
            if what == "gone for good":
                wrong = command.faults(codes=(1, 2), silence=120)
                if not list(folder.glob("outputs/runs/*/*/metrics.csv")):
                    wrong.append("what was measured is not on disk")
                return wrong
            time.sleep(2)
            with _process(folder, server, port):
                return command.faults(silence=120) + _complete(folder, epochs)

    return run


def _rows(folder: Path, sql: str) -> list[tuple[int]]:
    import sqlite3

    with contextlib.closing(sqlite3.connect(folder / "server.db", timeout=60)) as connection:
        try:
            return connection.execute(sql).fetchall()
        except sqlite3.OperationalError:
            return [(0,)]


def _epochs(folder: Path) -> int:
    return _rows(folder, "select count(*) from metrics where key = 'train/loss'")[0][0]


def _complete(folder: Path, epochs: int) -> list[str]:
    wrong = (
        []
        if _rows(folder, "select count(*) from runs where status = 'FINISHED'") == [(1,)]
        else ["not FINISHED"]
    )
    last = _rows(folder, "select max(step) from metrics where key = 'train/loss'")[0][0]
    return wrong if last == epochs else [*wrong, f"the last epoch recorded is {last} of {epochs}"]


@contextlib.contextmanager
def _process(
    folder: Path, words: list[str], port: int, cwd: Path | None = None
) -> Generator[subprocess.Popen[bytes]]:
    """Run a server until the block ends; wait until it listens."""
    with (folder / "server.txt").open("ab") as log:
        process = subprocess.Popen(
            words, cwd=cwd or folder, env=ENVIRONMENT, stdout=log, stderr=log, start_new_session=True
        )
    try:
        until = time.monotonic() + 120 * slowdown()
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError((folder / "server.txt").read_text()[-1000:])
            time.sleep(0.1)
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
