"""Floor 3: a diagnosis as a part of an HTML page."""

from __future__ import annotations

import difflib
import html
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from backproof.netcheck.diagnosis import Counterexample, Diagnosis, Finding

STYLE = """
ol.found { padding-left: 1.4rem } ol.found li { margin: .5rem 0 } ol.found ul { margin: .2rem 0; color: #555 }
.math { font-family: "Latin Modern Math", "STIX Two Text", Cambria, Georgia, serif; font-size: 1.02rem }
.math td { white-space: normal } .math sub { line-height: 0 }
mark { background: #fde2df; color: #b3261e; padding: 0 .15em; border-radius: 2px }
.right mark { background: #dcf1e8; color: #00734f } .steps span { white-space: nowrap; margin-right: .9rem }
.follows { color: #8a6d00 } table.example td { font-family: ui-monospace, monospace; font-size: 13px }
table.example tr.other td, table.example tr.other th { color: #b3261e }
"""
MARKS = {"right": ("passed", "✓"), "wrong": ("failed", "✗"), "follows": ("follows", "↓")}


def diagnosis(found: Diagnosis) -> list[str]:
    """The pieces of HTML, one below the other."""
    parts = ["<h2>What is wrong</h2>", f"<p>{_text(found.headline())}</p>"]
    parts.append('<ol class="found">' + "".join(_finding(each) for each in found.findings) + "</ol>")
    if found.located:
        steps = "".join(
            f'<span class="{MARKS[step.state][0]}">{_text(step.place)} {MARKS[step.state][1]}</span>'
            for step in found.located
        )
        parts += [
            f'<p class="steps">From the loss down: {steps}</p>',
            '<p class="note">Each step by what the step above it gave, for single samples: ✓ right, ✗ wrong, '
            "↓ wrong only because of what is above.</p>",
        ]
    parts += _formulas(found)
    parts += [f'<p class="note">{_text(line)}</p>' for line in found.remarks()]
    return parts + (_example(found.counterexample) if found.counterexample is not None else [])


def _finding(finding: Finding) -> str:
    below = [*finding.structure, *(f"or, with the same numbers: {tie.sentence}" for tie in finding.ties)]
    listed = "<ul>" + "".join(f"<li>{_text(each)}</li>" for each in below) + "</ul>" if below else ""
    where = f"at {finding.place}, in the gradients of {', '.join(finding.tensors)}"
    return (
        f"<li>{_text(finding.sentence)}<br>"
        f'<span class="note"><code>{_text(finding.name)}</code> {_text(where)}</span>{listed}</li>'
    )


def _formulas(found: Diagnosis) -> list[str]:
    """Right and given beside each other, with what differs marked."""
    rows: list[str] = []
    for right, given in dict.fromkeys((each.right, each.given) for each in found.findings if each.right):
        one, other = _marked(right, given) if given else (_math(right), "")
        rows.append(f'<tr class="right"><th>right</th><td>{one}</td></tr>')
        rows += [f"<tr><th>given</th><td>{other}</td></tr>"] if given else []
    rows += [f"<tr><th>written</th><td>{_math(each)}</td></tr>" for each in found.written_differently()]
    return ['<table class="math">' + "\n".join(rows) + "</table>"] if rows else []


def _marked(right: str, given: str) -> tuple[str, str]:
    one, other = right.split(), given.split()
    texts: tuple[list[str], list[str]] = ([], [])
    for tag, i, j, k, m in difflib.SequenceMatcher(None, one, other, autojunk=False).get_opcodes():
        for text, words in zip(texts, (one[i:j], other[k:m]), strict=True):
            if words:
                shown = _math(" ".join(words))
                text.append(shown if tag == "equal" else f"<mark>{shown}</mark>")
    return " ".join(texts[0]), " ".join(texts[1])


def _example(example: Counterexample) -> list[str]:
    return [
        "<h2>An example to work by hand</h2>",
        f"<p>The smallest found: {_text(example.size)}.</p>",
        '<table class="example">' + "\n".join(_row(*each) for each in example.rows()) + "</table>",
    ]


def _row(name: str, value: str) -> str:
    other = ' class="other"' if name.startswith("given ") else ""
    return f"<tr{other}><th>{_text(name)}</th><td>{_text(value)}</td></tr>"


def _math(formula: str) -> str:
    """A formula with its indices below the line."""
    return re.sub(r"_(\w+)", r"<sub>\1</sub>", _text(formula))


def _text(text: str) -> str:
    return html.escape(text)
