"""Measure how much faster a sweep is on two Dask workers than on one.

    python benchmarks/sweep_parallel.py [--points 16] [--epochs 200] [--rounds 3]

The same sweep (digits, 64-32-10, gradient check on) runs with one worker and with two, in turn. Each round gives a
ratio, and the result is their median. Two times are compared: `whole` is that of the command, which includes the
start of Python, the workers and MLflow; `at work` is from the start of the first run to the end of the last. Other
work on the machine lowers the ratio, so the load average is shown.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TARGET = 1.7


def once(points: int, epochs: int, workers: int) -> tuple[float, float, float]:
    """Return the seconds of one sweep: whole, at work, and the median of its runs."""
    with tempfile.TemporaryDirectory() as temporary:
        began = time.perf_counter()
        subprocess.run(
            [
                *(
                    sys.executable,
                    "-m",
                    "backproof",
                    "train",
                    "-m",
                    "dataset=digits",
                    f"seed=range({points})",
                ),
                # One job per point: as stacks, so few points would take no time.
                *(f"train.epochs={epochs}", "tracking.plots=false", "sweep.stack=off"),
                *("hydra/launcher=dask", f"hydra.launcher.n_workers={workers}"),
            ],
            cwd=temporary,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        seconds = time.perf_counter() - began
        from mlflow import MlflowClient

        client = MlflowClient(tracking_uri=f"sqlite:///{Path(temporary) / 'outputs/mlflow.db'}")
        runs = [run.info for run in client.search_runs(["1"]) if run.data.tags["backproof.kind"] == "run"]
        if len(runs) != points or {info.status for info in runs} != {"FINISHED"}:
            raise RuntimeError(f"{len(runs)} of {points} runs, { ({info.status for info in runs}) }")
        span = max(info.end_time for info in runs) - min(info.start_time for info in runs)
        median = statistics.median(info.end_time - info.start_time for info in runs)
        return seconds, span / 1000, median / 1000


def main() -> int:
    """Print the table. Return exit code 1 if the target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--points", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    ratios: list[tuple[float, float]] = []
    print(f"{'':9}{'load':>6}{'per run':>9}{'whole':>18}{'ratio':>8}{'at work':>18}{'ratio':>8}")
    for number in range(1, args.rounds + 1):
        load = os.getloadavg()[0]
        one, two = (once(args.points, args.epochs, workers) for workers in (1, 2))
        ratios.append((one[0] / two[0], one[1] / two[1]))
        print(
            f"round {number:<3}{load:6.1f}{one[2]:7.2f} s{one[0]:9.1f} /{two[0]:5.1f} s{ratios[-1][0]:8.2f}"
            f"{one[1]:9.1f} /{two[1]:5.1f} s{ratios[-1][1]:8.2f}",
            flush=True,
        )
    whole, at_work = (statistics.median(column) for column in zip(*ratios, strict=True))
    print(f"median of {args.rounds}: whole {whole:.2f}, at work {at_work:.2f} times as fast; target {TARGET}")
    return 0 if whole >= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
