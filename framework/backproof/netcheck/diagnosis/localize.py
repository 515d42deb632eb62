"""Locate the wrong step of a backward pass by checking each step against the result of the step above it.

For a single sample every adjoint is known: a change in b changes a equally, so the gradient of b is ∂Err/∂a.
If only the target changes, φ' stays constant, which separates ∂Err/∂h from the slope that multiplies it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from backproof.contracts import Array
from backproof.netcheck.diagnosis.case import Case, same

RIGHT, WRONG, FOLLOWS = "right", "wrong", "follows"
#: A share of the largest ∂Err/∂h below which an entry is too small to divide by.
SMALL = 1e-6


@dataclass(frozen=True)
class Step:
    """One step of the backward pass: right, wrong, or wrong only because a step above it is."""

    place: str  # ∂Err/∂z, ∂Err/∂h1, φ'(a1), W1, b1
    state: str


def locate(probes: Sequence[Case]) -> tuple[Step, ...]:
    """Return the steps of the backward pass, from single samples that differ only in their targets.

    It is empty for fewer than two probes, or for probes of more than one sample.
    """
    if len(probes) < 2 or any(case.trace.N != 1 for case in probes):
        return ()
    depth = probes[0].depth
    steps: list[Step] = []
    above: Array | None = None
    for layer in range(depth, 0, -1):
        adjoint, tensor_steps = _adjoint(probes, layer)
        right = _expected_adjoint(probes, layer)
        steps += _steps_to_adjoint(probes, layer, adjoint, right, above)
        steps += tensor_steps
        above = adjoint
    return tuple(steps)


def _steps_to_adjoint(
    probes: Sequence[Case], layer: int, adjoint: Array, right: Array, above: Array | None
) -> list[Step]:
    """Return the steps from ∂Err/∂a of the layer above to that of a layer, `adjoint` (probes, H)."""
    if above is None:
        return [Step("∂Err/∂z", RIGHT if same(adjoint, right) else WRONG)]
    h, slope = f"∂Err/∂h{layer}", f"φ'(a{layer})"
    if same(adjoint, right):
        return [Step(h, RIGHT), Step(slope, RIGHT)]
    trace = probes[0].trace
    back = above @ trace.W[layer + 1]
    product = back * trace.dphi(trace.a[layer])
    if same(adjoint, product):
        return [Step(h, FOLLOWS), Step(slope, RIGHT)]
    if _is_multiple(adjoint, product):
        # A common factor may come from any step.
        return [Step(f"∂Err/∂a{layer}", WRONG)]
    return [Step(h, RIGHT), Step(slope, WRONG)] if _has_one_slope(adjoint, back) else [Step(h, WRONG)]


def _is_multiple(array: Array, other: Array) -> bool:
    size = float(np.vdot(other, other))
    return bool(size and np.isfinite(array).all() and same(array, float(np.vdot(other, array)) / size * other))


def _has_one_slope(adjoint: Array, back: Array) -> bool:
    """Return whether each unit has the same slope for all targets."""
    for dErr_da, dErr_dh in zip(adjoint.T, back.T, strict=True):
        if not np.isfinite(dErr_da).all():
            return False
        large = np.abs(dErr_dh) > SMALL * np.abs(back).max()
        if not large.any():
            continue
        largest = int(np.argmax(np.abs(dErr_dh)))
        slope = dErr_da[largest] / dErr_dh[largest]
        if not np.allclose(dErr_da[large], slope * dErr_dh[large], 1e-7, 1e-12):
            return False
    return True


def _adjoint(probes: Sequence[Case], layer: int) -> tuple[Array, list[Step]]:
    """Return the ∂Err/∂a (probes, H) that a layer's gradients imply, and the steps to W and b."""
    W, b = f"W{layer}", f"b{layer}"
    right = _expected_adjoint(probes, layer)
    from_b = np.array([case.gradients[b] for case in probes])
    from_W = _weight_adjoint(probes, layer)
    states = {W: RIGHT, b: RIGHT}
    if from_W is None:
        return from_b, [Step(W, WRONG), Step(b, RIGHT if same(from_b, right) else FOLLOWS)]
    delta = from_b
    if not same(from_W, from_b):
        # W and b imply different ∂Err/∂a: use the right one, or else that of b.
        wrong = b if same(from_W, right) else W
        delta = from_W if wrong == b else from_b
        states[wrong] = WRONG
    if not same(delta, right):
        states = {name: FOLLOWS if state == RIGHT else state for name, state in states.items()}
    return delta, [Step(name, state) for name, state in states.items()]


def _expected_adjoint(probes: Sequence[Case], layer: int) -> Array:
    """Return the right ∂Err/∂a (probes, H): for a single sample it is the gradient of b."""
    return np.array([case.expected[f"b{layer}"] for case in probes])


def _weight_adjoint(probes: Sequence[Case], layer: int) -> Array | None:
    """Return δ (probes, H) with δ hᵀ equal to the derivation's gradient of W; None if there is none."""
    deltas: list[Array] = []
    for case in probes:
        h, G = case.trace.h[layer - 1][0], case.gradients[f"W{layer}"]
        size = float(h @ h)
        if not size:
            return None
        delta = G @ h / size
        if not same(G, np.outer(delta, h)):
            return None
        deltas.append(delta)
    return np.array(deltas)


def sentence(steps: Sequence[Step]) -> str:
    """Return the steps in words; empty if there are none."""
    if not steps:
        return ""
    if all(step.state == RIGHT for step in steps):
        return "located: for a single sample every step is right; look at how samples are combined"
    parts = [
        f"{', '.join(places)} {description}"
        for state, description in (
            (RIGHT, "right"),
            (WRONG, "wrong"),
            (FOLLOWS, "wrong only because of a step above"),
        )
        if (places := [step.place for step in steps if step.state == state])
    ]
    return "located, from the loss down: " + "; ".join(parts)
