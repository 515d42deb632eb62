"""A report as a short table, in text and in HTML."""

from __future__ import annotations

import html
import textwrap
from collections.abc import Sequence
from typing import Any, Protocol


class Report(Protocol):
    """What a table needs of a report."""

    @property
    def sections(self) -> Sequence[Any]: ...
    @property
    def findings(self) -> Sequence[str]: ...
    @property
    def status(self) -> str: ...
    def summary(self) -> str: ...


HEAD = ("tensor", "shape", "status", "error", "allowed", "resolution", "oracle", "worst entry")
#: Columns of a terminal.
WIDTH = 80
#: Rows that a terminal still shows; what failed comes first.
MOST_ROWS = 20
ADVICE = {
    "failed": "derive the term of the worst entry again; check(..., oracle=) compares with one oracle alone",
    "untested": "see the reason above; give noise=, tolerance= or bounds=, or check at another theta",
}
STYLE = """
:root { color-scheme: light dark; --text: #222; --soft: #555; --line: #e3e3e3;
  --passed: #00734f; --failed: #b3261e; --untested: #8a6d00 }
@media (prefers-color-scheme: dark) {
  :root { --text: #ddd; --soft: #aaa; --line: #444; --passed: #4fc79b; --failed: #ff8a80; --untested: #e0bd4a }
  body { background: #1b1b1b } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--text); max-width: 60rem; margin: 2rem auto;
  padding: 0 1rem }
.table { overflow-x: auto } p { white-space: pre-wrap; overflow-wrap: anywhere }
table { border-collapse: collapse; font-variant-numeric: tabular-nums } th { text-align: left; color: var(--soft) }
th, td { padding: .2rem .8rem .2rem 0; border-bottom: 1px solid var(--line) }
.passed { color: var(--passed) } .failed { color: var(--failed); font-weight: 600 }
.untested { color: var(--untested) }
"""


def rows(report: Report) -> list[tuple[str, ...]]:
    """Return one row for each tensor, at the point where it is furthest off; what failed comes first."""
    furthest: dict[tuple[str, str], Any] = {}
    order = {"failed": 0, "untested": 1, "passed": 2, "nothing to check": 3}
    for section in report.sections:
        for result in section.results:
            key = result.part, result.tensor
            known = furthest.get(key)
            if known is None or _rank(result, order) < _rank(known, order):
                furthest[key] = result
    return [_row(result) for result in sorted(furthest.values(), key=lambda result: order[result.status])]


def _rank(result: Any, order: dict[str, int]) -> tuple[int, float]:
    return order[result.status], -result.relative_error


def _row(result: Any) -> tuple[str, ...]:
    worst = ""
    if result.worst is not None:
        worst = f"{result.name}: got {pair_text(result.worst.got, result.worst.expected)}"
    tested = result.status in ("passed", "failed")
    resolution = result.resolution if result.resolution is not None else result.tolerance
    return (
        result.tensor,
        "×".join(map(str, result.shape)) or "1",
        result.status,
        f"{result.relative_error:.1e}" if tested else "",
        f"{result.tolerance:.1e}" if tested else "",
        f"{resolution:.0e}" if result.status == "passed" else "",
        result.oracle,
        worst,
    )


def pair_text(got: float, expected: float, digits: int = 6) -> str:
    """Return `3, expected 2`, with at least so many digits, and enough of them that the two numbers differ."""
    shown = (f"{got:.{count}g}, expected {expected:.{count}g}" for count in (digits, 9, 12))
    differs = (text for text in shown if text.split(",")[0] != text.split()[-1])
    return next(differs, f"{got:.17g}, expected {expected:.17g}")


def notes(report: Report) -> list[str]:
    """Return remarks on the table, and what to do."""
    lines = [
        f"{result.tensor}: {result.note}"
        for section in report.sections
        for result in section.results
        if result.note
    ]
    lines += [note for section in report.sections for note in section.notes]
    lines += report.findings
    advice = ADVICE.get(report.status)
    return [*dict.fromkeys(lines), *([f"what to do: {advice}"] if advice else [])]


def text(report: Report) -> str:
    """Return the report as a table of a few lines."""
    table = [HEAD, *rows(report)]
    hidden = len(table) - 1 - MOST_ROWS
    table = table[: MOST_ROWS + 1]
    # A column in which nothing stands is left out.
    columns = [i for i in range(len(HEAD)) if any(row[i] for row in table[1:])]
    widths = {i: max(len(row[i]) for row in table) for i in columns}
    lines: list[str] = ["  " + "  ".join(f"{row[i]:<{widths[i]}}" for i in columns).rstrip() for row in table]
    if max(map(len, lines)) > WIDTH and len(HEAD) - 1 in columns:
        # The worst entry goes below its row.
        columns.pop()
        lines.clear()
        for row in table:
            lines.append("  " + "  ".join(f"{row[i]:<{widths[i]}}" for i in columns).rstrip())
            lines += [f"    {row[-1]}"] if row is not HEAD and row[-1] else []
    if hidden > 0:
        lines.append(f"  … and {hidden} more")
    below = [line for note in notes(report) for line in _wrapped(note)]
    return "\n".join([f"gradient check: {report.summary()}", *lines, *below])


def _wrapped(note: str) -> list[str]:
    """Return a note in lines that fit a terminal; an indented line keeps its indentation."""
    lines: list[str] = []
    for line in note.splitlines():
        indent = line[: len(line) - len(line.lstrip())]
        lines += textwrap.wrap(line, WIDTH, subsequent_indent=indent + "  ", break_long_words=False) or [""]
    return lines


def fragment(report: Report) -> str:
    """Return the report as an HTML table, as notebooks show it."""
    head = "".join(f"<th>{name}</th>" for name in HEAD)
    body = "\n".join(
        "<tr>" + "".join(f'<td class="{row[2].split()[0]}">{html.escape(cell)}</td>' for cell in row) + "</tr>"
        for row in rows(report)
    )
    # Each finding is a separate line, also in a notebook without the page's style.
    below = "".join(f'<p style="white-space: pre-wrap">{html.escape(note)}</p>' for note in notes(report))
    state = report.status.split()[0]
    return (
        f'<p>gradient check: <b class="{state}">{html.escape(report.summary())}</b></p>\n'
        f'<div class="table" style="overflow-x: auto"><table><tr>{head}</tr>\n{body}</table></div>{below}'
    )


def page(report: Report, title: str) -> str:
    """Return the report as a page that needs nothing else."""
    name = html.escape(title)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{name}</title>\n'
        f'<link rel="icon" href="data:,"><style>{STYLE}</style></head>\n'
        f"<body><h1>{name}</h1>\n{fragment(report)}\n</body></html>\n"
    )
