"""Try gradient checkers on functions that are hard to check.

    python benchmarks/gradcheck/hard/run.py [--quick] [--only WORD] [--peers NAME ...] [--faults] [--out FILE]

Of every kind of function 12 are drawn (2 with --quick), each with its right gradient and four or five wrong ones
(mistakes.py). --only takes the kinds and families whose name contains WORD; --faults also prints what backproof got
wrong. The table goes to benchmarks/gradcheck/HARD.md, unless the run is quick or in part. A peer that is not
installed is skipped.
"""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from benchmarks.gradcheck.hard.kinds import KINDS
from benchmarks.gradcheck.hard.peers import PEERS
from benchmarks.gradcheck.hard.table import page
from benchmarks.gradcheck.hard.trial import Tally, trial

SEEDS, QUICK = 12, 2


def measured(name: str, peers: list[str], seeds: int) -> dict[str, Tally]:
    """One kind, by the checkers of these names. A function for a process of its own."""
    return {peer.name: trial(peer, KINDS[name], seeds) for peer in PEERS if peer.name in peers}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} functions of every kind")
    parser.add_argument(
        "--only", default="", metavar="WORD", help="kinds and families whose name contains WORD"
    )
    parser.add_argument("--peers", nargs="+", choices=[peer.name for peer in PEERS], help="checkers to run")
    parser.add_argument("--faults", action="store_true", help="print every fault of backproof")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--out", type=Path, help="where the table goes")
    options = parser.parse_args()
    names = [name for name, kind in KINDS.items() if options.only in name or options.only == kind.family]
    if not names:
        parser.error(f"no kind or family is called {options.only!r}")
    peers = [peer.name for peer in PEERS if peer.installed and peer.name in (options.peers or [peer.name])]
    start, tallies = time.monotonic(), {}
    one = partial(measured, peers=peers, seeds=QUICK if options.quick else SEEDS)
    with ProcessPoolExecutor(options.processes) as pool:
        for name, tally in zip(names, pool.map(one, names), strict=True):
            tallies[name] = tally
            print(f"{len(tallies)} of {len(names)}: {name}", file=sys.stderr)
            if options.faults and "backproof" in tally:
                print(*(f"{name}: {fault}" for fault in tally["backproof"].faults), sep="\n", flush=True)
    text = page(tallies, minutes=(time.monotonic() - start) / 60)
    whole = not options.quick and not options.only and not options.peers
    out = options.out or (Path(__file__).parents[1] / "HARD.md" if whole else None)
    if out:
        out.write_text(text)
    print(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
