"""Time a sweep end to end, as whole processes: ours, Hydra's basic sweeper with recording by hand, scikit-learn's.

    python benchmarks/sweep.py [--points N] [--rounds N] [--log-metrics] [--where]

The grid is seed x lr x weight decay on digits, 64-32-10, Adam, batches of 32, 20 epochs, float64, one thread. The
candidates take turns; each starts a new process in an empty folder and must leave one FINISHED run in MLflow
(SQLite) for every point, which is counted. Each saves what it saves by default:

    ours       `backproof train -m`: gradients checked before and after training, metrics by epoch, pictures,
               weights of each point, the model of the best, the report page
    hydra      the same training code without gradient check, pictures and weights, under Hydra's basic sweeper: a
               run, its parameters, log_metric for each metric and epoch, and Hydra's folder as artifacts, as
               hydraflow does (sweep_hydra.py). With --log-metrics it is one call per epoch
    sklearn    MLPClassifier of the same shape with mlflow.sklearn.autolog(), which saves a model of each point
               (sweep_sklearn.py)

`--where` runs only ours, once unchanged and once with timers around its parts (sweep_where.py).
A missed target is marked; the exit code is 0.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
LR, DECAY = (0.003, 0.01, 0.03, 0.001, 0.1), (0.0, 1e-5, 1e-4, 1e-3)
EPOCHS, HIDDEN, BATCH = 20, 32, 32
#: How many times as fast ours should be.
TARGETS = {"hydra": 5.0, "sklearn": 3.0}
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
ENVIRONMENT = dict.fromkeys(THREADS, "1") | {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_TRACKING_URI": "sqlite:///mlflow.db",
    "GIT_PYTHON_REFRESH": "quiet",
}


@dataclass(frozen=True)
class Grid:
    """A number of points as a grid of seeds, learning rates and weight decays."""

    points: int

    def __post_init__(self) -> None:
        if self.points < 1 or (self.points > 20 and self.points % 20):
            raise SystemExit(
                "--points: fewer than 20, or a multiple of 20 (5 learning rates x 4 weight decays)"
            )

    @property
    def lists(self) -> tuple[list[int], list[float], list[float]]:
        """The seeds, learning rates and weight decays."""
        if self.points % 20 == 0:
            return list(range(self.points // 20)), list(LR), list(DECAY)
        # Few points: as many learning rates as divide their number.
        rates = max(n for n in (1, 2, 5) if self.points % n == 0)
        return list(range(self.points // rates)), list(LR[:rates]), list(DECAY[:1])


def listed(values: list[int] | list[float]) -> str:
    """Return a list of choices in Hydra's syntax."""
    return ",".join(map(str, values))


def ours(grid: Grid) -> list[str]:
    """Return the arguments of `backproof`."""
    seeds, rates, decays = grid.lists
    return [
        *("train", "-m", "dataset=digits", f"model.hidden=[{HIDDEN}]", "optimizer=adam", "penalty=l2"),
        *(f"train.batch_size={BATCH}", f"train.epochs={EPOCHS}", "train.dtype=float64"),
        *(f"seed={listed(seeds)}", f"optimizer.lr={listed(rates)}", f"penalty.strength={listed(decays)}"),
    ]


def commands(grid: Grid, *, at_once: bool) -> dict[str, list[str]]:
    """Return the command of each contender."""
    seeds, rates, decays = grid.lists
    lists = [f"seed={listed(seeds)}", f"lr={listed(rates)}", f"decay={listed(decays)}"]
    return {
        "ours": [sys.executable, "-m", "backproof", *ours(grid)],
        "hydra": [sys.executable, str(HERE / "sweep_hydra.py"), "-m", *lists, f"at_once={at_once}"],
        "sklearn": [sys.executable, str(HERE / "sweep_sklearn.py"), *lists],
    }


def seconds(command: list[str], grid: Grid) -> float:
    """Return how long a contender's process takes in an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        done = subprocess.run(
            command, cwd=folder, env=os.environ | ENVIRONMENT, capture_output=True, text=True, check=False
        )
        took = time.perf_counter() - started
        if done.returncode:
            raise SystemExit(f"{' '.join(command)}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
        count = recorded(Path(folder, "mlflow.db"))
        if count != grid.points:
            raise SystemExit(f"{' '.join(command)}\nrecorded {count} of {grid.points} points")
    return took


def recorded(file: Path) -> int:
    """Return the number of finished runs in a store that have no child runs."""
    with sqlite3.connect(file) as base:
        ((count,),) = base.execute(
            "select count(*) from runs where status = 'FINISHED' and run_uuid not in "
            "(select value from tags where key = 'mlflow.parentRunId')"
        )
    base.close()
    return count


def main() -> None:
    """Measure the contenders, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--points", type=int, default=200, metavar="N")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument(
        "--log-metrics", action="store_true", help="hydra: one call for all metrics of an epoch"
    )
    parser.add_argument("--where", action="store_true", help="only show where the time of ours goes")
    parser.add_argument("--only", choices=["ours", *TARGETS], nargs="+", default=["ours", *TARGETS])
    args = parser.parse_args()
    grid = Grid(args.points)
    os.environ.update(dict.fromkeys(THREADS, "1"))
    if args.where:
        plain = seconds(commands(grid, at_once=False)["ours"], grid)
        print(f"{grid.points} points, a separate process without timers: {plain:.1f} s", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, str(HERE / "sweep_where.py"), str(grid.points), *ours(grid)]
            subprocess.run(command, cwd=folder, env=os.environ | ENVIRONMENT, check=True)
        return
    chosen = {
        name: command for name, command in commands(grid, at_once=args.log_metrics).items() if name in args.only
    }
    took: dict[str, list[float]] = {name: [] for name in chosen}
    for k in range(args.rounds):
        for name, command in chosen.items():
            took[name].append(seconds(command, grid))
            print(f"round {k + 1}  {name:8} {took[name][-1]:7.1f} s", flush=True)
    medians = {name: statistics.median(times) for name, times in took.items()}
    print(f"\n{grid.points} points, {args.rounds} rounds, medians of whole processes")
    for name, median in medians.items():
        ratio = ""
        if name in TARGETS and "ours" in medians:
            factor = median / medians["ours"]
            ratio = f"ours is {factor:.2f} times as fast, target {TARGETS[name]:g}"
            ratio += "" if factor >= TARGETS[name] else "  MISSED"
        print(f"  {name:8} {median:7.1f} s   {median / grid.points * 1000:6.0f} ms per point   {ratio}")


if __name__ == "__main__":
    main()
