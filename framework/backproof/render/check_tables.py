"""Tables of a gradient check for the terminal. Rich is imported where it is used."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from backproof.gradcheck.report import (
    ALONE,
    FAILED,
    NOTHING,
    PASSED,
    UNTESTED,
    GradcheckReport,
    Section,
    TensorResult,
)

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

#: The mark of each status, and its style on the terminal.
SYMBOLS = {PASSED: "✓", FAILED: "✗", UNTESTED: "?", NOTHING: "–"}
STYLES = {PASSED: "green", FAILED: "bold red", UNTESTED: "yellow", NOTHING: "dim"}


def mark(status: str) -> Text:
    """Return the mark of a status, coloured."""
    from rich.text import Text

    return Text.assemble((SYMBOLS[status], STYLES[status]))


def tables(report: GradcheckReport) -> list[Table]:
    """Return a table of the parameters' gradients and a table of the components, if there are any."""
    groups = [
        [section for section in report.sections if (section.moment == ALONE) == alone]
        for alone in (False, True)
    ]
    titles = ("gradients: relative error by norm", "components of the network, each checked separately")
    return [
        table(dataclasses.replace(report, sections=tuple(group)), title)
        for title, group in zip(titles, groups, strict=True)
        if group
    ]


def table(report: GradcheckReport, title: str = "gradients: relative error by norm") -> Table:
    """Return a table with a row for each tensor: its relative error at each point, and what was compared."""
    from rich import box
    from rich.table import Table

    # A style with few lines also reads well in a pipe or an old terminal.
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left")
    shown.add_column("of", style="dim", no_wrap=True)
    shown.add_column("tensor", style="bold", no_wrap=True)
    # In 80 columns, more than two points leave no room for these columns, more than four none for tolerances.
    roomy, narrow = len(report.sections) <= 2, len(report.sections) > 4
    for name in ("shape", "compared") if roomy else ():
        shown.add_column(name, justify="right", no_wrap=True)
    for section in report.sections:
        shown.add_column(section.moment, justify="right", no_wrap=True)
    if not narrow:
        shown.add_column("allowed", justify="right", no_wrap=True)
    for part, tensor in _rows(report):
        results = [_result(section, part, tensor) for section in report.sections]
        present = [result for result in results if result is not None]
        shown.add_row(
            part,
            tensor,
            *(("×".join(map(str, present[0].shape)), _compared(present[0])) if roomy else ()),
            *(_cell(result, short=narrow) for result in results),
            *(() if narrow else (f"{max(result.tolerance for result in present):.0e}",)),
        )
    return shown


def notes(report: GradcheckReport) -> list[str]:
    """Return the notes, one line each, with the points at which they apply."""
    moments_of: dict[str, list[str]] = {}
    for section in report.sections:
        of_results = [
            f"{result.part} {result.tensor}: {result.note}"
            for result in section.results
            if result.note and result.status == PASSED
        ]
        for note in (*section.notes, *of_results):
            moments_of.setdefault(note, []).append(section.moment)
    return [f"{', '.join(moments)}: {note}" for note, moments in moments_of.items()]


def looked_at(report: GradcheckReport) -> list[Text]:
    """Return the preconditions, one line each: whether it is met, and if not, what that hides."""
    from rich.text import Text

    return [
        Text.assemble("  ", ("✓", "green") if condition.met else ("– not:", "yellow"), f" {condition}")
        for condition in report.preconditions
    ]


def taylor(report: GradcheckReport) -> list[str]:
    """Return the observed order at each point and its clean window, one line each."""
    width = max((len(section.moment) for section in report.sections if section.taylor is not None), default=0)
    return [
        f"{section.moment:<{width}}  {section.taylor}"
        for section in report.sections
        if section.taylor is not None
    ]


def _rows(report: GradcheckReport) -> list[tuple[str, str]]:
    """Return the part and tensor of each row, in the order of the report."""
    pairs = [(result.part, result.tensor) for section in report.sections for result in section.results]
    return list(dict.fromkeys(pairs))


def _result(section: Section, part: str, tensor: str) -> TensorResult | None:
    results = (result for result in section.results if (result.part, result.tensor) == (part, tensor))
    return next(results, None)


def _compared(result: TensorResult) -> str:
    if not result.directions:
        return f"all {result.checked}"
    if not result.checked:
        return f"{result.directions} lines"
    return f"{result.directions} lines + {result.checked}"


def _cell(result: TensorResult | None, *, short: bool) -> str | Text:
    from rich.text import Text

    if result is None:
        return "-"
    if result.status in (PASSED, FAILED):
        return Text(f"{result.relative_error:.{0 if short else 1}e} ").append(mark(result.status))
    return (
        Text("zero", "dim") if result.status == NOTHING or result.norm == 0 else Text(result.status, "yellow")
    )
