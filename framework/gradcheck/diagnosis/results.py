"""What a diagnosis says."""

from __future__ import annotations

import dataclasses
import math
import textwrap
from dataclasses import dataclass
from typing import Any, cast

from framework.gradcheck.diagnosis.example import Counterexample
from framework.gradcheck.diagnosis.locate import Step, sentence

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

    def message(self) -> str:
        """The diagnosis as text, in lines of about 100 characters."""
        if self.ok:
            return "\n".join(
                [f"diagnosis: nothing is wrong at the {self.points} points compared", *self._equivalents()]
            )
        count = len(self.findings)
        one, more = ("mistake", "mistakes")
        if self.unknown:
            one, more = "place where something is wrong", "places where something is wrong"
        points = "point" if self.points == 1 else "points"
        lines = [f"diagnosis: {count} {one if count == 1 else more}, compared at {self.points} {points}"]
        for number, finding in enumerate(self.findings, start=1):
            lines += _finding(number, finding)
        lines += _wrapped(sentence(self.located), "  ")
        lines += self._formulas()
        for tie in self.ties:
            lines += _wrapped("as well possible: " + "; and ".join(each.sentence for each in tie), "  ")
        lines += self._equivalents()
        lines += [line for note in self.notes for line in _wrapped(note, "  ")]
        if self.counterexample is not None:
            lines += ["", *self.counterexample.lines()]
        return "\n".join(lines)

    def _formulas(self) -> list[str]:
        """The right formula and the one given, once each."""
        lines: list[str] = []
        for right, given in dict.fromkeys((each.right, each.given) for each in self.findings if each.right):
            lines.append(f"  right: {right}")
            if given:
                lines.append(f"  given: {given}")
        return lines

    def _equivalents(self) -> list[str]:
        # Of other formulas for the same slope there is nothing to say; of φ' taken elsewhere by mistake there is.
        shown = [each for each in self.equivalent if each.name in ("phi_prime_at_h", "phi_prime_at_minus_a")]
        if not shown:
            return []
        text = "equivalent here, no mistake: " + "; ".join(each.sentence for each in shown)
        return _wrapped(text, "  ")


def _finding(number: int, finding: Finding) -> list[str]:
    tensors = ", ".join(finding.tensors)
    lines = _wrapped(f"{number}. {finding.sentence}", "  ", "     ")
    lines.append(f"     {finding.name}, in {tensors}")
    for each in finding.structure:
        lines += _wrapped(f"- {each}", "     ", "       ")
    for tie in finding.ties:
        lines += _wrapped(f"or, with the same numbers: {tie.sentence} ({tie.name})", "     ", "       ")
    return lines


def _wrapped(text: str, first: str, rest: str | None = None) -> list[str]:
    indent = first + "  " if rest is None else rest
    return textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=indent, break_long_words=False)


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in cast("dict[Any, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in cast("list[Any]", value)]
    return value
