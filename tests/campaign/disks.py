"""Full disks: one block of a message, an undamaged store, and with room again the same command completes."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

from tests.campaign.case import LINES, Skipped, Trial
from tests.campaign.processes import RUN, Command, record_faults

SWEEP = ("train", "-m", *RUN[1:], "train.epochs=3", "seed=range(40)", "sweep.stack_size=10")


def trials() -> Iterator[Trial]:
    """Yield a trial for each size of a file system."""
    for size in (200, 700, 1300, 2500):
        yield Trial("full disks", f"a run in {size} kB", _run(size))
    for size, writer in ((3000, "on"), (4000, "off"), (5000, "on")):
        yield Trial("full disks", f"a sweep in {size} kB, sweep.writer={writer}", _sweep(size, writer))


@contextlib.contextmanager
def _small(folder: Path, size: int) -> Generator[Path]:
    """Yield a folder on a file system of this many kB."""
    disk = folder / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", str(disk)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        raise Skipped("a full disk needs the right to mount a tmpfs")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def _with_room(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=200m", str(disk)], check=True)


def _run(size: int) -> Callable[[Path], list[str]]:
    def run(folder: Path) -> list[str]:
        with _small(folder, size) as disk:
            wrong: list[str] = []
            for seed in range(3):
                command = _outside(folder, disk, *RUN, "train.epochs=3", f"seed={seed}")
                wrong += command.faults(codes=(0, 1, 2), longest=240)
                if command.process.returncode and command.output.count("\n") > LINES:
                    wrong.append(f"long: {command.output.count(chr(10))} lines")
            _with_room(disk)
            wrong += _outside(folder, disk, *RUN, "train.epochs=3", "seed=9").faults()
            return wrong + record_faults(disk)

    return run


def _sweep(size: int, writer: str) -> Callable[[Path], list[str]]:
    def run(folder: Path) -> list[str]:
        with _small(folder, size) as disk:
            words = (*SWEEP, f"sweep.writer={writer}")
            first = _outside(folder, disk, *words)
            wrong = first.faults(codes=(0, 1, 2), longest=400)
            _with_room(disk)
            if first.process.returncode:
                wrong += _outside(folder, disk, *words).faults()
            # The parent run is FINISHED too.
            return wrong + record_faults(disk, finished=41)

    return run


def _outside(folder: Path, disk: Path, *words: str) -> Command:
    """Start a command whose outputs are on the small disk, and whose output is not."""
    return Command(folder, *words, f"outputs={disk}/outputs")
