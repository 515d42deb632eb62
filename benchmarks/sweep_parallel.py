"""Measure how much faster a sweep is on two Dask workers than on one.

    python benchmarks/sweep_parallel.py [--points 16] [--epochs 200] [--rounds 3]

The same sweep (digits, 64-32-10, gradient check on) runs with one worker and with two, in turn; each round gives
one ratio, and the median of them is the result. Two times are compared: `whole`, from the command to its end, with
the start of Python, of the workers and of MLflow in it, and `at work`, from the start of the first run to the end
of the last. Other work on the machine lowers the ratio, so the load average is shown.
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

AIM = 1.7


def once(points: int, epochs: int, workers: int) -> tuple[float, float, float]:
    """Seconds of one sweep: whole, at work, and of a run in it (the median)."""
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
                # A job for each point: in stacks these few would be over in a moment.
                *(f"train.epochs={epochs}", "tracking.plots=false", "sweep.stack=off"),
                *("hydra/launcher=dask", f"hydra.launcher.n_workers={workers}"),
            ],
            cwd=temporary,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        whole = time.perf_counter() - began
        from mlflow import MlflowClient

        client = MlflowClient(tracking_uri=f"sqlite:///{Path(temporary) / 'outputs/mlflow.db'}")
        found = [run.info for run in client.search_runs(["1"]) if run.data.tags["backproof.kind"] == "run"]
        if len(found) != points or {info.status for info in found} != {"FINISHED"}:
            raise RuntimeError(f"{len(found)} of {points} runs, { ({info.status for info in found}) }")
        span = max(info.end_time for info in found) - min(info.start_time for info in found)
        own = statistics.median(info.end_time - info.start_time for info in found)
        return whole, span / 1000, own / 1000


def main() -> int:
    """Print the table; exit code 1 where the aim is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--points", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    ratios: list[tuple[float, float]] = []
    print(f"{'':9}{'load':>6}{'a run':>9}{'whole':>18}{'ratio':>8}{'at work':>18}{'ratio':>8}")
    for number in range(1, given.rounds + 1):
        load = os.getloadavg()[0]
        one, two = (once(given.points, given.epochs, workers) for workers in (1, 2))
        ratios.append((one[0] / two[0], one[1] / two[1]))
        print(
            f"round {number:<3}{load:6.1f}{one[2]:7.2f} s{one[0]:9.1f} /{two[0]:5.1f} s{ratios[-1][0]:8.2f}"
            f"{one[1]:9.1f} /{two[1]:5.1f} s{ratios[-1][1]:8.2f}",
            flush=True,
        )
    whole, at_work = (statistics.median(each) for each in zip(*ratios, strict=True))
    print(f"median of {given.rounds}: whole {whole:.2f}, at work {at_work:.2f} times as fast; aim {AIM}")
    return 0 if whole >= AIM else 1


if __name__ == "__main__":
    sys.exit(main())
