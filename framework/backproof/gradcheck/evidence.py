"""From the verdicts on lines to the results of tensors."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from backproof.contracts import Array
from backproof.gradcheck.claim import Evidence
from backproof.gradcheck.norms import ratio, rms
from backproof.gradcheck.report import FAILED, NOTHING, PASSED, UNTESTED, Entry, TensorResult, combined

#: At a minimum every multiple of the gradient is zero.
NO_FACTOR = "the gradient is zero here, so that a wrong factor does not show: check at another theta too"
BETWEEN = "any slope between those on its two sides is right there"
NUMBER = re.compile(r"[-+\d.e]+")


@dataclass(frozen=True)
class Sample:
    """The lines of one tensor: some or all of its entries, and directions."""

    name: str
    index: Array
    rows: slice  # of its entries
    entries: Array  # indices in theta
    directions: slice
    vectors: Array = field(default_factory=lambda: np.empty((0, 0)))


def tensor_results(
    samples: Sequence[Sample],
    found: Evidence,
    gradient: Array,
    wrong_entry: Callable[[Array, str], tuple[int, float]],
    unit: float = 1.0,
) -> list[TensorResult]:
    """Return the result of each tensor.

    `wrong_entry` looks for an entry that explains a wrong direction. Slopes are shown in multiples of `unit`.
    """
    return [_result(sample, found, gradient, wrong_entry, unit) for sample in samples]


def _result(
    sample: Sample,
    found: Evidence,
    gradient: Array,
    wrong_entry: Callable[[Array, str], tuple[int, float]],
    unit: float,
) -> TensorResult:
    rows = [
        *range(sample.rows.start, sample.rows.stop),
        *range(sample.directions.start, sample.directions.stop),
    ]
    statuses = [found.status[row] for row in rows]
    # An entry that f does not depend on says nothing about the others.
    status = combined(statuses)
    oracle = Counter(found.oracle[row] for row in rows).most_common(1)[0][0] if rows else ""
    failed = [row for row in rows if found.status[row] == FAILED]
    worst = _worst(sample, found, failed, gradient, wrong_entry)
    if failed:
        oracle = found.oracle[failed[0]]
    by_entry = not len(sample.vectors)
    error, tolerance, norm = _by_norm(sample, found, gradient)
    if failed and error <= tolerance:
        # By norm the larger entries hide it.
        row = max(failed, key=lambda row: _off(found, row))
        error, tolerance = _off(found, row), float(found.allowed[row] / found.size[row])
    resolution = max((found.resolution[row] for row in rows if found.status[row] == PASSED), default=None)
    return TensorResult(
        part="loss",
        tensor=sample.name,
        shape=sample.index.shape,
        oracle=oracle,
        checked=len(sample.entries),
        directions=len(sample.vectors),
        relative_error=error,
        tolerance=tolerance,
        status=status,
        norm=norm,
        scale=norm,
        worst=worst,
        note=_note(sample, found, rows, status, unit),
        errors=_errors(sample, found) if by_entry else None,
        resolution=None if resolution is None else float(resolution),
    )


def _worst(
    sample: Sample,
    found: Evidence,
    failed: list[int],
    gradient: Array,
    wrong_entry: Callable[[Array, str], tuple[int, float]],
) -> Entry | None:
    if not failed:
        return None
    flat = sample.index.ravel()
    broken = np.flatnonzero(~np.isfinite(gradient[flat]))
    single = [row for row in failed if row < sample.rows.stop]
    if single:
        off = [_off(found, row) for row in single]
        row = single[int(np.argmax(off))]
        entry, expected = int(sample.entries[row - sample.rows.start]), float(found.expected[row])
    elif len(broken):
        entry, expected = int(flat[broken[0]]), float("nan")
    else:
        entry, expected = wrong_entry(sample.index, found.oracle[failed[0]])
    at = np.argwhere(sample.index == entry)[0]
    return Entry(tuple(int(each) for each in at), float(gradient[entry]), expected)


def _off(found: Evidence, row: int) -> float:
    off = abs(found.got[row] - found.expected[row]) / found.size[row]
    return float(off) if np.isfinite(off) else float("inf")


def _by_norm(sample: Sample, found: Evidence, gradient: Array) -> tuple[float, float, float]:
    """The relative error by norm, what is allowed, and the norm of what is expected."""
    rows = sample.directions if len(sample.vectors) else sample.rows
    got, allowed = found.got[rows], found.allowed[rows]
    expected = np.where(np.isfinite(found.expected[rows]) | ~np.isfinite(got), found.expected[rows], got)
    if len(sample.vectors):
        gap, norm = rms(got - expected), rms(expected)
        whole = max(float(np.linalg.norm(gradient[sample.index.ravel()])), norm)
        single = found.got[sample.rows] - found.expected[sample.rows]
        error = max(ratio(gap, whole), ratio(float(np.linalg.norm(single)), whole))
        return error, ratio(rms(np.where(np.isfinite(allowed), allowed, 0)), whole), norm
    norm = float(np.linalg.norm(expected))
    whole = max(float(np.linalg.norm(got)), norm)
    finite = allowed[np.isfinite(allowed)]
    tolerance = ratio(float(np.linalg.norm(finite)), whole) if whole else 0.0
    return ratio(float(np.linalg.norm(got - expected)), whole), tolerance, norm


def _errors(sample: Sample, found: Evidence) -> Array:
    off = np.abs(found.got[sample.rows] - found.expected[sample.rows])
    usual = rms(found.expected[sample.rows]) or 1.0
    return (off / usual).reshape(sample.index.shape)


def _factor(sample: Sample, found: Evidence) -> list[str]:
    """Whether all of the gradient is the same multiple of what is expected."""
    got, expected = found.got[sample.rows], found.expected[sample.rows]
    if not (np.isfinite(got).all() and np.isfinite(expected).all()):
        return []
    known = np.abs(expected) > 1e-6 * np.abs(expected).max(initial=0.0)
    if known.sum() < 2 or (np.abs(got[~known]) > 1e-6 * np.abs(got).max()).any():
        return []
    ratios = got[known] / expected[known]
    # A single wrong entry, or rounding, is not a common factor.
    if np.ptp(ratios) > 1e-5 * np.abs(ratios).max() or np.ptp(ratios) > 1e-3 * abs(ratios.mean() - 1):
        return []
    return [f"every entry is {factor_text(float(ratios.mean()))} times what is expected"]


def factor_text(factor: float) -> str:
    """Return a factor; one close to 1 as 1 plus or minus the difference."""
    off = factor - 1
    return f"{factor:.6g}" if abs(off) >= 1e-3 else f"1 {'−' if off < 0 else '+'} {abs(off):.3g}"


def interval_text(low: float, high: float) -> str:
    """Return `low … high` to the digits that are known; a bound that is zero up to its error is 0."""
    size = max(abs(low), abs(high))
    return " … ".join(f"{bound if abs(bound) > 1e-4 * size else 0.0:.4g}" for bound in (low, high))


def _note(sample: Sample, found: Evidence, rows: list[int], status: str, unit: float) -> str:
    """What a reader should know: about kinks, and the reason that most of the entries of the status have."""
    notes: list[str] = []
    kinked = [row for row in rows if np.isfinite(found.low[row])]
    if kinked and status != FAILED:
        of = len(sample.entries)
        # Along a direction the slopes are those of several entries together.
        entries = [row for row in kinked if row < sample.rows.stop]
        ranges = dict.fromkeys(_interval(found, row, unit) for row in entries)
        listed = ", ".join(list(ranges)[:3]) + (", …" if len(ranges) > 3 else "")
        notes.append(
            f"{len(entries)} of {of} entries lie on a kink: {BETWEEN} (kink: {listed})"
            if entries
            else f"directions cross a kink: {BETWEEN}"
        )
    if status == FAILED:
        notes += _factor(sample, found)
    wanted = (FAILED,) if status == FAILED else (UNTESTED,) if status == UNTESTED else (NOTHING, PASSED)
    # Reasons that differ in their numbers are the same reason.
    reasons: dict[str, list[str]] = {}
    for row in rows:
        if found.status[row] in wanted and found.notes[row] and (row not in kinked or status == FAILED):
            reasons.setdefault(NUMBER.sub("", found.notes[row]), []).append(found.notes[row])
        elif status == found.status[row] == FAILED and np.isfinite(found.low[row]):
            reasons.setdefault("kink", []).append(f"kink: {_interval(found, row, unit)}")
    if reasons:
        same = max(reasons.values(), key=len)
        reason, count = same[0], len(same)
        notes.append(reason if count == len(rows) or count == 1 else f"{count} of {len(rows)}: {reason}")
    zero = not (np.abs(found.got[rows]) > found.allowed[rows]).any()
    if zero and status == PASSED and not reasons and not kinked:
        notes.append(NO_FACTOR)
    return "; ".join(notes)


def _interval(found: Evidence, row: int, unit: float) -> str:
    return interval_text(float(found.low[row]) * unit, float(found.high[row]) * unit)
