"""Kill workers of a sweep at random times, and once the sweep itself; then resume it.

    python benchmarks/chaos.py [--points 500] [--workers 2] [--worker-kills 3] [--sweep-kills 1]
                               [--stack off] [--seed 0]

Every kill is SIGKILL. In the end each point must have exactly one FINISHED run, all under one parent; no run may be
RUNNING, and no process alive. The exit code is 0 if so, else 1.
"""

from __future__ import annotations

import argparse
import collections
import math
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

EXPERIMENT = ["dataset=iris", "model.hidden=[4]", "train.epochs=5", "tracking.plots=false", "gradcheck=off"]


def command(points: int, workers: int, stack: str) -> list[str]:
    """Return the command of the sweep."""
    return [
        *(sys.executable, "-m", "backproof", "train", "-m", *EXPERIMENT, f"seed=range({points})"),
        *("hydra/launcher=dask", f"hydra.launcher.n_workers={workers}", f"sweep.stack={stack}"),
    ]


#: What the command line of each kind of child process contains.
MARKS = {"worker": b"spawn_main", "writer": b"writer_process"}


def children_of(sweep: int, kind: str) -> list[int]:
    """Return the worker processes of a running sweep, or its writer process."""
    children: list[int] = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == sweep and MARKS[kind] in (process / "cmdline").read_bytes():
                children.append(int(process.name))
        except OSError:
            continue  # It has ended in the meantime.
    return children


def finished(folder: Path) -> int:
    """Return the number of points with a summary, from any attempt."""
    return len(list(folder.glob("outputs/sweeps/**/summary.json")))


def run(
    folder: Path,
    sweep_command: list[str],
    kills: list[tuple[int, str]],
    chance: random.Random,
    *,
    env: Mapping[str, str] | None = None,
    longest: float = math.inf,
) -> int:
    """Run the sweep to its end, with a kill at each number of finished points. Return the number of attempts.

    `kills` loses those that were carried out. Raise TimeoutError after `longest` seconds.
    """
    attempts, until = 0, time.monotonic() + longest
    while True:
        attempts += 1
        with (folder / f"attempt{attempts}.txt").open("w") as out:
            sweep = subprocess.Popen(sweep_command, cwd=folder, stdout=out, stderr=subprocess.STDOUT, env=env)
        while sweep.poll() is None:
            time.sleep(0.05)
            if time.monotonic() > until:
                sweep.kill()
                sweep.wait()
                raise TimeoutError(
                    f"the sweep has not ended after {longest:g} s, with {finished(folder)} points"
                )
            if not kills or finished(folder) < kills[0][0]:
                continue
            time.sleep(chance.uniform(0, 0.5))
            name = kills[0][1]
            if name == "sweep":
                print(f"at {finished(folder):4} points: kill -9 of the sweep", flush=True)
                workers = children_of(sweep.pid, "worker")
                sweep.kill()
                sweep.wait()
                kills.pop(0)
                wait_until_ended(workers)
            elif victims := children_of(sweep.pid, name):
                print(f"at {finished(folder):4} points: kill -9 of a {name}", flush=True)
                os.kill(chance.choice(victims), signal.SIGKILL)
                kills.pop(0)
        if sweep.returncode != -signal.SIGKILL:
            return attempts


def wait_until_ended(processes: list[int]) -> None:
    """Wait until processes have ended: the workers of a killed sweep notice it within seconds."""
    until = time.monotonic() + 10
    while running := [process for process in processes if Path(f"/proc/{process}").exists()]:
        if time.monotonic() > until:
            sys.exit(f"workers of the killed sweep are still running: {running}")
        time.sleep(0.05)


def faults(folder: Path, points: int) -> list[str]:
    """Return what is wrong with the runs recorded in MLflow."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{folder / 'outputs/mlflow.db'}")
    experiment = client.get_experiment_by_name("backproof")
    runs, token = [], None
    while True:
        page = client.search_runs([experiment.experiment_id], max_results=1000, page_token=token)
        runs, token = [*runs, *page], page.token
        if not token:
            break
    parents = [run for run in runs if run.data.tags.get("backproof.kind") == "sweep"]
    children = [run for run in runs if run.data.tags.get("backproof.kind") != "sweep"]
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
    """Run the sweep with kills, and print whether the record is right."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--points", type=int, default=500)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--worker-kills", type=int, default=3)
    parser.add_argument("--sweep-kills", type=int, default=1)
    parser.add_argument(
        "--stack", choices=("auto", "off"), default="auto", help="points in stacks, or one per job"
    )
    parser.add_argument(
        "--seed", type=int, default=None, help="seed of the times of the kills; default: a random one"
    )
    options = parser.parse_args(args)
    seed = random.randrange(10**6) if options.seed is None else options.seed
    chance = random.Random(seed)
    names = ["worker"] * options.worker_kills + ["sweep"] * options.sweep_kills
    chance.shuffle(names)
    at = sorted(chance.sample(range(1, max(options.points * 9 // 10, len(names) + 1)), len(names)))
    kills = list(zip(at, names, strict=True))
    print(f"{options.points} points, {options.workers} workers, --seed {seed}; load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        started = time.monotonic()
        attempts = run(folder, command(options.points, options.workers, options.stack), kills, chance)
        output = (folder / f"attempt{attempts}.txt").read_text()
        wrong = faults(folder, options.points)
        if kills:
            wrong.append(f"{len(kills)} kills were not carried out")
        print(f"{attempts} attempts, {time.monotonic() - started:.0f} s")
    if wrong:
        print("WRONG:", *wrong, sep="\n  ")
        print(output)
        return 1
    print(f"passed: each of {options.points} points is FINISHED exactly once")
    return 0


if __name__ == "__main__":
    sys.exit(main())
