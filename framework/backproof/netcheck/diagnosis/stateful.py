"""What is wrong around the backward pass: a rule that is no function of theta, and the penalty's gradient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from backproof.contracts import Array
from backproof.netcheck.diagnosis.case import same
from backproof.netcheck.diagnosis.results import Finding

Gradients = Mapping[str, Array]


def repeat_findings(calls: Sequence[Gradients], expected: Gradients) -> list[Finding]:
    """From three calls in a row at one point: whether they gave the same, and if not, whether it is momentum.

    Momentum is v ← β v + c ∂Err/∂θ with the same β and c in every tensor: β and c come from the second call, and
    must give the third.
    """
    first, second, third = (_flat(each) for each in calls)
    if np.array_equal(first, second, equal_nan=True) and np.array_equal(second, third, equal_nan=True):
        return []
    tensors, right = tuple(expected), _flat(expected)
    both = np.column_stack([first, right])
    beta, c = (float(each) for each in np.linalg.pinv(both) @ second)
    if same(both @ np.array([beta, c]), second) and same(beta * second + c * right, third) and abs(beta) > 1e-6:
        sentence = (
            "momentum is mixed into the gradient: each call gives "
            f"{beta:.6g} times what the call before it gave, plus {c:.6g} times the gradient"
        )
        return [Finding("momentum", "all", 0, tensors, sentence, "")]
    sentence = (
        "calls at the same parameters give different gradients: the rule keeps something from call to call"
    )
    return [Finding("not_repeatable", "all", 0, tensors, sentence, "")]


def penalty_findings(given: Gradients, expected: Gradients) -> list[Finding]:
    """What is wrong with the penalty's own gradient, by its tensors at one point."""
    wrong = tuple(tensor for tensor in expected if not same(given[tensor], expected[tensor]))
    if not wrong:
        return []
    free = [tensor for tensor in wrong if not expected[tensor].any()]
    if len(free) == len(wrong) and all(tensor[0] == "b" for tensor in free):
        sentence = "the penalty's gradient is not zero for biases, which it does not penalise"
        return [Finding("penalty_on_biases", "penalty", 0, wrong, sentence, "")]
    one, right = (np.concatenate([each[tensor].ravel() for tensor in wrong]) for each in (given, expected))
    factor = float(np.vdot(one, right) / np.vdot(right, right)) if right.any() else np.inf
    names = {2.0: "penalty_doubled", 0.5: "penalty_halved", 0.0: "penalty_forgotten", -1.0: "penalty_sign"}
    if np.isfinite(factor) and same(one, factor * right):
        name = names.get(round(factor, 9), "penalty_factor")
        sentence = f"the penalty's gradient is {round(factor, 9):.9g} times the derivative of its value"
        return [Finding(name, "penalty", 0, wrong, sentence, "")]
    sentence = "unknown mistake in the penalty's own gradient: it is not the derivative of its value"
    return [Finding("unknown", "penalty", 0, wrong, sentence, "")]


def _flat(gradients: Gradients) -> Array:
    return np.concatenate([gradients[tensor].ravel() for tensor in sorted(gradients)])
