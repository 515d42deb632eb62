"""The table of the hard functions, in Markdown: totals, then every kind."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version

from benchmarks.gradcheck.hard.kinds import KINDS
from benchmarks.gradcheck.hard.peers import PEERS
from benchmarks.gradcheck.hard.trial import Tally

#: What backproof says of each sort: how fine a resolution it must state.
SORTS = {
    "smooth": "smooth: an error of 1e-6 must be seen",
    "kinked": "kinks: 2 %",
    "rough": "a loss with an error of its own: 2 %, or untested",
    "step": "jumps: 2 % between them",
}
HEADINGS = ("right: accepted", "rejected", "untested", "wrong: rejected", "accepted", "untested")


def page(tallies: dict[str, dict[str, Tally]], minutes: float) -> str:
    """The page; `tallies` by kind and checker."""
    names = list(next(iter(tallies.values())))
    peers = [peer for peer in PEERS if peer.name in names]
    versions = ", ".join(["numpy " + version("numpy"), *dict.fromkeys(peer.version for peer in peers[1:])])
    lines = [
        "# Functions that are hard to check",
        "",
        f"`python benchmarks/gradcheck/hard/run.py`, {minutes:.0f} minutes; Python {platform.python_version()}, "
        f"{versions}.",
        "",
        f"{len(tallies)} kinds of function, drawn at random, each with its right gradient and four or five wrong "
        "ones: the largest entry 2 % off, another one 2 % off, of the wrong sign, or zero; of smooth functions "
        "also a term of the loss lost whose gradient is 1e-6 of the whole. Every gradient was derived by hand, "
        "without knowing how backproof checks, and is compared with extrapolated differences "
        "(tests/benchmarks/test_hard.py). Errors and checks that took over 20 s count as untested.",
        "",
        *(f"- {peer.name}: `{peer.how}`" for peer in peers),
        "",
        "Only backproof states what error it would have seen, its resolution. Accepted beyond it: a wrong gradient "
        "whose error is larger, or any where nothing is stated. Too coarse: accepted with a resolution above 1e-6 "
        "(smooth) or 2 %.",
        "",
        "## Totals",
        "",
        *_rows(
            ["checker", *HEADINGS, "beyond the resolution", "too coarse"],
            [_total(tallies, name) for name in names],
        ),
    ]
    for sort, title in SORTS.items():
        chosen = {name: tally for name, tally in tallies.items() if KINDS[name].expect == sort}
        if chosen:
            rows = [_total(chosen, name) for name in names]
            lines += ["", f"## {title[0].upper()}{title[1:]}", "", f"{len(chosen)} kinds.", ""]
            lines += _rows(["checker", *HEADINGS, "beyond the resolution", "too coarse"], rows)
    if "backproof" in names:
        lines += ["", "## backproof, by kind", ""]
        columns = ["kind", "family", *HEADINGS, "beyond the resolution", "too coarse", "coarsest resolution"]
        lines += _rows(columns, [_kind(name, tally["backproof"]) for name, tally in tallies.items()])
    others = [name for name in names if name != "backproof"]
    if others:
        lines += [
            "",
            "## The others, by kind",
            "",
            "Right rejected or not judged; wrong accepted or not judged.",
            "",
        ]
        rows = [[name, *(_faults(tally[other]) for other in others)] for name, tally in tallies.items()]
        lines += _rows(["kind", *others], rows)
    return "\n".join(lines) + "\n"


def _counts(right: Counter[str], wrong: Counter[str]) -> list[str]:
    """The six counts; errors and timeouts are untested."""

    def rest(counts: Counter[str]) -> int:
        return counts.total() - counts["accepted"] - counts["rejected"]

    numbers = (
        right["accepted"],
        right["rejected"],
        rest(right),
        wrong["rejected"],
        wrong["accepted"],
        rest(wrong),
    )
    return [f"{number:,}" for number in numbers]


def _total(tallies: dict[str, dict[str, Tally]], name: str) -> list[str]:
    right, wrong, beyond, coarse = Counter[str](), Counter[str](), 0, 0
    for tally in tallies.values():
        right += tally[name].right
        wrong += tally[name].wrong
        beyond += tally[name].beyond
        coarse += tally[name].coarse
    return [name, *_counts(right, wrong), f"{beyond:,}", f"{coarse:,}"]


def _kind(name: str, tally: Tally) -> list[str]:
    counts = _counts(tally.right, tally.wrong)
    return [name, KINDS[name].family, *counts, str(tally.beyond), str(tally.coarse), f"{tally.resolution:.0e}"]


def _faults(tally: Tally) -> str:
    right, wrong = tally.right.total() - tally.right["accepted"], tally.wrong.total() - tally.wrong["rejected"]
    return f"{right} of {tally.right.total()}; {wrong} of {tally.wrong.total()}" if right or wrong else "–"


def _rows(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    sides = ["---" if column in ("checker", "kind", "family") else "---:" for column in columns]
    return ["| " + " | ".join(row) + " |" for row in (columns, sides, *rows)]
