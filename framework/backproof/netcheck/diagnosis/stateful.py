"""Faults outside the backward pass: a rule that keeps state between calls, a wrong gradient of the penalty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from backproof.contracts import Array
from backproof.netcheck.diagnosis.case import same
from backproof.netcheck.diagnosis.results import Finding

Gradients = Mapping[str, Array]


def repeat_findings(calls: Sequence[Gradients], expected: Gradients) -> list[Finding]:
    """Return what is wrong if three consecutive calls at one point differ: momentum, or something unknown.

    Momentum is v ← β v + c ∂Err/∂θ with the same β and c in every tensor: β and c are fitted to the second call,
    and must then give the third.
    """
    first, second, third = (_flat(gradients) for gradients in calls)
    if np.array_equal(first, second, equal_nan=True) and np.array_equal(second, third, equal_nan=True):
        return []
    tensors, right = tuple(expected), _flat(expected)
    basis = np.column_stack([first, right])
    beta, c = (float(number) for number in np.linalg.pinv(basis) @ second)
    if (
        same(basis @ np.array([beta, c]), second)
        and same(beta * second + c * right, third)
        and abs(beta) > 1e-6
    ):
        sentence = (
            "momentum is mixed into the gradient: each call returns "
            f"{beta:.6g} times what the previous call returned, plus {c:.6g} times the gradient"
        )
        return [Finding("momentum", "all", 0, tensors, sentence, "")]
    sentence = "calls at the same parameters give different gradients: the rule keeps state between calls"
    return [Finding("not_repeatable", "all", 0, tensors, sentence, "")]


def penalty_findings(gradients: Gradients, expected: Gradients) -> list[Finding]:
    """Return what is wrong with the penalty's gradient at one point, by tensor."""
    wrong = tuple(tensor for tensor in expected if not same(gradients[tensor], expected[tensor]))
    if not wrong:
        return []
    unpenalised = [tensor for tensor in wrong if not expected[tensor].any()]
    if len(unpenalised) == len(wrong) and all(tensor[0] == "b" for tensor in unpenalised):
        sentence = "the penalty's gradient is not zero for biases, which it does not penalise"
        return [Finding("penalty_on_biases", "penalty", 0, wrong, sentence, "")]
    flat, right = (
        np.concatenate([arrays[tensor].ravel() for tensor in wrong]) for arrays in (gradients, expected)
    )
    factor = float(np.vdot(flat, right) / np.vdot(right, right)) if right.any() else np.inf
    names = {2.0: "penalty_doubled", 0.5: "penalty_halved", 0.0: "penalty_forgotten", -1.0: "penalty_sign"}
    if np.isfinite(factor) and same(flat, factor * right):
        name = names.get(round(factor, 9), "penalty_factor")
        sentence = f"the penalty's gradient is {round(factor, 9):.9g} times the derivative of its value"
        return [Finding(name, "penalty", 0, wrong, sentence, "")]
    sentence = "unknown mistake in the gradient of the penalty: it is not the derivative of its value"
    return [Finding("unknown", "penalty", 0, wrong, sentence, "")]


def _flat(gradients: Gradients) -> Array:
    return np.concatenate([gradients[tensor].ravel() for tensor in sorted(gradients)])
