"""Commands as processes of their own, watched while they run; and what a store holds afterwards."""

from __future__ import annotations

import collections
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.campaign.case import LINES, SILENCE, slowdown

ROOT = Path(__file__).parents[2]
BACKPROOF = [sys.executable, "-m", "backproof"]
RUN = ("train", "dataset=iris", "model.hidden=[4]", "tracking.plots=false", "tracking.model=false")
ENVIRONMENT = {
    **{
        key: value
        for key, value in os.environ.items()
        if key not in ("MLFLOW_TRACKING_URI", "BACKPROOF_PLUGINS")
    },
    "PYTHONPATH": str(ROOT / "framework"),
    "OMP_NUM_THREADS": "1",
}


class Command:
    """A command that runs in a folder, and whose output goes to a file there."""

    def __init__(self, folder: Path, *args: str) -> None:
        self.file = folder / f"output-{len(list(folder.glob('output-*')))}.txt"
        self.started = time.monotonic()
        with self.file.open("w") as output:
            self.process = subprocess.Popen(
                [*BACKPROOF, *args],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=ENVIRONMENT,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        """What the command has written so far."""
        return self.file.read_text(errors="replace")

    def kill(self) -> None:
        """Kill the command's own process, as the system does when memory is short."""
        self.process.kill()
        self.process.wait()

    def faults(
        self, *, codes: tuple[int, ...] = (0,), silence: float = SILENCE, longest: float = 600
    ) -> list[str]:
        """Wait until the command ends. Return what is wrong: a hang, another exit code, a traceback, many lines."""
        size, spoken = 0, time.monotonic()
        while self.process.poll() is None:
            now = time.monotonic()
            if self.file.stat().st_size != size:
                size, spoken = self.file.stat().st_size, now
            if now - spoken > silence * slowdown() or now - self.started > longest * slowdown():
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
                return [f"hang after {now - self.started:.0f} s: {self.output[-200:]!r}"]
            time.sleep(0.05)
        wrong: list[str] = []
        code, output = self.process.returncode, self.output
        if code not in codes:
            wrong.append(f"exit code {code}: {output[-300:]!r}")
        if "Traceback (most recent call last)" in output:
            wrong.append("traceback")
        if code == 2 and output.count("\n") > LINES:
            wrong.append(f"long: {output.count(chr(10))} lines")
        return wrong


def statuses(folder: Path) -> collections.Counter[str]:
    """Return how many runs the SQLite store of a folder has of each status."""
    return collections.Counter(status for (status,) in query(folder, "select status from runs"))


def query(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    """Return the rows of a query of the store in a folder; none if there is no store yet."""
    file = folder / "outputs/mlflow.db"
    if not file.is_file():
        return []
    connection = sqlite3.connect(file, timeout=60)
    try:
        return connection.execute(sql).fetchall()
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return []
        raise
    finally:
        connection.close()


def record_faults(folder: Path, finished: int | None = None) -> list[str]:
    """Return what is wrong with the record after the last command: damage, runs that never end, missing runs."""
    counts = statuses(folder)
    integrity = query(folder, "pragma integrity_check")
    wrong = [f"the database is damaged: {integrity}"] if integrity not in ([], [("ok",)]) else []
    if counts["RUNNING"]:
        wrong.append(f"{counts['RUNNING']} runs are still RUNNING")
    if finished is not None and counts["FINISHED"] != finished:
        wrong.append(f"{counts['FINISHED']} runs are FINISHED, expected {finished}")
    folders = query(
        folder,
        "select value from tags join runs on tags.run_uuid = runs.run_uuid "
        "where key = 'backproof.folder' and status = 'FINISHED'",
    )
    for (name,) in folders:
        if not (Path(name) / "summary.json").is_file() and not list(Path(name).glob("**/summary.json")):
            wrong.append(f"a FINISHED run has no files in {name}")
    doubled = [name for name, count in collections.Counter(folders).items() if count > 1]
    return wrong + [f"{name} holds two runs" for (name,) in doubled]
