"""Kills at random moments, and many starts at once: the same command again loses nothing and doubles nothing."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import chaos
from tests.campaign.case import Skipped, Trial, slowdown
from tests.campaign.processes import ENVIRONMENT, RUN, Command, record_faults

#: Points of the sweeps, and seconds within which one must end, with all its kills.
POINTS, LONGEST = 24, 900.0
SWEEP = [sys.executable, "-m", "backproof", "train", "-m", *RUN[1:], "train.epochs=30", "sweep.stack_size=6"]


def trials() -> Iterator[Trial]:
    """Yield a trial for each kind of process, and for several seeds."""
    for seed in range(4):
        yield Trial("kills", f"single runs, seed {seed}", _single_runs(seed))
    for seed in range(3):
        yield Trial("kills", f"sweep, seed {seed}", _sweep(seed, ["sweep", "sweep"]))
        yield Trial("kills", f"writer, seed {seed}", _sweep(seed, ["writer"], "sweep.writer=on"))
        yield Trial("kills", f"Dask workers and sweep, seed {seed}", _dask(seed))
        yield Trial("kills", f"Dask scheduler, seed {seed}", _scheduler(seed))
    for count in (8, 16):
        yield Trial("starts", f"{count} runs together in a new folder", _starts(count, fresh=True))
        yield Trial("starts", f"{count} runs together in one that exists", _starts(count, fresh=False))


def _single_runs(seed: int) -> Callable[[Path], list[str]]:
    """Kill three runs, each at a random moment; the next command ends them as KILLED."""

    def run(folder: Path) -> list[str]:
        chance = random.Random(seed)
        for number in range(3):
            command = Command(folder, *RUN, "train.epochs=200000", f"seed={number}")
            until = time.monotonic() + 90 * slowdown()
            # From the moment that the run is recorded, or a little before.
            while command.process.poll() is None and not list(folder.glob("outputs/runs/*/*")):
                if time.monotonic() > until:
                    break
                time.sleep(0.02)
            time.sleep(chance.uniform(0, 8))
            if command.process.poll() is not None:
                return [f"the run ended before it was killed: {command.output[-300:]!r}"]
            command.kill()
        wrong = Command(folder, *RUN, "train.epochs=2", "seed=9").faults()
        return wrong + record_faults(folder, finished=1)

    return run


def _sweep(seed: int, kills: list[str], *options: str) -> Callable[[Path], list[str]]:
    """Kill a sweep or its writer process at random numbers of finished points, and resume it to its end."""

    def run(folder: Path) -> list[str]:
        chance = random.Random(seed)
        at = sorted(chance.sample(range(1, POINTS * 3 // 4), len(kills)))
        sweep = [*SWEEP, f"seed=range({POINTS})", *options]
        return _killed_and_resumed(folder, sweep, list(zip(at, kills, strict=True)), chance)

    return run


def _dask(seed: int) -> Callable[[Path], list[str]]:
    def run(folder: Path) -> list[str]:
        _require_dask()
        chance = random.Random(seed)
        at = sorted(chance.sample(range(1, 15), 3))
        kills = list(zip(at, ("worker", "sweep", "worker"), strict=True))
        return _killed_and_resumed(folder, chaos.command(POINTS, 2, "off"), kills, chance)

    return run


def _killed_and_resumed(
    folder: Path, sweep: list[str], kills: list[tuple[int, str]], chance: random.Random
) -> list[str]:
    """Carry out the kills, give the same command until it succeeds, and compare the record with the plan."""
    try:
        chaos.run(folder, sweep, kills, chance, env=ENVIRONMENT, longest=LONGEST * slowdown())
    except TimeoutError as error:
        return [f"hang: {error}"]
    wrong = [f"the kill of the {name} was not carried out" for _, name in kills]
    for _ in range(3):
        if not chaos.faults(folder, POINTS):
            break
        subprocess.run(sweep, cwd=folder, env=ENVIRONMENT, capture_output=True, timeout=LONGEST * slowdown())
    return wrong + chaos.faults(folder, POINTS)


def _scheduler(seed: int) -> Callable[[Path], list[str]]:
    """Kill the scheduler of a cluster in the middle of a sweep, start another, and give the same command again."""

    def run(folder: Path) -> list[str]:
        _require_dask()
        chance = random.Random(seed)
        port = chance.randrange(20_000, 60_000)
        sweep = ("train", "-m", *RUN[1:], "train.epochs=5", f"seed=range({POINTS})", "sweep.stack=off")
        sweep += ("hydra/launcher=dask", f"hydra.launcher.address=tcp://127.0.0.1:{port}")
        processes = _cluster(folder, port)
        try:
            command = Command(folder, *sweep)
            until = time.monotonic() + 240 * slowdown()
            while chaos.finished(folder) < 4 and command.process.poll() is None and time.monotonic() < until:
                time.sleep(0.05)
            time.sleep(chance.uniform(0, 2))
            processes[0].kill()
            wrong = command.faults(codes=(1, 2), silence=120)
        finally:
            _end(processes)
        processes = _cluster(folder, port)
        try:
            wrong += Command(folder, *sweep).faults(silence=120)
        finally:
            _end(processes)
        return wrong + chaos.faults(folder, POINTS)

    return run


def _cluster(folder: Path, port: int) -> list[subprocess.Popen[bytes]]:
    """Start a scheduler and two workers."""
    address = f"tcp://127.0.0.1:{port}"
    scheduler = ["distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"]
    worker = [
        "distributed.cli.dask_worker",
        address,
        "--nthreads",
        "1",
        "--no-dashboard",
        "--death-timeout",
        "120",
    ]
    commands = [scheduler, worker, worker]
    with (folder / "cluster.txt").open("ab") as log:
        return [
            subprocess.Popen(
                [sys.executable, "-m", *words], cwd=folder, env=ENVIRONMENT, stdout=log, stderr=log
            )
            for words in commands
        ]


def _end(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _require_dask() -> None:
    try:
        import distributed  # noqa: F401
    except ImportError:
        raise Skipped("Dask is not installed") from None


def _starts(count: int, *, fresh: bool) -> Callable[[Path], list[str]]:
    """Start runs at once: every one is recorded, and none is refused because the others are there."""

    def run(folder: Path) -> list[str]:
        wrong: list[str] = []
        if not fresh:
            wrong += Command(folder, *RUN, "train.epochs=2", "seed=1000").faults()
        commands = [Command(folder, *RUN, "train.epochs=2", f"seed={seed}") for seed in range(count)]
        for command in commands:
            # Sixteen imports on a small machine take a while.
            wrong += command.faults(silence=300)
        return wrong + record_faults(folder, finished=count + (not fresh))

    return run
