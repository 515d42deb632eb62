"""What a diagnosis says."""

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
    """Another mistake with the same numbers at every point: they cannot tell the two apart."""

    name: str
    place: str
    sentence: str


@dataclass(frozen=True)
class Finding:
    """One mistake, or one place where something is wrong that has no name."""

    name: str  # as phi_prime_at_summand; unknown
    place: str  # ∂Err/∂z, ∂Err/∂h1, φ'(a1), ∂Err/∂a1, W1, b1
    layer: int
    tensors: tuple[str, ...]  # whose gradients it makes wrong
    sentence: str
    right: str  # the formula of the first of these tensors
    given: str = ""  # the same as it was computed, where that has an index form
    ties: tuple[Alternative, ...] = ()
    residual: float = 0.0  # the largest relative error by norm that is left of these tensors, over all points
    structure: tuple[str, ...] = ()  # of what is unknown: what the numbers show of it

    @property
    def known(self) -> bool:
        return self.name != "unknown"


@dataclass(frozen=True)
class Diagnosis:
    """What is wrong with a gradient, mistake by mistake; nothing where it is right."""

    findings: tuple[Finding, ...] = ()
    #: Other sets of mistakes with the same numbers, where more than one of them differs.
    ties: tuple[tuple[Alternative, ...], ...] = ()
    #: Mistakes of the ledger that change no number of this network, as φ' at h for ReLU: none of them is one here.
    equivalent: tuple[Alternative, ...] = ()
    counterexample: Counterexample | None = None
    #: Why there is no counterexample, or another remark.
    notes: tuple[str, ...] = ()
    points: int = 0
    #: The steps of the backward pass from the loss down, each right or not by what is above it.
    located: tuple[Step, ...] = ()
    #: The formulas of the derivation as they were written, of the tensors that are wrong; none where it is code.
    written: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings

    @property
    def unknown(self) -> tuple[Finding, ...]:
        return tuple(each for each in self.findings if not each.known)

    @property
    def named(self) -> tuple[str, ...]:
        """The names of the mistakes, each once."""
        return tuple(dict.fromkeys(each.name for each in self.findings if each.known))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        plain = cast("dict[str, Any]", _plain(dataclasses.asdict(self)))
        return {"schema": SCHEMA, "ok": self.ok, **plain}

    def headline(self) -> str:
        """How many mistakes there are."""
        count, points = len(self.findings), f"{self.points} point" + ("" if self.points == 1 else "s")
        if self.ok:
            return f"nothing is wrong at the {points} compared"
        one, more = ("mistake", "mistakes")
        if self.unknown:
            one, more = "place where something is wrong", "places where something is wrong"
        return f"{count} {one if count == 1 else more}, compared at {points}"

    def message(self, width: int = WIDTH) -> str:
        """The diagnosis as text, in lines of at most `width` characters where words allow it."""
        lines = [f"diagnosis: {self.headline()}"]
        for number, finding in enumerate(self.findings, start=1):
            lines += _finding(number, finding, width)
        lines += _wrapped(sentence(self.located), "  ", width) if self.findings else []
        for right, given in dict.fromkeys((each.right, each.given) for each in self.findings if each.right):
            lines += _wrapped(f"right: {right}", "  ", width, " " * 9)
            lines += _wrapped(f"given: {given}", "  ", width, " " * 9) if given else []
        lines += [
            line for each in self.otherwise() for line in _wrapped(f"written: {each}", "  ", width, " " * 11)
        ]
        lines += [line for each in self.remarks() for line in _wrapped(each, "  ", width)]
        if self.counterexample is not None:
            lines += ["", *self.counterexample.lines()]
        return "\n".join(lines)

    def remarks(self) -> list[str]:
        """What else is to be said: ties of several mistakes, what is no mistake here, notes."""
        lines = ["as well possible: " + "; and ".join(each.sentence for each in tie) for tie in self.ties]
        # Of other formulas for the same slope there is nothing to say; of φ' taken elsewhere by mistake there is.
        shown = [each for each in self.equivalent if each.name in ("phi_prime_at_h", "phi_prime_at_minus_a")]
        if shown:
            lines.append("equivalent here, no mistake: " + "; ".join(each.sentence for each in shown))
        return [*lines, *self.notes]

    def otherwise(self) -> list[str]:
        """The formulas as they were written, beside those given, where they are put otherwise."""
        lefts = {each.right.partition(" = ")[0] for each in self.findings}
        given = {each.given for each in self.findings}
        return [
            formula
            for formula in self.written.values()
            if formula.partition(" = ")[0] in lefts and _spelt(formula) not in given
        ]


def _spelt(formula: str) -> str:
    """A formula as it is spelt here: Σ_nk as Σ_n Σ_k, φ((a1)_nh) as (h1)_nh."""
    formula = re.sub(r"Σ_([a-z]{2,})", lambda found: " ".join(f"Σ_{each}" for each in found[1]), formula)
    return re.sub(r"φ\(\(a(\d+)\)_(\w+)\)", r"(h\1)_\2", formula)


def _finding(number: int, finding: Finding, width: int) -> list[str]:
    lines = _wrapped(f"{number}. {finding.sentence}", "  ", width, " " * 5)
    lines.append(f"     {finding.name}, in {', '.join(finding.tensors)}")
    for each in finding.structure:
        lines += _wrapped(f"- {each}", " " * 5, width, " " * 7)
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
        return {str(key): _plain(each) for key, each in cast("dict[Any, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in cast("list[Any]", value)]
    return value
