"""Gradient checkers beside each other: what each accepts of planted mistakes, and rejects of right gradients.

    python benchmarks/gradcheck/run.py [--quick] [--correct N] [--checkers NAME ...] [--out FILE]

Every checker is given the same losses and the same claimed gradients, and keeps its own defaults (checkers.py). The
mistakes are in mistakes.py, the networks in problems.py. A mistake that does not show at a point, because its
gradient there is the right one to rounding (φ' at h for ReLU), is no mistake there and is left out for all. The
peers are an optional extra, `pip install 'backproof[peers]'`; one that is not installed is skipped, and the table
says so. backproof itself must be installed editable, as `make` does it. Seeds are fixed. The tables go to
RESULTS.md beside this file, unless the run is a quick one.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from threadpoolctl import threadpool_limits

from benchmarks.gradcheck import results, timing
from benchmarks.gradcheck.checkers import CHECKERS
from benchmarks.gradcheck.naming import share_named
from benchmarks.gradcheck.problems import DEPTHS
from benchmarks.gradcheck.trial import trial

HERE = Path(__file__).resolve().parent
#: Activations times depths times moments times dtypes.
CELLS = 36


def main(arguments: list[str] | None = None) -> None:
    """Measure, print the tables and write them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--quick", action="store_true", help="one network of every fifth sort; nothing is written"
    )
    parser.add_argument("--correct", type=int, default=1008, metavar="N", help="right gradients (at least)")
    names = [each.name for each in CHECKERS]
    parser.add_argument(
        "--checkers", nargs="+", choices=names, default=names, metavar="NAME", help=f"of {names}"
    )
    parser.add_argument("--out", type=Path, help="file for the tables")
    given = parser.parse_args(arguments)
    out = given.out or (None if given.quick else HERE / "RESULTS.md")
    chosen = [each for each in CHECKERS if each.name in given.checkers]
    installed = [each for each in chosen if each.installed]
    started = time.perf_counter()
    rights = 1 if given.quick else -(-given.correct // CELLS)
    # The networks are small: more threads would only wait for each other.
    with threadpool_limits(1):
        named = share_named((1,) if given.quick else DEPTHS, 2 if given.quick else 16, seed=2)
        trials = trial(installed, rights, 1, every=5 if given.quick else 1)
        times = timing.table(installed, 3 if given.quick else 15)
        with_torch = any(each.package == "torch" for each in installed)
        costs = timing.sizes(3 if given.quick else 15, torch=with_torch)
    text = results.page(chosen, trials, named, times, costs, time.perf_counter() - started)
    print(text)
    if out is not None:
        out.write_text(text)
        print(f"written to {out}", file=sys.stderr)


if __name__ == "__main__":
    main()
