"""The time and memory of a complete check of a small network, and of `check` with 1e5 and 1e6 parameters.

    python -m benchmarks.gradcheck.large [--calls 5]

The cases take turns; the figures are medians, by the clock and of processor time, with one thread. The memory is
the peak of a process of its own, with Python and the data.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np  # noqa: E402
from backproof import check  # noqa: E402

from benchmarks.gradcheck.checkers import ours  # noqa: E402
from benchmarks.gradcheck.timing import SMALL, relu  # noqa: E402

SAMPLES = 20
COMPLEX, REAL = "complex step", "differences"


@dataclass(frozen=True)
class Case:
    """A check, and the most seconds and MB that it may take."""

    name: str
    make: Callable[[], Callable[[], Any]]
    seconds: float
    megabytes: float | None = None


def sum_of_squares(P: int, oracle: str) -> Callable[[], Any]:
    """Return the check of Σ t², by one oracle."""

    def f(t: Any) -> tuple[Any, Any]:
        t = t if oracle == COMPLEX else np.real(t)
        return np.sum(t**2), 2 * t

    return lambda: check(f, np.linspace(1, 2, P))


def logistic_regression(P: int, oracle: str) -> Callable[[], Any]:
    """Return the check of logistic regression on 20 samples with P weights, by one oracle."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((SAMPLES, P)), rng.integers(0, 2, SAMPLES)

    def f(w: Any) -> tuple[Any, Any]:
        w = w if oracle == COMPLEX else np.real(w)
        a = X @ w
        p = 1 / (1 + np.exp(-np.real(a)))
        # ln(1 + e^a) − y a, which must not overflow
        positive = np.real(a) > 0
        loss = np.sum(np.log1p(np.exp(np.where(positive, -a, a))) + np.where(positive, a, 0) - y * a)
        return loss, (p - y) @ X

    return lambda: check(f, rng.standard_normal(P) / np.sqrt(P))


def network() -> Callable[[], Any]:
    """Return the complete check of a 64-32-10 network by `backproof check`."""
    problem, complete = relu(SMALL), ours()
    return lambda: complete(problem.candidate(None))


def cases() -> list[Case]:
    """Return all cases."""
    found = [Case("network 64-32-10", network, 0.055)]
    for P, seconds, megabytes in ((100_000, 1.0, None), (1_000_000, 20.0, 600.0)):
        for make in (sum_of_squares, logistic_regression):
            for oracle in (COMPLEX, REAL):
                name = f"{make.__name__.replace('_', ' ')}, P = {P:,}, {oracle}"
                found.append(
                    Case(name, lambda make=make, P=P, oracle=oracle: make(P, oracle), seconds, megabytes)
                )
    return found


def peak_megabytes(case: int) -> float:
    """Return the peak memory of this process, which runs one check."""
    cases()[case].make()()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> int:
    """Print a table; return 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=5)
    parser.add_argument("--only", default="", metavar="WORD", help="cases whose name contains WORD")
    options = parser.parse_args()
    every = cases()
    chosen = [i for i, case in enumerate(every) if options.only in case.name]
    clock: dict[int, list[float]] = {i: [] for i in chosen}
    processor: dict[int, list[float]] = {i: [] for i in chosen}
    # Before the checks below: the peak of a process is at least that of the one that starts it.
    peaks: dict[int, float] = {}
    for i in chosen:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            peaks[i] = pool.apply(peak_megabytes, (i,))
    network()()  # the first call imports
    for _ in range(options.calls):
        for i in chosen:
            run = every[i].make()
            start, used = time.perf_counter(), time.process_time()
            run()
            clock[i].append(time.perf_counter() - start)
            processor[i].append(time.process_time() - used)
    print("| check | seconds by the clock | of processor time | at most | MB | at most |")
    print("|---|---|---|---|---|---|")
    missed = False
    for i in chosen:
        case = every[i]
        by_clock, by_processor = statistics.median(clock[i]), statistics.median(processor[i])
        most = f"{case.megabytes:.0f}" if case.megabytes else ""
        print(
            f"| {case.name} | {by_clock:.3g} | {by_processor:.3g} | {case.seconds:g} | {peaks[i]:.0f} | {most} |"
        )
        missed |= by_processor > case.seconds or (case.megabytes is not None and peaks[i] > case.megabytes)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
