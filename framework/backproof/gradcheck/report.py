"""The result of a gradient check, as data."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

from backproof.contracts import Array
from backproof.gradcheck import text
from backproof.gradcheck.preconditions import Precondition, Summary, summarised
from backproof.gradcheck.taylor import TaylorTest

#: Of the JSON. It changes when a reader of the old one would be wrong.
SCHEMA = "backproof.gradcheck/1"
#: log10 of an error of exactly zero, which has no logarithm: just below that of the smallest rounding.
LOG10_BOUNDS = (-17.0, 3.0)

#: The oracle of a gradient that is compared with the one of a wider dtype, not with the loss.
LOWER = "float64 gradient"

#: The moment of components of a network, whose gradients are not with respect to the parameters.
ALONE = "by itself"

PASSED, FAILED, UNTESTED, NOTHING = "passed", "failed", "untested", "nothing to check"


class UntestedWarning(UserWarning):
    """A gradient could not be tested."""


def combined(statuses: Iterable[str]) -> str:
    """Return the status of a whole from those of its parts.

    It is the first of failed, untested, passed and nothing to check that any part has.
    """
    present = set(statuses)
    return next((status for status in (FAILED, UNTESTED, PASSED, NOTHING) if status in present), NOTHING)


@dataclass(frozen=True)
class Entry:
    """The entry of a tensor that is furthest off."""

    index: tuple[int, ...]
    got: float
    expected: float


@dataclass(frozen=True)
class TensorResult:
    """One tensor of one part of the objective, checked by one oracle."""

    part: str  # loss | penalty | float32
    tensor: str
    shape: tuple[int, ...]
    oracle: str
    checked: int  # entries checked one by one
    directions: int  # random directions checked in addition
    relative_error: float  # ‖got − expected‖ / max(‖got‖, ‖expected‖)
    tolerance: float
    status: str  # passed | failed | untested | nothing to check
    norm: float  # ‖expected‖, or its estimate from the directions
    scale: float  # ‖gradient‖ at shuffled parameters: the size of the terms that may cancel in it
    worst: Entry | None = None
    note: str = ""
    #: |got − expected| of each entry over the root mean square of the tensor's; where all were compared.
    errors: Array | None = dataclasses.field(default=None, compare=False, repr=False)
    #: The smallest relative error that the check would have shown; None where it is the tolerance.
    resolution: float | None = None

    @property
    def name(self) -> str:
        """`W1[3, 17]`, the worst entry, or the tensor where no entry stands out."""
        return self.tensor + (f"[{', '.join(map(str, self.worst.index))}]" if self.worst else "")

    def to_dict(self) -> dict[str, Any]:
        """Plain values; a number that is not finite is null, as JSON has none."""
        plain = {key: _plain(value) for key, value in vars(self).items() if key not in ("worst", "errors")}
        worst = self.worst and {key: _plain(value) for key, value in vars(self.worst).items()}
        return {**plain, "worst": worst}


def without_value(result: TensorResult, *, finite: bool, unsteady: str, hint: str = "") -> TensorResult:
    """Return a result as failed where the loss is not finite, or where two calls at the same parameters differ in
    the loss or the gradient, as `unsteady` says."""
    if unsteady:
        note = f"two calls at the same parameters gave a different {unsteady}{hint}"
        return dataclasses.replace(result, status=FAILED, note=note)
    if not finite:
        return dataclasses.replace(result, status=FAILED, note="the loss is not finite here")
    return result


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return list(cast("tuple[Any, ...]", value)) if isinstance(value, tuple) else value


@dataclass(frozen=True)
class Section:
    """The check at one moment: at fresh or at trained parameters."""

    moment: str
    results: tuple[TensorResult, ...]
    #: How the remainder of the data loss shrinks along a random direction.
    taylor: TaylorTest | None = dataclasses.field(default=None, compare=False, repr=False)
    #: What a reader should know of the points and samples it was made at.
    notes: tuple[str, ...] = ()
    #: What was looked at so that a mistake can show.
    preconditions: tuple[Precondition, ...] = ()

    @property
    def status(self) -> str:
        """The status of all its results together."""
        return combined(result.status for result in self.results)

    @property
    def passed(self) -> bool:
        """Whether nothing failed and nothing was left untested."""
        return self.status in (PASSED, NOTHING)


@dataclass(frozen=True, repr=False)
class GradcheckReport:
    """All sections of a check."""

    sections: tuple[Section, ...]
    #: Known mistakes that give the gradients that are wrong, in words.
    findings: tuple[str, ...] = dataclasses.field(default=(), kw_only=True)

    @property
    def passed(self) -> bool:
        """Whether the status is `passed` or `nothing to check`. Raises ValueError for an empty report."""
        return self.status in (PASSED, NOTHING)

    def __repr__(self) -> str:
        """Return a short table: `print(check(f, theta))`, and what pytest shows of `assert check(f, theta)`."""
        return text.text(self) if self.sections else f"{type(self).__name__}(())"

    def _repr_html_(self) -> str:
        """Return the table as notebooks show it."""
        return text.fragment(self)

    def to_html(self, title: str = "Gradient check") -> str:
        """Return the report as an HTML page that needs nothing else."""
        return text.page(self, title)

    def __bool__(self) -> bool:
        """Whether the check passed, so that `assert check(f, theta)` means what it says."""
        return self.passed

    @property
    def failed(self) -> bool:
        """Whether a gradient is wrong."""
        return self.status == FAILED

    @property
    def status(self) -> str:
        """`passed`, `failed`, `untested` or `nothing to check`.

        A tensor that was untested at one point and passed at another has been tested. A report in which there
        was nothing to check in any tensor has shown nothing: it is untested. Raises ValueError for an empty report.
        """
        if not self.sections:
            raise ValueError("a report without a section has checked nothing")
        points: dict[tuple[str, str], set[str]] = {}
        for section in self.sections:
            for result in section.results:
                points.setdefault((result.part, result.tensor), set()).add(result.status)
        tensors = {
            PASSED if PASSED in statuses and FAILED not in statuses else combined(statuses)
            for statuses in points.values()
        }
        return UNTESTED if tensors == {NOTHING} else combined(tensors)

    @property
    def untested(self) -> list[tuple[Section, TensorResult]]:
        """The results that are untested, or had nothing to check in a report that shows nothing else."""
        passed = {(r.part, r.tensor) for s in self.sections for r in s.results if r.status == PASSED}
        return [
            (section, result)
            for section in self.sections
            for result in section.results
            if (result.status == UNTESTED or (result.status == NOTHING and not passed))
            and (result.part, result.tensor) not in passed
        ]

    @property
    def preconditions(self) -> list[Summary]:
        """What was looked at so that a mistake can show, over all points."""
        points = [(section.moment, section.preconditions) for section in self.sections if section.preconditions]
        moments = [moment for moment, _ in points if moment != ALONE]
        several = Summary("several points", len(moments) > 1, ", ".join(moments))
        return [*summarised(points), *([several] if moments else [])]

    @property
    def failures(self) -> list[tuple[Section, TensorResult]]:
        return [
            (section, result)
            for section in self.sections
            for result in section.results
            if result.status == FAILED
        ]

    @property
    def max_relative_error(self) -> float:
        """Return the largest error of all compared tensors except for float32 arithmetic; 0 if there are none."""
        errors = [
            result.relative_error
            for section in self.sections
            for result in section.results
            if result.oracle != LOWER and result.status not in (UNTESTED, NOTHING)
        ]
        return max(errors, default=0.0)

    @property
    def log10_error(self) -> float | None:
        """The largest relative error as a power of ten, within LOG10_BOUNDS; None where nothing was compared."""
        results = [result for section in self.sections for result in section.results]
        if all(result.status in (UNTESTED, NOTHING) for result in results):
            return None
        low, high = LOG10_BOUNDS
        error = self.max_relative_error
        if not math.isfinite(error):
            return high
        return min(high, max(low, math.log10(error))) if error > 0 else low

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON stores it."""
        return {
            "schema": SCHEMA,
            "passed": self.passed,
            "status": self.status,
            "max_relative_error": _plain(self.max_relative_error),
            "findings": list(self.findings),
            "preconditions": [vars(condition) for condition in self.preconditions],
            "sections": [
                {
                    "moment": section.moment,
                    "passed": section.passed,
                    "notes": list(section.notes),
                    "preconditions": [vars(condition) for condition in section.preconditions],
                    "taylor": None if section.taylor is None else section.taylor.to_dict(),
                    "results": [result.to_dict() for result in section.results],
                }
                for section in self.sections
            ],
        }

    def summary(self) -> str:
        """One line: `passed: 8 comparisons of 4 tensors, largest relative error 6.1e-16`."""
        results = [result for section in self.sections for result in section.results]
        tensors = {result.tensor for result in results}
        if self.failed:
            wrong = {result.tensor: None for _, result in self.failures}
            return f"failed: {', '.join(wrong)} of {len(tensors)} tensors"
        if not results:
            return "nothing to check"
        compared = [result for result in results if result.status == PASSED]
        if not compared:
            return f"untested: none of {len(results)} comparisons could show a mistake"
        if self.status == UNTESTED:
            unknown = {result.tensor: None for _, result in self.untested}
            return f"untested: {', '.join(unknown)} of {len(tensors)} tensors; the rest passed"
        counts = {status: sum(result.status == status for result in results) for status in (UNTESTED, NOTHING)}
        shown = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
        left = f" ({shown})" if shown else ""
        return (
            f"passed: {len(results)} comparisons{left} of {len(tensors)} tensors, "
            f"largest relative error {self.max_relative_error:.1e}"
        )

    def failure_message(self) -> str:
        """Which tensors are wrong, where, what they gave and what was expected. Empty where none is."""
        lines: list[str] = []
        moments: dict[tuple[str, str, bool], list[str]] = {}
        for section, result in self.failures:
            key = result.part, result.tensor, section.moment == ALONE
            moments.setdefault(key, []).append(section.moment)
        for section, result in self.failures:
            alone = section.moment == ALONE
            where = moments.pop((result.part, result.tensor, alone), None)
            if where is None:
                continue
            if alone:
                what = f"{result.part}, {result.tensor}: it has"
            elif result.oracle == LOWER:
                what = f"{result.tensor}: its {result.part} gradient has"
            else:
                what = f"{result.tensor}: its gradient of the {result.part} has"
            lines.append(
                f"{what} a relative error of {result.relative_error:.2e}, allowed "
                f"{result.tolerance:.1e} ({result.oracle}; at: {', '.join(where)})"
            )
            if result.worst is not None:
                shown = text.pair_text(result.worst.got, result.worst.expected, 12)
                lines.append(f"    {result.name}: got {shown}")
            if result.note:
                lines.append(f"    {result.note}")
        return "\n".join([*lines, *self.findings])

    def untested_message(self) -> str:
        """Return which tensors could not be tested, and why. Empty where none is left untested."""
        lines = {
            f"{result.tensor}: the gradient of the {result.part} is untested: {result.note or 'nothing shows it'}"
            for _, result in self.untested
            if self.status == UNTESTED
        }
        return "\n".join(sorted(lines))

    def raise_if_failed(self, untested: str = "error") -> None:
        """Raise AssertionError with the failure message if a gradient is wrong; for tests.

        untested   what an untested gradient does: "error" raises as well, "warn" warns, "ok" is silent
        """
        if untested not in ("error", "warn", "ok"):
            raise ValueError(f"untested must be error, warn or ok, got {untested!r}")
        if self.failed:
            raise AssertionError(self.failure_message())
        if self.status == UNTESTED and untested == "error":
            raise AssertionError(self.untested_message())
        if self.status == UNTESTED and untested == "warn":
            warnings.warn(self.untested_message(), UntestedWarning, stacklevel=2)
