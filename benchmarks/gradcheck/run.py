"""Compare gradient checkers: which planted mistakes each accepts, and which right gradients it rejects.

    python benchmarks/gradcheck/run.py [--quick] [--correct N] [--pairs N] [--checkers NAME ...] [--out FILE]
                                       [--docs]

Every checker gets the same losses and the same claimed gradients, and uses its default settings (checkers.py). The
mistakes are in mistakes.py, the held-out ones in heldout.py, the networks in problems.py. A mistake whose gradient
is right up to rounding at some point (φ' at h for ReLU) is not a mistake there, and is excluded for all checkers.
The other checkers are an optional extra, `pip install 'backproof[peers]'`; one that is not installed is skipped,
and the table says so. backproof itself must be an editable install, as made by `make`. Seeds are fixed. The tables
are written to RESULTS.md in this folder, unless the run is a quick one; with --docs the main table is also written
to docs/benchmarks.md, between its two comments.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from threadpoolctl import threadpool_limits

from benchmarks.gradcheck import results, timing
from benchmarks.gradcheck.checkers import CHECKERS, Checker
from benchmarks.gradcheck.markdown import into
from benchmarks.gradcheck.naming import Naming, share_named
from benchmarks.gradcheck.problems import DEPTHS
from benchmarks.gradcheck.trial import trial

FOLDER = Path(__file__).resolve().parent
PAGE = FOLDER.parent.parent / "docs/benchmarks.md"
#: The table on that page follows this line, up to END.
BEGIN = "<!-- benchmarks/gradcheck/run.py --docs -->"
#: Activations times depths times moments times dtypes.
CELLS = 36


def measure(chosen: Sequence[Checker], *, quick: bool, correct: int, pairs: int) -> results.Measured:
    """Measure everything on the page. Naming runs in another process; timing starts when it has finished."""
    started = time.perf_counter()
    installed = [checker for checker in chosen if checker.installed]
    # The networks are small: more threads would only wait for each other.
    with threadpool_limits(1), ProcessPoolExecutor(1) as executor:
        future = executor.submit(named, (1,) if quick else DEPTHS, pairs)
        trials = trial(installed, 1 if quick else -(-correct // CELLS), 1, every=5 if quick else 1)
        naming = future.result()
        times = timing.table(installed, 3 if quick else 15)
        costs = timing.sizes(3 if quick else 15, torch=any(checker.package == "torch" for checker in installed))
    return results.Measured(chosen, trials, naming, times, costs, time.perf_counter() - started)


def named(depths: tuple[int, ...], pairs: int) -> Naming:
    """Measure the fraction of mistakes that are named, on one thread."""
    with threadpool_limits(1):
        return share_named(depths, pairs, seed=2)


def main(arguments: list[str] | None = None) -> None:
    """Measure, print the tables and write them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--quick", action="store_true", help="one network of every fifth combination; nothing is written"
    )
    parser.add_argument("--correct", type=int, default=1008, metavar="N", help="right gradients (at least)")
    parser.add_argument(
        "--pairs", type=int, metavar="N", help="pairs of mistakes on each network (24; quick: 2)"
    )
    names = [checker.name for checker in CHECKERS]
    parser.add_argument(
        "--checkers", nargs="+", choices=names, default=names, metavar="NAME", help=f"some of {names}"
    )
    parser.add_argument("--out", type=Path, help="file for the tables")
    parser.add_argument("--docs", action="store_true", help="write the main table into docs/benchmarks.md")
    options = parser.parse_args(arguments)
    out = options.out or (None if options.quick else FOLDER / "RESULTS.md")
    chosen = [checker for checker in CHECKERS if checker.name in options.checkers]
    pairs = (2 if options.quick else 24) if options.pairs is None else options.pairs
    measured = measure(chosen, quick=options.quick, correct=options.correct, pairs=pairs)
    text = results.page(measured)
    print(text)
    if out is not None:
        out.write_text(text)
        print(f"written to {out}", file=sys.stderr)
    if options.docs:
        PAGE.write_text(into(PAGE.read_text(), results.short(measured), BEGIN))


if __name__ == "__main__":
    main()
