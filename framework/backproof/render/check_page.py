"""A gradient check as one HTML page that needs no network access and no scripts."""

from __future__ import annotations

import base64
import difflib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from backproof.contracts import Array
from backproof.gradcheck import ALONE, Section, TensorResult
from backproof.gradcheck.taylor import TaylorTest
from backproof.netcheck.report import NetworkReport
from backproof.render.check_tables import SYMBOLS
from backproof.render.svg import COLOURS, Scale
from backproof.render.templates import render, verbatim

TEMPLATES = Path(__file__).with_name("templates")


def page(report: NetworkReport, title: str, facts: Sequence[tuple[str, str]], *, maps: bool = True) -> str:
    """Return the page. `facts` describe what was checked; `maps` adds a picture of the error of every entry."""
    tests = [(section.moment, section.taylor) for section in report.sections if section.taylor is not None]
    diagnosis = report.diagnosis
    pairs = (
        dict.fromkeys((finding.right, finding.given) for finding in diagnosis.findings if finding.right)
        if diagnosis
        else {}
    )
    return render(
        TEMPLATES,
        "check.html",
        title=title,
        style=verbatim(TEMPLATES, "check.css"),
        report=report,
        mark=SYMBOLS[report.status],
        facts=facts,
        diagnosis=diagnosis,
        formulas=[compared(right, given or "") for right, given in pairs],
        sections=[_section(section, maps=maps) for section in report.sections],
        taylor=[(moment, test, COLOURS[i % len(COLOURS)]) for i, (moment, test) in enumerate(tests)],
        chart=_taylor_chart([test for _, test in tests]) if tests else None,
    )


def compared(right: str, given: str) -> tuple[list[tuple[str, bool]], list[tuple[str, bool]]]:
    """Return the pieces of two formulas and whether each is the same in both; a single formula is one piece."""
    if not given:
        return [(right, True)], []
    tokens = right.split(), given.split()
    pieces: tuple[list[tuple[str, bool]], list[tuple[str, bool]]] = ([], [])
    for tag, i, j, k, m in difflib.SequenceMatcher(None, *tokens, autojunk=False).get_opcodes():
        for side, part in zip(pieces, (tokens[0][i:j], tokens[1][k:m]), strict=True):
            if part:
                side.append((" ".join(part), tag == "equal"))
    return pieces


def _section(section: Section, *, maps: bool) -> dict[str, Any]:
    errors = {
        f"{result.tensor} ({result.part})": result.errors
        for result in section.results
        if maps and result.errors is not None and result.norm > 0
    }
    picture = ""
    if errors:
        from backproof.render.plots import error_maps

        picture = base64.b64encode(error_maps(errors)).decode()
    return {
        "title": f"Point: {section.moment}"
        if section.moment != ALONE
        else "Components, each checked separately",
        "rows": [_row(result) for result in section.results],
        "notes": section.notes,
        "map": picture,
    }


def _row(result: TensorResult) -> dict[str, Any]:
    comparison = f"all {result.checked}"
    if result.directions:
        comparison = f"{result.directions} random directions, {result.checked} entries"
    verdict = result.status + (f": {result.note}" if result.note else "")
    if result.worst is not None:
        verdict += f"; {result.name} is {result.worst.got:.6g}, expected {result.worst.expected:.6g}"
    return {
        "cells": [result.part, result.tensor, "×".join(map(str, result.shape)), result.oracle, comparison],
        "numbers": [f"{result.relative_error:.1e}", f"{result.tolerance:.1e}"],
        "status": result.status,
        "verdict": verdict,
    }


def _taylor_chart(tests: Sequence[TaylorTest]) -> dict[str, Any]:
    """Return the remainders by step on logarithmic axes, and lines of first and second order."""
    left, right, top, bottom = 64.0, 560.0, 12.0, 300.0
    curves = [
        [(h, r) for h, r in _pairs(test.steps, test.remainders) if r > 0 and math.isfinite(r)] for test in tests
    ]
    across = Scale.over([h for test in tests for h in test.steps.tolist()], left, right, log=True)
    up = Scale.over([r for curve in curves for _, r in curve], bottom, top, log=True)
    drawn: list[dict[str, Any]] = []
    for index, (test, curve) in enumerate(zip(tests, curves, strict=True)):
        clean = {float(test.steps[i]) for i in test.used}
        points = [(across(h), up(r), h in clean) for h, r in curve]
        drawn.append({"colour": COLOURS[index % len(COLOURS)], "points": points})
    orders = _orders(tests[0], curves[0], across, up) if curves[0] else []
    size = {"left": left, "right": right, "top": top, "bottom": bottom}
    return {**size, "across": across, "up": up, "curves": drawn, "orders": orders}


def _pairs(steps: Array, remainders: Array) -> list[tuple[float, float]]:
    return [(float(h), float(r)) for h, r in zip(steps, remainders, strict=True)]


def _orders(
    test: TaylorTest, curve: Sequence[tuple[float, float]], across: Scale, up: Scale
) -> list[dict[str, Any]]:
    """Return lines of first and second order through the first point of the clean window."""
    clean = [(h, r) for h, r in curve if test.used and h == float(test.steps[test.used[0]])]
    h0, r0 = (clean or curve)[0]
    low, high = 10**up.low, 10**up.high
    lines: list[dict[str, Any]] = []
    for order, dash in ((1, "2 3"), (2, "6 4")):
        inside = [h for h in test.steps.tolist() if low <= r0 * (h / h0) ** order <= high]
        if len(inside) > 1:
            points = [(across(h), up(r0 * (h / h0) ** order)) for h in (min(inside), max(inside))]
            lines.append({"order": order, "dash": dash, "points": points, "end": max(points)})
    return lines
