"""Compare gradient checkers: which planted mistakes each accepts, and which right gradients it rejects.

    python benchmarks/gradcheck/run.py [--quick] [--correct N] [--pairs N] [--checkers NAME ...] [--out FILE]
                                       [--docs]

Every checker is given the same losses and the same claimed gradients, and keeps its own defaults (checkers.py). The
mistakes are in mistakes.py, those that nothing was fitted to in heldout.py, the networks in problems.py. A mistake
that does not show at a point, because its gradient there is the right one to rounding (φ' at h for ReLU), is no
mistake there and is left out for all. The peers are an optional extra, `pip install 'backproof[peers]'`; one that
is not installed is skipped, and the table says so. backproof itself must be installed editable, as `make` does it.
Seeds are fixed. The tables go to RESULTS.md in this folder, unless the run is a quick one. With --docs the main
table also goes into docs/benchmarks.md, between its two comments.
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

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent.parent / "docs/benchmarks.md"
#: The table of that page stands between this and an end.
BEGIN = "<!-- benchmarks/gradcheck/run.py --docs -->"
#: Activations times depths times moments times dtypes.
CELLS = 36


def measure(chosen: Sequence[Checker], *, quick: bool, correct: int, pairs: int) -> results.Measured:
    """All that the page shows. The naming has a process of its own; what is timed has the machine to itself."""
    started = time.perf_counter()
    installed = [each for each in chosen if each.installed]
    # The networks are small: more threads would only wait for each other.
    with threadpool_limits(1), ProcessPoolExecutor(1) as other:
        naming = other.submit(named, (1,) if quick else DEPTHS, pairs)
        trials = trial(installed, 1 if quick else -(-correct // CELLS), 1, every=5 if quick else 1)
        said = naming.result()
        times = timing.table(installed, 3 if quick else 15)
        costs = timing.sizes(3 if quick else 15, torch=any(each.package == "torch" for each in installed))
    return results.Measured(chosen, trials, said, times, costs, time.perf_counter() - started)


def named(depths: tuple[int, ...], pairs: int) -> Naming:
    """The share of mistakes that are named, on one thread."""
    with threadpool_limits(1):
        return share_named(depths, pairs, seed=2)


def main(arguments: list[str] | None = None) -> None:
    """Measure, print the tables and write them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--quick", action="store_true", help="one network of every fifth sort; nothing is written"
    )
    parser.add_argument("--correct", type=int, default=1008, metavar="N", help="right gradients (at least)")
    parser.add_argument(
        "--pairs", type=int, metavar="N", help="pairs of mistakes on each network (24; quick: 2)"
    )
    names = [each.name for each in CHECKERS]
    parser.add_argument(
        "--checkers", nargs="+", choices=names, default=names, metavar="NAME", help=f"of {names}"
    )
    parser.add_argument("--out", type=Path, help="file for the tables")
    parser.add_argument("--docs", action="store_true", help="write the main table into docs/benchmarks.md")
    given = parser.parse_args(arguments)
    out = given.out or (None if given.quick else HERE / "RESULTS.md")
    chosen = [each for each in CHECKERS if each.name in given.checkers]
    pairs = (2 if given.quick else 24) if given.pairs is None else given.pairs
    measured = measure(chosen, quick=given.quick, correct=given.correct, pairs=pairs)
    text = results.page(measured)
    print(text)
    if out is not None:
        out.write_text(text)
        print(f"written to {out}", file=sys.stderr)
    if given.docs:
        PAGE.write_text(into(PAGE.read_text(), results.short(measured), BEGIN))


if __name__ == "__main__":
    main()
