"""Where in the backward pass a gradient goes wrong: each step judged by what the step above it gave.

A single sample shows every adjoint: moving b of a layer moves its a by as much, so the gradient of b is ∂Err/∂a.
Where only the target changes, φ' stays as it is: what comes back to h is told from the slope that it meets there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from backproof.contracts import Array
from backproof.netcheck.diagnosis.case import Case, same

RIGHT, WRONG, FOLLOWS = "right", "wrong", "follows"
#: Beside the largest, what comes back is too small to divide by.
SMALL = 1e-6


@dataclass(frozen=True)
class Step:
    """One step from the loss down, and whether it is right; `follows`: it is wrong because what is above it is."""

    place: str  # ∂Err/∂z, ∂Err/∂h1, φ'(a1), W1, b1
    state: str


def locate(probes: Sequence[Case]) -> tuple[Step, ...]:
    """The steps of the backward pass, from single samples that differ in nothing but their targets.

    Empty where there are fewer than two of them, or something else than one sample each.
    """
    if len(probes) < 2 or any(case.trace.N != 1 for case in probes):
        return ()
    depth = probes[0].depth
    steps: list[Step] = []
    above: Array | None = None
    for layer in range(depth, 0, -1):
        given, tensors = _adjoint(probes, layer)
        right = _rows(probes, layer, given=False)
        steps += _reached(probes, layer, given, right, above)
        steps += tensors
        above = given
    return tuple(steps)


def _reached(probes: Sequence[Case], layer: int, given: Array, right: Array, above: Array | None) -> list[Step]:
    """The steps to ∂Err/∂a of a layer, given as (probes, H), from that of the layer above."""
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
    if _multiple(given, product):
        # One factor in all of it may come in anywhere.
        return [Step(f"∂Err/∂a{layer}", WRONG)]
    return [Step(h, RIGHT), Step(slope, WRONG)] if _one_slope(given, back) else [Step(h, WRONG)]


def _multiple(one: Array, other: Array) -> bool:
    size = float(np.vdot(other, other))
    return bool(size and np.isfinite(one).all() and same(one, float(np.vdot(other, one)) / size * other))


def _one_slope(given: Array, back: Array) -> bool:
    """Whether each unit has one slope for all targets."""
    for one, other in zip(given.T, back.T, strict=True):
        if not np.isfinite(one).all():
            return False
        kept = np.abs(other) > SMALL * np.abs(back).max()
        if not kept.any():
            continue
        at = int(np.argmax(np.abs(other)))
        if not np.allclose(one[kept], one[at] / other[at] * other[kept], 1e-7, 1e-12):
            return False
    return True


def _adjoint(probes: Sequence[Case], layer: int) -> tuple[Array, list[Step]]:
    """∂Err/∂a of a layer as its gradients show it, (probes, H), and whether W and b both follow from it."""
    W, b = f"W{layer}", f"b{layer}"
    right, of_b = _rows(probes, layer, given=False), _rows(probes, layer, given=True)
    of_W = _solved(probes, layer)
    states = {W: RIGHT, b: RIGHT}
    if of_W is None:
        return of_b, [Step(W, WRONG), Step(b, RIGHT if same(of_b, right) else FOLLOWS)]
    delta = of_b
    if not same(of_W, of_b):
        # Two ∂Err/∂a: the one that is right is believed, else that of b.
        wrong = b if same(of_W, right) else W
        delta = of_W if wrong == b else of_b
        states[wrong] = WRONG
    if not same(delta, right):
        states = {name: FOLLOWS if state == RIGHT else state for name, state in states.items()}
    return delta, [Step(name, state) for name, state in states.items()]


def _rows(probes: Sequence[Case], layer: int, *, given: bool) -> Array:
    return np.array([(case.given if given else case.expected)[f"b{layer}"] for case in probes])


def _solved(probes: Sequence[Case], layer: int) -> Array | None:
    """δ with δ hᵀ = the gradient given of W, for each probe; None where there is none."""
    found: list[Array] = []
    for case in probes:
        h, G = case.trace.h[layer - 1][0], case.given[f"W{layer}"]
        size = float(h @ h)
        if not size:
            return None
        delta = G @ h / size
        if not same(G, np.outer(delta, h)):
            return None
        found.append(delta)
    return np.array(found)


def sentence(steps: Sequence[Step]) -> str:
    """The steps in words; empty for none."""
    if not steps:
        return ""
    if all(step.state == RIGHT for step in steps):
        return "located: for a single sample every step is right; look at how samples are put together"
    parts = [
        f"{', '.join(places)} {word}"
        for state, word in ((RIGHT, "right"), (WRONG, "wrong"), (FOLLOWS, "wrong only by what is above"))
        if (places := [step.place for step in steps if step.state == state])
    ]
    return "located, from the loss down: " + "; ".join(parts)
