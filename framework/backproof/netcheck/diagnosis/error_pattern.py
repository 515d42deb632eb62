"""What the numbers show of a mistake that has no name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np

from backproof.contracts import Array
from backproof.netcheck.diagnosis.case import Case, residual, same

#: Entries that are listed; of more, their number.
LISTED = 6


def solve_delta(case: Case, layer: int) -> Array | None:
    """The ∂Err/∂a (N, H) of a layer from which the gradients given of its W and b follow, δ [h 1]; zero columns
    where none does. None where the layer has not more inputs than the case has samples."""
    below = np.column_stack([case.trace.h[layer - 1], np.ones(case.trace.N)])
    G = np.column_stack([case.given[f"W{layer}"], case.given[f"b{layer}"]])
    if below.shape[0] >= below.shape[1] or not np.isfinite(G).all():
        return None
    delta = cast(Array, G @ np.linalg.pinv(below))
    consistent = np.linalg.norm(delta @ below - G) <= 1e-8 * np.linalg.norm(G)
    return delta.T if consistent else delta.T[:, :0]


def share_wrong_delta(cases: Sequence[Case], layer: int) -> bool | None:
    """Whether the gradients of W and b of a layer both follow from one (wrong) ∂Err/∂a, by δ [h 1].

    δ is solved for where the layer has more inputs than the case has samples; None where no case is like that.
    """
    found = [each for case in cases if (each := solve_delta(case, layer)) is not None]
    return all(each.size for each in found) if found else None


def follows(cases: Sequence[Case], layer: int, tensors: Sequence[str]) -> bool:
    """Whether the gradients of these tensors below a layer follow from the ∂Err/∂a that its own gradients show."""
    for case in cases:
        delta = solve_delta(case, layer)
        if delta is None:
            continue
        trace = case.trace
        for each in range(layer - 1, 0, -1):
            delta = delta @ trace.W[each + 1] * trace.dphi(trace.a[each])
            numbers = {f"W{each}": delta.T @ trace.h[each - 1], f"b{each}": delta.sum(0)}
            if any(
                residual(case.given[tensor], numbers[tensor]) > 1e-7 for tensor in numbers if tensor in tensors
            ):
                return False
    return True


def error_patterns(tensor: str, cases: Sequence[Case]) -> list[str]:
    """Sentences on the error of one tensor's gradient that hold at every case."""
    given = [case.given[tensor] for case in cases]
    right = [case.expected[tensor] for case in cases]
    if not all(np.isfinite(each).all() for each in given):
        return [f"{tensor}: some of its numbers are not finite"]
    found = [_places(tensor, given, right), _factors(tensor, given, right), _signs(tensor, given, right)]
    if tensor[0] == "W":
        found.append(_samples(tensor, cases))
    return [each for each in found if each]


def _off(given: Sequence[Array], right: Sequence[Array]) -> Array:
    """The entries that are wrong at any case."""
    off = np.zeros(given[0].shape, dtype=bool)
    for one, other in zip(given, right, strict=True):
        off |= np.abs(one - other) > 1e-9 * max(float(np.abs(one).max()), float(np.abs(other).max()))
    return off


def _places(tensor: str, given: Sequence[Array], right: Sequence[Array]) -> str:
    """Only some rows, columns or entries are wrong."""
    off = _off(given, right)
    count, size = int(off.sum()), off.size
    if count == size:
        return ""
    for axis, name in ((1, "rows"), (0, "columns")):
        if off.ndim == 2:
            lines: Array = np.asarray(off.any(axis=axis))
            if lines.sum() < len(lines) and count == lines.sum() * off.shape[axis]:
                return f"{tensor}: only the {name} {_listed(np.flatnonzero(lines))} are wrong"
    if count <= LISTED:
        entries = ", ".join(f"[{', '.join(map(str, each))}]" for each in np.argwhere(off))
        return f"{tensor}: only the entries {entries} are wrong"
    return f"{tensor}: {count} of {size} entries are wrong" if count <= size / 2 else ""


def _factors(tensor: str, given: Sequence[Array], right: Sequence[Array]) -> str:
    """Given over right is one number at each case, or one for each row."""
    each = [
        float(np.vdot(one, other) / np.vdot(other, other))
        for one, other in zip(given, right, strict=True)
        if other.any()
    ]
    fits = all(same(one, c * other) for one, other, c in zip(given, right, each, strict=False))
    if len(each) == len(given) and fits:
        return f"{tensor}: at each point it is a multiple of the right one, by {_numbers(each)}"
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
    """The sizes are right, some signs are not."""
    if all(same(np.abs(one), np.abs(other)) for one, other in zip(given, right, strict=True)):
        return f"{tensor}: its sizes are right, {int(_off(given, right).sum())} of its signs are not"
    return ""


def _samples(tensor: str, cases: Sequence[Case]) -> str:
    """The gradient is the right sum over samples with other weights than one: c_n δ_n h_nᵀ."""
    said: list[str] = []
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
        other = np.flatnonzero(np.abs(weights - 1) > 1e-6)
        said.append(f"of {N} samples, {_listed(other)} count {_numbers(weights[other])} times")
    return f"{tensor}: it is a sum over samples with other weights: {said[-1]}" if said else ""


def _right_delta(case: Case, layer: int) -> Array:
    trace = case.trace
    delta = trace.dloss()
    for each in range(len(trace.W) - 1, layer - 1, -1):
        delta = delta @ trace.W[each + 1] * trace.dphi(trace.a[each])
    return delta


def _listed(indices: Array) -> str:
    shown = ", ".join(str(int(each)) for each in indices[:LISTED])
    return shown + (f" and {len(indices) - LISTED} more" if len(indices) > LISTED else "")


def _numbers(values: Sequence[float] | Array) -> str:
    shown = ", ".join(f"{float(each):.6g}" for each in values[:LISTED])
    return shown + (", ..." if len(values) > LISTED else "")
