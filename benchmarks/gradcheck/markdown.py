"""Parts of a page in Markdown."""

from __future__ import annotations

import platform
from pathlib import Path

#: The end of a table that a script writes into a page.
END = "<!-- end -->"


def share(count: int, of: int) -> str:
    """Return `3 of 12 (25.0 %)`."""
    return f"{count:,} of {of:,} ({percent(count, of)})" if of else "–"


def percent(count: int, of: int) -> str:
    if not of:
        return "–"
    return "0 %" if count == 0 else "100 %" if count == of else f"{100 * count / of:.1f} %"


def table(rows: list[list[str]]) -> str:
    """Return a table whose first row is its head."""
    head, *body = rows
    lines = (head, ["---"] + ["---:"] * (len(head) - 1), *body)
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def processor() -> str:
    """Return the processor's name."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def into(page: str, text: str, begin: str) -> str:
    """Return the page with another text between `begin` and END. Raise ValueError if one of them is missing."""
    head, begin, rest = page.partition(begin)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page needs the lines {begin!r} and {END!r}, between which the table goes")
    return f"{head}{begin}\n{text}\n{end}{tail}"
