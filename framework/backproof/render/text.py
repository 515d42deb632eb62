"""Numbers, durations and foreign text in one line of a terminal or a page."""

from __future__ import annotations

import math
import re

MISSING = "–"


def number(value: float | None, digits: int = 4) -> str:
    """Return a number with a few significant digits; a dash for one that is missing or NaN."""
    return MISSING if value is None or math.isnan(value) else f"{value:.{digits}g}"


def duration(seconds: float | None) -> str:
    """Return `0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds is None:
        return MISSING
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def shorten(text: str, length: int) -> str:
    """Return the beginning of a text, with an ellipsis if it is longer."""
    return text if len(text) <= length else text[: length - 1] + "…"


def elide_middle(text: str, width: int) -> str:
    """Return a text of at most `width` cells, with an ellipsis in the middle if it is longer."""
    from rich.cells import cell_len, chop_cells

    if cell_len(text) <= width:
        return text
    head, tail = width // 2, width - 1 - width // 2
    ends = chop_cells(text, head)[0], chop_cells(text[::-1], tail)[0][::-1] if tail else ""
    return f"{ends[0]}…{ends[1]}"


def one_line(text: str) -> str:
    """Return foreign text without line breaks and control characters, which a terminal would obey."""
    return _replaced(text, " \N{NO-BREAK SPACE}")


def printable(text: str) -> str:
    """Return foreign text of any number of lines without control characters, which a terminal would obey."""
    return _replaced(text, " \N{NO-BREAK SPACE}\n\t")


def _replaced(text: str, allowed: str) -> str:
    """Replace the characters that are not printable, bidirectional controls among them."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() or character in allowed else "\N{REPLACEMENT CHARACTER}"
        for character in text
    )


def pad(text: str, width: int = 0, *, cut: bool = False) -> tuple[str, int]:
    """Return a text padded to a width in terminal cells (cut with an ellipsis if asked), and its width."""
    from rich.cells import cell_len, set_cell_size

    cells = cell_len(text)
    if cut and cells > width:
        return set_cell_size(text, width - 1) + "…", width
    return (set_cell_size(text, width) if cells < width else text), max(cells, width)


def subscripts(formula: str) -> list[tuple[str, str]]:
    """Split `W_kh + b` into pieces, each with the index that follows it: `(W, kh), ( + b, "")`."""
    pieces = re.split(r"_(\w+)", formula)
    return list(zip(pieces[::2], [*pieces[1::2], ""], strict=True))
