"""Try gradient checkers on functions that are hard to check.

    python benchmarks/gradcheck/hard/run.py [--only WORD] [--peers NAME ...] [--seeds N] [--every] [--faults]
                                            [--results FILE] [--page]

Of every kind of function 12 are drawn, each with its right gradient, one with a mistake in an entry, and a smooth
one also with a term of the loss lost (mistakes.py). --only takes the kinds and families whose name contains WORD.
Every checker's tally of a kind is one line of the results, and the last one counts. A run that was interrupted goes
on from there: what has a line of as many functions is not run again. To run a kind anew, delete its lines. --page
runs nothing; it writes the tables of all results to HARD.md in this folder, and the short ones into the README and
docs/gradient-check.md. A peer that is not installed is skipped.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.gradcheck.hard.kinds import KINDS
from benchmarks.gradcheck.hard.peers import PEERS
from benchmarks.gradcheck.hard.table import families, page, short
from benchmarks.gradcheck.hard.trial import trial
from benchmarks.gradcheck.markdown import into

HERE = Path(__file__).resolve().parent
README = HERE.parents[2] / "README.md"
GUIDE = README.parent / "docs/gradient-check.md"
#: Their tables stand between this and an end.
BEGIN = "<!-- benchmarks/gradcheck/hard/run.py --page -->"
SEEDS = 12
#: Seconds of processor time for one checker on one kind; what was drawn until then counts.
LIMIT = 300


def run(names: list[str], peers: list[str], seeds: int, path: Path, *, every: bool, faults: bool) -> None:
    """Append the tally of each checker and kind that has no line of as many functions in the results."""
    done = {(line["checker"], line["kind"]) for line in read(path) if line["seeds"] >= seeds}
    for peer in PEERS:
        rest = [name for name in names if peer.name in peers and (peer.name, name) not in done]
        for count, name in enumerate(rest, 1):
            start, clock = time.process_time(), time.strftime("%H:%M:%S")
            tally = trial(peer, KINDS[name], seeds, every=every, limit=LIMIT)
            seconds = round(time.process_time() - start, 1)
            line = {"checker": peer.name, "kind": name, "seeds": seeds, "seconds": seconds, "commit": commit()}
            with path.open("a") as file:
                file.write(json.dumps(line | vars(tally)) + "\n")
            print(f"{clock} {peer.name}: {count} of {len(rest)}: {name}: {seconds} s", file=sys.stderr)
            if faults:
                print(*(f"{peer.name}: {name}: {fault}" for fault in tally.faults), sep="\n", flush=True)


def read(path: Path) -> list[dict[str, Any]]:
    """Return the last line of each checker and kind; none if there is no such file."""
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return list({(line["checker"], line["kind"]): line for line in lines}.values())


def commit() -> str:
    """Return the commit that last changed the checker, with a + if the working copy differs from it."""
    where = "framework/backproof/gradcheck"
    git = partial(subprocess.run, cwd=README.parent, capture_output=True, text=True, check=True)
    changed = git(["git", "status", "--porcelain", where]).stdout
    return git(["git", "log", "-1", "--format=%h", "--", where]).stdout.strip() + ("+" if changed else "")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", default="", metavar="WORD", help="kinds and families whose name contains WORD"
    )
    parser.add_argument("--peers", nargs="+", choices=[peer.name for peer in PEERS], help="checkers to run")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="functions of every kind")
    parser.add_argument("--every", action="store_true", help="plant every mistake in every function")
    parser.add_argument("--faults", action="store_true", help="print every fault")
    parser.add_argument(
        "--results", type=Path, default=HERE / "results.jsonl", help="one line per checker and kind"
    )
    parser.add_argument("--page", action="store_true", help="write the tables from the results")
    options = parser.parse_args()
    names = [name for name, kind in KINDS.items() if options.only in name or options.only == kind.family]
    if not names:
        parser.error(f"no kind or family is called {options.only!r}")
    peers = [peer.name for peer in PEERS if peer.installed and peer.name in (options.peers or [peer.name])]
    if not options.page:
        run(names, peers, options.seeds, options.results, every=options.every, faults=options.faults)
    else:
        lines = read(options.results)
        (HERE / "HARD.md").write_text(page(lines))
        results = (HERE.parent / "RESULTS.md").read_text()
        for path, text in ((README, short(lines, results)), (GUIDE, families(lines))):
            path.write_text(into(path.read_text(), text, BEGIN))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
