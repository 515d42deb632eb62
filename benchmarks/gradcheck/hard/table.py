"""The tables of the hard functions in Markdown: totals, by sort and family, and every kind with a fault."""

from __future__ import annotations

import platform
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from typing import Any

from benchmarks.gradcheck.hard.kinds import FAMILIES, KINDS
from benchmarks.gradcheck.hard.peers import LIMIT, PEERS
from benchmarks.gradcheck.markdown import processor, share, table

#: A line of the results: the tally of one checker and kind, as plain values.
Line = dict[str, Any]

SORTS = {
    "smooth": "smooth: a resolution of 1e-6 is promised",
    "kinked": "kinks: 2 %",
    "rough": "a loss with an error of its own: 2 %, or untested",
    "step": "jumps: 2 % between them",
}
COLUMNS = (
    "right: accepted",
    "untested",
    "rejected",
    "an entry wrong: rejected",
    "untested",
    "accepted",
    "a term of 1e-6 lost: rejected",
    "untested",
    "accepted",
    "accepted beyond the stated resolution",
    "too coarse",
)
OUTCOMES = ("accepted", "rejected")


def page(lines: Sequence[Line]) -> str:
    """Return the page of all results."""
    checkers = {name: [line for line in lines if line["checker"] == name] for name in _names(lines)}
    ours = checkers.get("backproof", [])
    parts = [
        *_head(checkers),
        "## Totals\n",
        table([["checker", "kinds", *COLUMNS], *[[name, *_sums(some)] for name, some in checkers.items()]]),
    ]
    for sort, title in SORTS.items():
        chosen = {name: [line for line in some if _sort(line) == sort] for name, some in checkers.items()}
        rows = [[name, *_sums(some)] for name, some in chosen.items() if some]
        parts += [f"\n## {title[0].upper()}{title[1:]}\n", table([["checker", "kinds", *COLUMNS], *rows])]
    parts += [
        "\n## backproof, by family\n",
        families(lines),
        "\n## backproof, every kind with a fault\n",
        "Faults are right gradients that are not accepted, wrong ones that are untested or accepted beyond the "
        "stated resolution, and what is accepted with too coarse a resolution. A rough function that is untested "
        "is one of these too, although it may be the right answer.\n",
        table(
            [["kind", "sort", *COLUMNS, "the first fault"], *[_kind(line) for line in ours if line["faults"]]]
        ),
    ]
    return "\n".join(parts) + "\n"


def families(lines: Sequence[Line]) -> str:
    """Return the table of backproof's verdicts by family of function."""
    members: dict[str, list[Line]] = {family.__name__.rpartition(".")[2]: [] for family in FAMILIES}
    for line in lines:
        if line["checker"] == "backproof":
            members[KINDS[line["kind"]].family].append(line)
    rows = [[name, *_sums(some)] for name, some in members.items() if some]
    return table([["family", "kinds", *COLUMNS], *rows])


def short(lines: Sequence[Line], networks: str) -> str:
    """Return the README's table: networks, from the text of RESULTS.md, beside the hard functions."""
    section = networks.partition("## What each accepts and rejects")[2].partition("\n## ")[0]
    cells = [[cell.strip() for cell in row.split("|")[1:-1]] for row in section.splitlines() if row]
    measured = {row[0]: row[1:3] for row in cells}
    rows = [
        [
            "checker",
            "networks: wrong accepted",
            "networks: right rejected",
            "hard functions: right accepted",
            "hard: right rejected",
            "hard: an entry wrong, accepted",
            "hard: a term of 1e-6 lost, accepted",
            "of these two, beyond the stated resolution",
        ]
    ]
    for name in _names(lines):
        some = [line for line in lines if line["checker"] == name]
        right, wrong, lost = (_total(some, key) for key in ("right", "wrong", "lost"))
        hard = [
            share(right["accepted"], right.total()),
            f"{right['rejected']:,}",
            *(share(counts["accepted"], counts.total()) for counts in (wrong, lost)),
            f"{sum(line['beyond'] for line in some):,}",
        ]
        rows.append([name, *measured.get(name, ["–", "–"]), *hard])
    return table(rows)


def _head(checkers: dict[str, list[Line]]) -> list[str]:
    peers = [peer for peer in PEERS if peer.name in checkers]
    versions = dict.fromkeys(peer.version for peer in peers if peer.version and peer.package != "numpy")
    commits = dict.fromkeys(line["commit"] for line in checkers.get("backproof", []))
    hours = sum(line["seconds"] for some in checkers.values() for line in some) / 3600
    drawn = {name: sum(_total(some, "right").values()) for name, some in checkers.items()}
    return [
        "# Functions that are hard to check\n",
        f"`python benchmarks/gradcheck/hard/run.py --page`, {time.strftime('%Y-%m-%d')}, {hours:.1f} hours of "
        f"processor time on {processor()}, one BLAS thread; Python {platform.python_version()}, "
        f"numpy {version('numpy')}, {', '.join(versions)}; backproof's checker at commit "
        f"{', '.join(commits) or '–'}.\n",
        f"{len(KINDS)} kinds of function, drawn at random, each with its right gradient and with one that is wrong "
        "in an entry (the largest 2 % off, another one 2 % off, of the wrong sign, or zero, in turn; where the "
        "whole gradient is zero, 0.02 or 1 too much); a smooth one also with a term of the loss lost whose "
        "gradient is 1e-6 of the whole. Every gradient was derived by hand, without knowing how backproof checks, "
        "and is compared with extrapolated differences (tests/benchmarks/test_hard.py). What raises an error, or "
        f"takes over {LIMIT} s of processor time, counts as untested.\n",
        *(
            f"- {peer.name}: `{peer.how}`; {drawn[peer.name]:,} functions of {len(checkers[peer.name])} kinds"
            for peer in peers
        ),
        "\nOnly backproof states what error it would have seen, its resolution. Accepted beyond it: a wrong "
        "gradient with a tensor whose error is larger, or any where nothing is stated. Too coarse: accepted with a "
        "resolution above 1e-6 (smooth) or 2 %. The peers' tolerances are of about 1e-3 or 1e-5, so that most of "
        "them cannot find a lost term of 1e-6.\n",
    ]


def _names(lines: Iterable[Line]) -> list[str]:
    present = {line["checker"] for line in lines}
    return [peer.name for peer in PEERS if peer.name in present]


def _sort(line: Line) -> str:
    return KINDS[line["kind"]].expect


def _total(lines: Iterable[Line], key: str) -> Counter[str]:
    return sum((Counter(line[key]) for line in lines), Counter[str]())


def _sums(lines: Sequence[Line]) -> list[str]:
    return [str(len(lines)), *_counts(lines)]


def _counts(lines: Sequence[Line]) -> list[str]:
    """Return the cells of these lines together, in the order of COLUMNS. Errors and timeouts are untested."""
    cells = []
    for key, good, bad in (("right", *OUTCOMES), ("wrong", *OUTCOMES[::-1]), ("lost", *OUTCOMES[::-1])):
        counts = _total(lines, key)
        untested = counts.total() - counts[good] - counts[bad]
        cells += [share(counts[good], counts.total()) if counts else "–", f"{untested:,}", f"{counts[bad]:,}"]
    return [*cells, *(f"{sum(line[key] for line in lines):,}" for key in ("beyond", "coarse"))]


def _kind(line: Line) -> list[str]:
    return [line["kind"], _sort(line), *_counts([line]), line["faults"][0].replace("|", "\\|")]
