"""Patterns in the error of a gradient that no named mistake explains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np

from backproof.contracts import Array
from backproof.netcheck.diagnosis.case import Case, residual, same

#: The most entries that are listed; of more, only the number is given.
LISTED = 6


def solve_delta(case: Case, layer: int) -> Array | None:
    """Return the ∂Err/∂a (N, H) of a layer that implies its given gradients of W and b, solving δ [h 1].

    It has zero columns if there is none. Return None unless the layer has more inputs than the case has samples.
    """
    below = np.column_stack([case.trace.h[layer - 1], np.ones(case.trace.N)])
    G = np.column_stack([case.given[f"W{layer}"], case.given[f"b{layer}"]])
    if below.shape[0] >= below.shape[1] or not np.isfinite(G).all():
        return None
    delta = cast(Array, G @ np.linalg.pinv(below))
    consistent = np.linalg.norm(delta @ below - G) <= 1e-8 * np.linalg.norm(G)
    return delta.T if consistent else delta.T[:, :0]


def share_wrong_delta(cases: Sequence[Case], layer: int) -> bool | None:
    """Return whether the gradients of W and b of a layer both follow from one (wrong) ∂Err/∂a.

    Return None if no case has fewer samples than the layer has inputs, so that ∂Err/∂a cannot be solved for.
    """
    deltas = [delta for case in cases if (delta := solve_delta(case, layer)) is not None]
    return all(delta.size for delta in deltas) if deltas else None


def follows(cases: Sequence[Case], layer: int, tensors: Sequence[str]) -> bool:
    """Return whether these tensors below a layer follow from the ∂Err/∂a that the layer's gradients imply."""
    for case in cases:
        delta = solve_delta(case, layer)
        if delta is None:
            continue
        trace = case.trace
        for lower in range(layer - 1, 0, -1):
            delta = delta @ trace.W[lower + 1] * trace.dphi(trace.a[lower])
            numbers = {f"W{lower}": delta.T @ trace.h[lower - 1], f"b{lower}": delta.sum(0)}
            if any(
                residual(case.given[tensor], numbers[tensor]) > 1e-7 for tensor in numbers if tensor in tensors
            ):
                return False
    return True


def error_patterns(tensor: str, cases: Sequence[Case]) -> list[str]:
    """Return sentences about the error of one tensor's gradient that hold in every case."""
    given = [case.given[tensor] for case in cases]
    right = [case.expected[tensor] for case in cases]
    if not all(np.isfinite(gradient).all() for gradient in given):
        return [f"{tensor}: some of its numbers are not finite"]
    sentences = [_places(tensor, given, right), _factors(tensor, given, right), _signs(tensor, given, right)]
    if tensor[0] == "W":
        sentences.append(_samples(tensor, cases))
    return [sentence for sentence in sentences if sentence]


def _wrong_entries(given: Sequence[Array], right: Sequence[Array]) -> Array:
    """Return which entries are wrong in any case."""
    off = np.zeros(given[0].shape, dtype=bool)
    for one, other in zip(given, right, strict=True):
        off |= np.abs(one - other) > 1e-9 * max(float(np.abs(one).max()), float(np.abs(other).max()))
    return off


def _places(tensor: str, given: Sequence[Array], right: Sequence[Array]) -> str:
    """Describe which rows, columns or entries are wrong, if not all are."""
    off = _wrong_entries(given, right)
    count, size = int(off.sum()), off.size
    if count == size:
        return ""
    for axis, name in ((1, "rows"), (0, "columns")):
        if off.ndim == 2:
            lines: Array = np.asarray(off.any(axis=axis))
            if lines.sum() < len(lines) and count == lines.sum() * off.shape[axis]:
                return f"{tensor}: only the {name} {_listed(np.flatnonzero(lines))} are wrong"
    if count <= LISTED:
        entries = ", ".join(f"[{', '.join(map(str, index))}]" for index in np.argwhere(off))
        return f"{tensor}: only the entries {entries} are wrong"
    return f"{tensor}: {count} of {size} entries are wrong" if count <= size / 2 else ""


def _factors(tensor: str, given: Sequence[Array], right: Sequence[Array]) -> str:
    """Describe the factor between given and right, if it is one number in each case or for each row."""
    factors = [
        float(np.vdot(one, other) / np.vdot(other, other))
        for one, other in zip(given, right, strict=True)
        if other.any()
    ]
    fits = all(same(one, c * other) for one, other, c in zip(given, right, factors, strict=False))
    if len(factors) == len(given) and fits:
        return f"{tensor}: at each point it is a multiple of the right one, by {_numbers(factors)}"
    rows = [_row_factors(one, other) for one, other in zip(given, right, strict=True)]
    first = rows[0]
    if first is not None and all(row is not None and np.allclose(row, first, 1e-6) for row in rows):
        return f"{tensor}: each row is a multiple of the right one, by {_numbers(first)}"
    return ""


def _row_factors(given: Array, right: Array) -> Array | None:
    if given.ndim != 2 or given.shape[1] < 2 or not np.einsum("ij,ij->i", right, right).all():
        return None
    factors = np.einsum("ij,ij->i", given, right) / np.einsum("ij,ij->i", right, right)
    return factors if same(given, factors[:, None] * right) else None


def _signs(tensor: str, given: Sequence[Array], right: Sequence[Array]) -> str:
    """Describe an error in signs only."""
    if all(same(np.abs(one), np.abs(other)) for one, other in zip(given, right, strict=True)):
        return f"{tensor}: its sizes are right, {int(_wrong_entries(given, right).sum())} of its signs are not"
    return ""


def _samples(tensor: str, cases: Sequence[Case]) -> str:
    """Describe a right sum over samples with weights other than one: c_n δ_n h_nᵀ."""
    sentences: list[str] = []
    layer = int(tensor[1:])
    for case in cases:
        N, given = case.trace.N, case.given[tensor]
        if N < 2 or given.size < N + 2:
            continue
        delta = _right_delta(case, layer)
        terms = np.einsum("nh,nd->hdn", delta, case.trace.h[layer - 1]).reshape(-1, N)
        weights = cast(Array, np.linalg.pinv(terms) @ given.ravel())
        if not same(terms @ weights, given.ravel()) or np.linalg.matrix_rank(terms) < N:
            return ""
        wrong = np.flatnonzero(np.abs(weights - 1) > 1e-6)
        sentences.append(f"of {N} samples, {_listed(wrong)} count {_numbers(weights[wrong])} times")
    return f"{tensor}: it is a sum over samples with other weights: {sentences[-1]}" if sentences else ""


def _right_delta(case: Case, layer: int) -> Array:
    trace = case.trace
    delta = trace.dloss()
    for lower in range(len(trace.W) - 1, layer - 1, -1):
        delta = delta @ trace.W[lower + 1] * trace.dphi(trace.a[lower])
    return delta


def _listed(indices: Array) -> str:
    shown = ", ".join(str(int(index)) for index in indices[:LISTED])
    return shown + (f" and {len(indices) - LISTED} more" if len(indices) > LISTED else "")


def _numbers(values: Sequence[float] | Array) -> str:
    shown = ", ".join(f"{float(value):.6g}" for value in values[:LISTED])
    return shown + (", ..." if len(values) > LISTED else "")
