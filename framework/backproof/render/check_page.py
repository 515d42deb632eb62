"""Floor 3: a gradient check as one HTML page that needs nothing else: no network, no scripts."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence

from backproof.gradcheck import ALONE, Section, TensorResult
from backproof.netcheck.report import NetworkReport
from backproof.render import diagnosis_page, plots
from backproof.render.diagnosis_page import diagnosis

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums } th { text-align: left; color: #555 }
th, td { padding: .25rem .9rem .25rem 0; border-bottom: 1px solid #e3e3e3 } td.n { text-align: right }
.passed { color: #00734f } .failed { color: #b3261e; font-weight: 600 } .untested { color: #8a6d00 }
pre { background: #f6f6f4; padding: .8rem 1rem; overflow-x: auto; font-size: 13px } img { max-width: 100% }
.verdict { font-size: 1.1rem } .note { color: #555 }
"""


def page(report: NetworkReport, title: str, facts: Sequence[tuple[str, str]]) -> str:
    """The page. `facts` are lines about what was checked."""
    state = "passed" if report.passed else "failed"
    parts = [
        f"<h1>{_text(title)}</h1>",
        f'<p class="verdict {state}">{"✓" if report.passed else "✗"} {_text(report.summary())}</p>',
        "<table>"
        + "".join(f"<tr><th>{_text(key)}</th><td>{_text(value)}</td></tr>" for key, value in facts)
        + "</table>",
    ]
    if report.diagnosis is not None:
        parts += diagnosis(report.diagnosis)
    if report.preconditions:
        parts += ["<h2>Looked at so that a mistake shows</h2>", _preconditions(report)]
    for section in report.sections:
        parts += _section(section)
    parts += _taylor(report)
    body = "\n".join(parts)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{_text(title)}</title>\n'
        f'<link rel="icon" href="data:,"><style>{STYLE}{diagnosis_page.STYLE}</style></head>\n'
        f"<body>\n{body}\n</body></html>\n"
    )


def _preconditions(report: NetworkReport) -> str:
    rows = [
        f'<tr><td class="{"passed" if each.met else "untested"}">{"✓" if each.met else "not met"}</td>'
        f"<td>{_text(each.name)}</td><td>{_text(each.detail)}</td></tr>"
        for each in report.preconditions
    ]
    return "<table>" + "\n".join(rows) + "</table>"


def _taylor(report: NetworkReport) -> list[str]:
    """The plot of the remainders, and the order and clean window of each moment."""
    tests = {section.moment: section.taylor for section in report.sections if section.taylor is not None}
    if not tests:
        return []
    rows = "\n".join(
        f"<tr><th>{_text(moment)}</th><td>{_text(str(test))}</td></tr>" for moment, test in tests.items()
    )
    return [
        "<h2>Taylor remainders</h2>",
        '<p class="note">Of a right gradient they shrink with the square of the step, of a wrong one with the step '
        "itself. Large steps cross kinks and small ones see rounding: the filled points are the clean window, over "
        "which the order is measured.</p>",
        f"<table>{rows}</table>",
        _image(
            plots.taylor({moment: (test.steps, test.remainders, test.used) for moment, test in tests.items()}),
            "Taylor remainders by step",
        ),
    ]


def _section(section: Section) -> list[str]:
    head = "".join(
        f"<th>{each}</th>"
        for each in ("of", "tensor", "shape", "oracle", "compared", "relative error", "allowed", "")
    )
    rows = "\n".join(_row(result) for result in section.results)
    title = f"Point: {section.moment}" if section.moment != ALONE else "Pieces, each by itself"
    parts = [f"<h2>{_text(title)}</h2>", f"<table><tr>{head}</tr>\n{rows}</table>"]
    parts += [f'<p class="note">{_text(note)}</p>' for note in section.notes]
    maps = {
        f"{result.tensor} ({result.part})": result.errors
        for result in section.results
        if result.errors is not None and result.norm > 0
    }
    if maps:
        parts.append(_image(plots.error_maps(maps), "relative error of every entry"))
    return parts


def _row(result: TensorResult) -> str:
    compared = f"all {result.checked}"
    if result.directions:
        compared = f"{result.directions} random directions, {result.checked} entries"
    verdict = result.status + (f": {result.note}" if result.note else "")
    if result.worst is not None:
        verdict += f"; {result.name} is {result.worst.got:.6g}, expected {result.worst.expected:.6g}"
    cells = [result.part, result.tensor, "×".join(map(str, result.shape)), result.oracle, compared]
    numbers = [f"{result.relative_error:.1e}", f"{result.tolerance:.1e}"]
    return (
        "<tr>"
        + "".join(f"<td>{_text(cell)}</td>" for cell in cells)
        + "".join(f'<td class="n">{number}</td>' for number in numbers)
        + f'<td class="{result.status}">{_text(verdict)}</td></tr>'
    )


def _image(png: bytes, what: str) -> str:
    return f'<p><img alt="{_text(what)}" src="data:image/png;base64,{base64.b64encode(png).decode()}"></p>'


def _text(text: str) -> str:
    return html.escape(text)
