"""The result of a diagnosis, as data and as text."""

from __future__ import annotations

import dataclasses
import math
import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from backproof.netcheck.diagnosis.counterexample import Counterexample
from backproof.netcheck.diagnosis.localize import Step, sentence

SCHEMA = 1
WIDTH = 100


@dataclass(frozen=True)
class Alternative:
    """Another mistake that gives the same numbers at every point, so the two cannot be distinguished."""

    name: str
    place: str
    sentence: str


@dataclass(frozen=True)
class Finding:
    """One mistake; or one wrong quantity, if the mistake has no name."""

    name: str  # for example phi_prime_at_summand, or unknown
    place: str  # ∂Err/∂z, ∂Err/∂h1, φ'(a1), ∂Err/∂a1, W1, b1
    layer: int
    tensors: tuple[str, ...]  # those with wrong gradients
    sentence: str
    right: str  # the formula of the first of these tensors
    given: str = ""  # what the derivation computes instead, if that has an index form
    ties: tuple[Alternative, ...] = ()
    residual: float = 0.0  # the largest unexplained relative error of these tensors, over all points
    structure: tuple[str, ...] = ()  # for an unknown mistake: patterns in its error

    @property
    def known(self) -> bool:
        return self.name != "unknown"


@dataclass(frozen=True)
class Diagnosis:
    """What is wrong with a gradient, mistake by mistake; no findings if it is right."""

    findings: tuple[Finding, ...] = ()
    #: Other sets of mistakes that give the same numbers and differ in more than one mistake.
    ties: tuple[tuple[Alternative, ...], ...] = ()
    #: Known mistakes that change nothing in this network, such as φ' at h for ReLU, and so are not mistakes.
    equivalent: tuple[Alternative, ...] = ()
    counterexample: Counterexample | None = None
    #: Remarks, for example why there is no counterexample.
    notes: tuple[str, ...] = ()
    points: int = 0
    #: The steps of the backward pass from the loss down, each judged against the steps above it.
    located: tuple[Step, ...] = ()
    #: The formulas of the derivation for the wrong tensors, as written; none if it is code.
    written: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def ok(self) -> bool:
        """Return whether nothing is wrong."""
        return not self.findings

    @property
    def unknown(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if not finding.known)

    @property
    def named(self) -> tuple[str, ...]:
        """Return the names of the mistakes, each once."""
        return tuple(dict.fromkeys(finding.name for finding in self.findings if finding.known))

    def to_dict(self) -> dict[str, Any]:
        """Return the diagnosis as plain values for JSON."""
        plain = cast("dict[str, Any]", _plain(dataclasses.asdict(self)))
        return {"schema": SCHEMA, "ok": self.ok, **plain}

    def headline(self) -> str:
        """Return the number of mistakes and of points, in words."""
        count, points = len(self.findings), f"{self.points} point" + ("" if self.points == 1 else "s")
        if self.ok:
            return f"nothing is wrong at the {points} compared"
        noun = "place" if self.unknown else "mistake"
        suffix = " where something is wrong" if self.unknown else ""
        return f"{count} {noun}{'' if count == 1 else 's'}{suffix}, compared at {points}"

    def message(self, width: int = WIDTH) -> str:
        """Return the diagnosis as text, in lines of at most `width` characters unless a word is longer."""
        lines = [f"diagnosis: {self.headline()}"]
        for number, finding in enumerate(self.findings, start=1):
            lines += _finding(number, finding, width)
        lines += _wrapped(sentence(self.located), "  ", width) if self.findings else []
        formulas = dict.fromkeys((finding.right, finding.given) for finding in self.findings if finding.right)
        for right, given in formulas:
            lines += _wrapped(f"right: {right}", "  ", width, " " * 9)
            lines += _wrapped(f"given: {given}", "  ", width, " " * 9) if given else []
        for formula in self.written_differently():
            lines += _wrapped(f"written: {formula}", "  ", width, " " * 11)
        for remark in self.remarks():
            lines += _wrapped(remark, "  ", width)
        if self.counterexample is not None:
            lines += ["", *self.counterexample.lines()]
        return "\n".join(lines)

    def remarks(self) -> list[str]:
        """Return further remarks: ties of several mistakes, faults that change nothing in this network, notes."""
        lines = ["also possible: " + "; and ".join(fault.sentence for fault in tie) for tie in self.ties]
        # Other formulas for the same slope need no remark; φ' at another point does.
        names = ("phi_prime_at_h", "phi_prime_at_minus_a")
        equivalent = [fault.sentence for fault in self.equivalent if fault.name in names]
        if equivalent:
            lines.append("equivalent here, not a mistake: " + "; ".join(equivalent))
        return [*lines, *self.notes]

    def written_differently(self) -> list[str]:
        """Return the formulas of the derivation that are written differently from `given`."""
        left_sides = {finding.right.partition(" = ")[0] for finding in self.findings}
        computed = {finding.given for finding in self.findings}
        return [
            formula
            for formula in self.written.values()
            if formula.partition(" = ")[0] in left_sides and _normal_form(formula) not in computed
        ]


def _normal_form(formula: str) -> str:
    """Return a formula as `formula_text` writes it: Σ_nk as Σ_n Σ_k, φ((a1)_nh) as (h1)_nh."""
    formula = re.sub(r"Σ_([a-z]{2,})", lambda match: " ".join(f"Σ_{letter}" for letter in match[1]), formula)
    return re.sub(r"φ\(\(a(\d+)\)_(\w+)\)", r"(h\1)_\2", formula)


def _finding(number: int, finding: Finding, width: int) -> list[str]:
    lines = _wrapped(f"{number}. {finding.sentence}", "  ", width, " " * 5)
    lines.append(f"     {finding.name}, in {', '.join(finding.tensors)}")
    for pattern in finding.structure:
        lines += _wrapped(f"- {pattern}", " " * 5, width, " " * 7)
    for tie in finding.ties:
        lines += _wrapped(f"or, with the same numbers: {tie.sentence} ({tie.name})", " " * 5, width, " " * 7)
    return lines


def _wrapped(text: str, first: str, width: int, rest: str | None = None) -> list[str]:
    indent = first + "  " if rest is None else rest
    return textwrap.wrap(text, width, initial_indent=first, subsequent_indent=indent, break_long_words=False)


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in cast("dict[Any, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in cast("list[Any]", value)]
    return value
