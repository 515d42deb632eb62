"""Floor 1: a gradient check on the terminal. Rich is imported where it is used."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from backproof.gradcheck.report import ALONE, FAILED, PASSED, GradcheckReport, Section, TensorResult

if TYPE_CHECKING:
    from rich.table import Table

MARKS = {PASSED: "[green]✓[/]", FAILED: "[bold red]✗[/]"}


def tables(report: GradcheckReport) -> list[Table]:
    """The parameters' gradients, and the pieces that were checked by themselves; what there is of them."""
    groups = [[each for each in report.sections if (each.moment == ALONE) == alone] for alone in (False, True)]
    titles = ("gradients: relative error by norm", "pieces of the network, each by itself")
    return [
        table(dataclasses.replace(report, sections=tuple(group)), title)
        for title, group in zip(titles, groups, strict=True)
        if group
    ]


def table(report: GradcheckReport, title: str = "gradients: relative error by norm") -> Table:
    """One row for each tensor: its relative error at each moment, and what was compared."""
    from rich import box
    from rich.table import Table

    # A style of few lines, which a pipe or an old terminal shows as well.
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left")
    shown.add_column("of", style="dim", no_wrap=True)
    shown.add_column("tensor", style="bold", no_wrap=True)
    # More than two moments leave no room for these on a terminal of 80 columns, more than four for what is allowed.
    roomy, narrow = len(report.sections) <= 2, len(report.sections) > 4
    for name in ("shape", "compared") if roomy else ():
        shown.add_column(name, justify="right", no_wrap=True)
    for section in report.sections:
        shown.add_column(section.moment, justify="right", no_wrap=True)
    if not narrow:
        shown.add_column("allowed", justify="right", no_wrap=True)
    for part, tensor in _rows(report):
        found = [_result(section, part, tensor) for section in report.sections]
        known = [each for each in found if each is not None]
        shown.add_row(
            part,
            tensor,
            *(("×".join(map(str, known[0].shape)), _compared(known[0])) if roomy else ()),
            *(_cell(each, short=narrow) for each in found),
            *(() if narrow else (f"{max(each.tolerance for each in known):.0e}",)),
        )
    return shown


def notes(report: GradcheckReport) -> list[str]:
    """What to know of each moment, one line each; the same words once."""
    said: dict[str, list[str]] = {}
    for section in report.sections:
        of_results = [
            f"{r.part} {r.tensor}: {r.note}" for r in section.results if r.note and r.status == PASSED
        ]
        for note in (*section.notes, *of_results):
            said.setdefault(note, []).append(section.moment)
    return [f"{', '.join(moments)}: {note}" for note, moments in said.items()]


def looked_at(report: GradcheckReport) -> list[str]:
    """The preconditions, one line each, with a mark: met, or not and what that hides."""
    return [
        f"{'[green]✓[/]' if each.met else '[yellow]–[/]'} {'' if each.met else '[yellow]not:[/] '}{each}"
        for each in report.preconditions
    ]


def taylor(report: GradcheckReport) -> list[str]:
    """The observed order of each moment and its clean window, one line each."""
    width = max((len(section.moment) for section in report.sections if section.taylor is not None), default=0)
    return [
        f"{section.moment:<{width}}  {section.taylor}"
        for section in report.sections
        if section.taylor is not None
    ]


def _rows(report: GradcheckReport) -> list[tuple[str, str]]:
    seen: dict[tuple[str, str], None] = {}
    for section in report.sections:
        for result in section.results:
            seen[result.part, result.tensor] = None
    return list(seen)


def _result(section: Section, part: str, tensor: str) -> TensorResult | None:
    return next((each for each in section.results if (each.part, each.tensor) == (part, tensor)), None)


def _compared(result: TensorResult) -> str:
    if not result.directions:
        return f"all {result.checked}"
    if not result.checked:
        return f"{result.directions} lines"
    return f"{result.directions} lines + {result.checked}"


def _cell(result: TensorResult | None, *, short: bool) -> str:
    if result is None:
        return "-"
    if result.status in MARKS:
        return f"{result.relative_error:.{0 if short else 1}e} {MARKS[result.status]}"
    return "[dim]zero[/]" if result.norm == 0 else f"[yellow]{result.status}[/]"
