"""Attack the command with bad input, hostile files and stores, kills, full disks and broken servers.

    python -m tests.campaign [--short] [--only BLOCK ...] [--match REGEX] [--results FILE] [--seed 0]

Prints a table of what was tried, what held and what failed. The exit code is 0 if every target is met: no case
fails but those listed in known.py, each entry there still fails, and every block has as many cases as it
should. `--short` takes a sample of each block, drawn with the seed.
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import json
import os
import random
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.campaign import derivations, disks, keys, kills, models, plugins, servers, stores, tables
from tests.campaign.case import Case, Skipped, Trial
from tests.campaign.known import KNOWN, Known, known

Attack = Case | Trial
#: What is tried, and the least number of cases in each group of blocks.
SOURCES: dict[str, tuple[Callable[[], Iterable[Attack]], int]] = {
    "keys": (keys.cases, 2000),
    "CSV": (tables.cases, 100),
    "YAML": (derivations.cases, 100),
    "plugins": (plugins.cases, 150),
    "models": (models.cases, 500),
    "stores": (stores.cases, 500),
    "kills": (kills.trials, 20),
    "disks": (disks.trials, 7),
    "servers": (servers.trials, 35),
}
#: In the short form: the number of cases of each source, unless they are fewer.
SAMPLE = 5
#: Sources whose trials take too long for the short form.
LONG = ("kills", "disks", "servers")


def main() -> int:
    """Run the campaign and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--short", action="store_true", help="a sample of each block")
    parser.add_argument("--only", nargs="+", choices=SOURCES, default=list(SOURCES), help="these blocks alone")
    parser.add_argument("--match", default="", help="only cases whose id contains a match of this expression")
    parser.add_argument("--results", type=Path, help="append one line of JSON for each case to this file")
    parser.add_argument("--seed", type=int, default=0, help="of the order, and of the sample")
    options = parser.parse_args()
    attacks, missed = drawn(options)
    if any(isinstance(attack, Case) for attack in attacks):
        from tests.campaign import server

        server.preload()
    results = [attacked(attack, options.results) for attack in attacks]
    return report(results, missed, short=options.short)


def drawn(options: argparse.Namespace) -> tuple[list[Attack], list[str]]:
    """Return the attacks in a random order, and which sources have fewer cases than they should."""
    import re

    chance = random.Random(options.seed)
    attacks: list[Attack] = []
    missed: list[str] = []
    for name in options.only:
        if options.short and name in LONG:
            continue
        make, least = SOURCES[name]
        cases = list(make())
        if len(cases) < least:
            missed.append(f"{name}: {len(cases)} cases, expected at least {least}")
        cases = [case for case in cases if re.search(options.match, case.id)]
        if options.short:
            # The same ones, whatever other cases there are; of the sweeps to attack, one is recorded.
            cases = [case for case in cases if not known(case.id) and getattr(case, "store", "") != "tpe"]
            cases.sort(key=lambda case: digest(case, options.seed))
            cases = cases[:SAMPLE]
        attacks += cases
    chance.shuffle(attacks)
    return attacks, missed


def digest(attack: Attack, seed: int) -> str:
    """Return a number that looks random, and depends only on the attack and the seed."""
    return hashlib.sha256(f"{seed} {attack.id}".encode()).hexdigest()


class Result:
    """What came of one attack."""

    def __init__(self, attack: Attack) -> None:
        started = time.monotonic()
        self.attack, self.known, self.skipped = attack, known(attack.id), ""
        self.entry: Known | None = None
        try:
            self.faults = attack.attack()
        except Skipped as reason:
            self.faults, self.skipped = [], str(reason)
        except Exception as error:  # noqa: BLE001
            # One attack that cannot be made must not end the campaign.
            self.faults = [f"the attack failed: {type(error).__name__}: {error}"]
        self.entry = next((entry for entry in self.known if entry.covers(self.faults)), None)
        self.seconds = time.monotonic() - started

    @property
    def status(self) -> str:
        """One of held, failed, known and skipped."""
        if self.skipped:
            return "skipped"
        if not self.faults:
            return "held"
        return "failed" if self.entry is None else "known"


def attacked(attack: Attack, results: Path | None) -> Result:
    """Make an attack, and show a line if it does not hold."""
    result = Result(attack)
    if result.status in ("failed", "passed"):
        print(
            f"{result.status}: {attack.id}: {'; '.join(result.faults) or 'remove it from known.py'}", flush=True
        )
    if results is not None:
        line = {"id": attack.id, "status": result.status, "faults": result.faults, "seconds": result.seconds}
        with results.open("a") as file:
            file.write(json.dumps(line) + "\n")
    return result


def report(results: list[Result], missed: list[str], *, short: bool) -> int:
    """Print the table, the known failures, and the targets that are missed; return the exit code."""
    columns = ("held", "known", "skipped", "failed")
    blocks: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    slowest: dict[str, float] = collections.defaultdict(float)
    for result in results:
        block = result.attack.block
        blocks[block][result.status] += 1
        slowest[block] = max(slowest[block], result.seconds)
    print(f"\n{'block':24}{'tried':>7}" + "".join(f"{name:>9}" for name in columns) + "  longest")
    for block, counts in sorted(blocks.items()):
        numbers = "".join(f"{counts[name]:9}" for name in columns)
        print(f"{block:24}{counts.total():7}{numbers}{slowest[block]:7.0f} s")
    total = sum(blocks.values(), collections.Counter())
    print(f"{'all':24}{total.total():7}" + "".join(f"{total[name]:9}" for name in columns))
    for entry in KNOWN:
        tried = [result for result in results if entry in result.known]
        count = sum(result.entry is entry for result in tried)
        if count:
            print(f"known: {count} of {len(tried)}: {entry.reason}")
        elif tried and not short:
            # A mend elsewhere must not turn the short form red, which runs with all tests.
            missed.append(f"none of {len(tried)} cases fails any more, remove their entry: {entry.reason}")
    for reason in sorted({result.skipped for result in results if result.skipped}):
        print(f"skipped: {reason}")
    if total["failed"]:
        missed.append(f"{total['failed']} cases failed")
    for target in missed:
        print(f"MISSED: {target}")
    print("load", *(f"{load:.1f}" for load in os.getloadavg()))
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
