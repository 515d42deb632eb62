"""Patterns in the error of a gradient that no named mistake explains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np

from backproof.contracts import Array
from backproof.netcheck.diagnosis.case import Case, residual, same

#: At most this many entries are listed; of more, only the number is reported.
LISTED = 6


def solve_delta(case: Case, layer: int) -> Array | None:
    """Solve δᵀ [h 1] = [∂W ∂b] for δ = ∂Err/∂a (N, H) of a layer, from the derivation's gradients of W and b.

    The result has zero columns if there is no such δ. It is None unless the layer has more inputs than the case
    has samples.
    """
    below = np.column_stack([case.trace.h[layer - 1], np.ones(case.trace.N)])
    G = np.column_stack([case.gradients[f"W{layer}"], case.gradients[f"b{layer}"]])
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
                residual(case.gradients[tensor], numbers[tensor]) > 1e-7
                for tensor in numbers
                if tensor in tensors
            ):
                return False
    return True


def error_patterns(tensor: str, cases: Sequence[Case]) -> list[str]:
    """Return sentences about the error of one tensor's gradient that hold in every case."""
    gradients = [case.gradients[tensor] for case in cases]
    expected = [case.expected[tensor] for case in cases]
    if not all(np.isfinite(gradient).all() for gradient in gradients):
        return [f"{tensor}: some of its numbers are not finite"]
    sentences = [
        _entries(tensor, gradients, expected),
        _factors(tensor, gradients, expected),
        _signs(tensor, gradients, expected),
    ]
    if tensor[0] == "W":
        sentences.append(_samples(tensor, cases))
    return [sentence for sentence in sentences if sentence]


def _wrong_entries(gradients: Sequence[Array], expected: Sequence[Array]) -> Array:
    """Return which entries are wrong in any case."""
    wrong = np.zeros(gradients[0].shape, dtype=bool)
    for gradient, right in zip(gradients, expected, strict=True):
        size = max(float(np.abs(gradient).max()), float(np.abs(right).max()))
        wrong |= np.abs(gradient - right) > 1e-9 * size
    return wrong


def _entries(tensor: str, gradients: Sequence[Array], expected: Sequence[Array]) -> str:
    """Describe which rows, columns or entries are wrong, if not all are."""
    wrong = _wrong_entries(gradients, expected)
    count, size = int(wrong.sum()), wrong.size
    if count == size:
        return ""
    for axis, name in ((1, "rows"), (0, "columns")):
        if wrong.ndim == 2:
            lines: Array = np.asarray(wrong.any(axis=axis))
            if lines.sum() < len(lines) and count == lines.sum() * wrong.shape[axis]:
                return f"{tensor}: only the {name} {_listed(np.flatnonzero(lines))} are wrong"
    if count <= LISTED:
        entries = ", ".join(f"[{', '.join(map(str, index))}]" for index in np.argwhere(wrong))
        return f"{tensor}: only the entries {entries} are wrong"
    return f"{tensor}: {count} of {size} entries are wrong" if count <= size / 2 else ""


def _factors(tensor: str, gradients: Sequence[Array], expected: Sequence[Array]) -> str:
    """Describe the factor from the right gradient to the wrong one, if each case or each row has one."""
    factors = [
        float(np.vdot(gradient, right) / np.vdot(right, right))
        for gradient, right in zip(gradients, expected, strict=True)
        if right.any()
    ]
    fits = all(
        same(gradient, c * right) for gradient, right, c in zip(gradients, expected, factors, strict=False)
    )
    if len(factors) == len(gradients) and fits:
        return f"{tensor}: at each point it is a multiple of the right one, by {_numbers(factors)}"
    rows = [_row_factors(gradient, right) for gradient, right in zip(gradients, expected, strict=True)]
    first = rows[0]
    if first is not None and all(row is not None and np.allclose(row, first, 1e-6) for row in rows):
        return f"{tensor}: each row is a multiple of the right one, by {_numbers(first)}"
    return ""


def _row_factors(gradient: Array, right: Array) -> Array | None:
    if gradient.ndim != 2 or gradient.shape[1] < 2 or not np.einsum("ij,ij->i", right, right).all():
        return None
    factors = np.einsum("ij,ij->i", gradient, right) / np.einsum("ij,ij->i", right, right)
    return factors if same(gradient, factors[:, None] * right) else None


def _signs(tensor: str, gradients: Sequence[Array], expected: Sequence[Array]) -> str:
    """Describe an error in signs only."""
    pairs = zip(gradients, expected, strict=True)
    if all(same(np.abs(gradient), np.abs(right)) for gradient, right in pairs):
        count = int(_wrong_entries(gradients, expected).sum())
        return f"{tensor}: its absolute values are right, {count} of its signs are not"
    return ""


def _samples(tensor: str, cases: Sequence[Case]) -> str:
    """Describe a sum over samples that is right but for its weights: Σ_n c_n δ_n h_nᵀ."""
    sentences: list[str] = []
    layer = int(tensor[1:])
    for case in cases:
        N, gradient = case.trace.N, case.gradients[tensor]
        if N < 2 or gradient.size < N + 2:
            continue
        delta = _right_delta(case, layer)
        terms = np.einsum("nh,nd->hdn", delta, case.trace.h[layer - 1]).reshape(-1, N)
        weights = cast(Array, np.linalg.pinv(terms) @ gradient.ravel())
        if not same(terms @ weights, gradient.ravel()) or np.linalg.matrix_rank(terms) < N:
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
