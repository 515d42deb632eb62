"""Kill workers of a sweep at random moments, and once the sweep itself; then resume it.

    python benchmarks/chaos.py [--points 500] [--workers 2] [--worker-kills 3] [--sweep-kills 1]
                               [--stack off] [--seed 0]

Every kill is SIGKILL. At the end each point must have exactly one FINISHED run under one parent, and no run may be
RUNNING and no process alive. Exit code 0 if so, else 1.
"""

from __future__ import annotations

import argparse
import collections
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

EXPERIMENT = ["dataset=iris", "model.hidden=[4]", "train.epochs=5", "tracking.plots=false", "gradcheck=off"]


def command(points: int, workers: int, stack: str) -> list[str]:
    """The sweep, as a person would give it."""
    return [
        *(sys.executable, "-m", "backproof", "train", "-m", *EXPERIMENT, f"seed=range({points})"),
        *("hydra/launcher=dask", f"hydra.launcher.n_workers={workers}", f"sweep.stack={stack}"),
    ]


def workers_of(sweep: int) -> list[int]:
    """The worker processes of a sweep that is at work."""
    found: list[int] = []
    for each in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((each / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == sweep and b"spawn_main" in (each / "cmdline").read_bytes():
                found.append(int(each.name))
        except OSError:
            continue  # It has ended meanwhile.
    return found


def finished(folder: Path) -> int:
    """How many points have a summary, whichever go at the sweep wrote it."""
    return len(list(folder.glob("outputs/sweeps/**/summary.json")))


def run(folder: Path, sweep_command: list[str], kills: list[tuple[int, str]], chance: random.Random) -> int:
    """Run the sweep to its end, with a kill whenever that many points are done; how often it was started."""
    started = 0
    while True:
        started += 1
        with (folder / f"go{started}.txt").open("w") as out:
            sweep = subprocess.Popen(sweep_command, cwd=folder, stdout=out, stderr=subprocess.STDOUT)
        seen: list[int] = []
        while sweep.poll() is None:
            time.sleep(0.05)
            if not kills or finished(folder) < kills[0][0]:
                continue
            time.sleep(chance.uniform(0, 0.5))
            seen = workers_of(sweep.pid)
            if kills[0][1] == "sweep":
                print(f"at {finished(folder):4} points: kill -9 of the sweep", flush=True)
                sweep.kill()
                sweep.wait()
                kills.pop(0)
                gone(seen)
            elif seen:
                victim = chance.choice(seen)
                print(f"at {finished(folder):4} points: kill -9 of a worker", flush=True)
                os.kill(victim, signal.SIGKILL)
                kills.pop(0)
        if sweep.returncode != -signal.SIGKILL:
            return started


def gone(processes: list[int]) -> None:
    """Wait until processes have ended; the workers of a sweep that was killed see it within a moment."""
    until = time.monotonic() + 10
    while left := [each for each in processes if Path(f"/proc/{each}").exists()]:
        if time.monotonic() > until:
            sys.exit(f"workers of the killed sweep are left: {left}")
        time.sleep(0.05)


def verdict(folder: Path, points: int) -> list[str]:
    """What is wrong with what MLflow knows in the end."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{folder / 'outputs/mlflow.db'}")
    experiment = client.get_experiment_by_name("backproof")
    found, token = [], None
    while True:
        page = client.search_runs([experiment.experiment_id], max_results=1000, page_token=token)
        found, token = [*found, *page], page.token
        if not token:
            break
    parents = [run for run in found if run.data.tags.get("backproof.kind") == "sweep"]
    children = [run for run in found if run.data.tags.get("backproof.kind") != "sweep"]
    print("runs:", dict(collections.Counter(run.info.status for run in children)))
    done = collections.Counter(int(r.data.params["seed"]) for r in children if r.info.status == "FINISHED")
    wrong = [f"{len(parents)} parents instead of 1"] if len(parents) != 1 else []
    wrong += [f"the parent is {run.info.status}" for run in parents if run.info.status != "FINISHED"]
    wrong += [f"seed {seed} is missing" for seed in range(points) if not done[seed]]
    wrong += [f"seed {seed} is finished {count} times" for seed, count in done.items() if count > 1]
    wrong += [f"{run.info.run_name} is still RUNNING" for run in children if run.info.status == "RUNNING"]
    folders = collections.Counter(run.data.tags.get("backproof.folder") for run in children)
    return wrong + [f"{name} was written by {n} runs" for name, n in folders.items() if name and n > 1]


def main(args: list[str] | None = None) -> int:
    """Kill, resume, and say what is left."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--points", type=int, default=500)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--worker-kills", type=int, default=3)
    parser.add_argument("--sweep-kills", type=int, default=1)
    parser.add_argument(
        "--stack", choices=("auto", "off"), default="auto", help="points in stacks, or one a job"
    )
    parser.add_argument("--seed", type=int, default=None, help="of the moments; default: another each time")
    given = parser.parse_args(args)
    seed = random.randrange(10**6) if given.seed is None else given.seed
    chance = random.Random(seed)
    names = ["worker"] * given.worker_kills + ["sweep"] * given.sweep_kills
    chance.shuffle(names)
    at = sorted(chance.sample(range(1, max(given.points * 9 // 10, len(names) + 1)), len(names)))
    kills = list(zip(at, names, strict=True))
    print(f"{given.points} points, {given.workers} workers, --seed {seed}; load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        begun = time.monotonic()
        goes = run(folder, command(given.points, given.workers, given.stack), kills, chance)
        last = (folder / f"go{goes}.txt").read_text()
        wrong = verdict(folder, given.points)
        if kills:
            wrong.append(f"{len(kills)} kills were left over")
        print(f"{goes} goes at it, {time.monotonic() - begun:.0f} s")
    if wrong:
        print("WRONG:", *wrong, sep="\n  ")
        print(last)
        return 1
    print(f"well: {given.points} of {given.points} points FINISHED, none twice, none missing")
    return 0


if __name__ == "__main__":
    sys.exit(main())
