"""Locate the wrong step of a backward pass: each step is compared given the result of the step above it.

A single sample shows every adjoint: a change of b changes a equally, so the gradient of b is ∂Err/∂a.
If only the target changes, φ' is constant, which separates ∂Err/∂h from the slope that multiplies it.
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
    """One step from the loss down, and whether it is right, wrong, or follows from a wrong step above."""

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
        given, tensor_steps = _adjoint(probes, layer)
        right = _bias_gradients(probes, layer, given=False)
        steps += _steps_to_adjoint(probes, layer, given, right, above)
        steps += tensor_steps
        above = given
    return tuple(steps)


def _steps_to_adjoint(
    probes: Sequence[Case], layer: int, given: Array, right: Array, above: Array | None
) -> list[Step]:
    """Return the steps to ∂Err/∂a of a layer, `given` as (probes, H), from that of the layer above."""
    if above is None:
        return [Step("∂Err/∂z", RIGHT if same(given, right) else WRONG)]
    h, slope = f"∂Err/∂h{layer}", f"φ'(a{layer})"
    if same(given, right):
        return [Step(h, RIGHT), Step(slope, RIGHT)]
    trace = probes[0].trace
    back = above @ trace.W[layer + 1]
    product = back * trace.dphi(trace.a[layer])
    if same(given, product):
        return [Step(h, FOLLOWS), Step(slope, RIGHT)]
    if _is_multiple(given, product):
        # A common factor may enter in any step.
        return [Step(f"∂Err/∂a{layer}", WRONG)]
    return [Step(h, RIGHT), Step(slope, WRONG)] if _has_one_slope(given, back) else [Step(h, WRONG)]


def _is_multiple(one: Array, other: Array) -> bool:
    size = float(np.vdot(other, other))
    return bool(size and np.isfinite(one).all() and same(one, float(np.vdot(other, one)) / size * other))


def _has_one_slope(given: Array, back: Array) -> bool:
    """Return whether each unit has the same slope for all targets."""
    for one, other in zip(given.T, back.T, strict=True):
        if not np.isfinite(one).all():
            return False
        large = np.abs(other) > SMALL * np.abs(back).max()
        if not large.any():
            continue
        largest = int(np.argmax(np.abs(other)))
        if not np.allclose(one[large], one[largest] / other[largest] * other[large], 1e-7, 1e-12):
            return False
    return True


def _adjoint(probes: Sequence[Case], layer: int) -> tuple[Array, list[Step]]:
    """Return ∂Err/∂a (probes, H) of a layer as its gradients imply it, and the steps to W and b."""
    W, b = f"W{layer}", f"b{layer}"
    right, of_b = _bias_gradients(probes, layer, given=False), _bias_gradients(probes, layer, given=True)
    of_W = _weight_adjoint(probes, layer)
    states = {W: RIGHT, b: RIGHT}
    if of_W is None:
        return of_b, [Step(W, WRONG), Step(b, RIGHT if same(of_b, right) else FOLLOWS)]
    delta = of_b
    if not same(of_W, of_b):
        # W and b imply two different ∂Err/∂a: use the right one, or else that of b.
        wrong = b if same(of_W, right) else W
        delta = of_W if wrong == b else of_b
        states[wrong] = WRONG
    if not same(delta, right):
        states = {name: FOLLOWS if state == RIGHT else state for name, state in states.items()}
    return delta, [Step(name, state) for name, state in states.items()]


def _bias_gradients(probes: Sequence[Case], layer: int, *, given: bool) -> Array:
    return np.array([(case.given if given else case.expected)[f"b{layer}"] for case in probes])


def _weight_adjoint(probes: Sequence[Case], layer: int) -> Array | None:
    """Return δ (probes, H) with δ hᵀ equal to the given gradient of W; None if there is none."""
    deltas: list[Array] = []
    for case in probes:
        h, G = case.trace.h[layer - 1][0], case.given[f"W{layer}"]
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
