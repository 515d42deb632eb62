"""Where the network's own plugins are wrong: an activation's φ' or a loss's ∂Err/∂z that is not the derivative."""

from __future__ import annotations

import numpy as np

from backproof.contracts import Trace
from backproof.netcheck.diagnosis.backward import NONE, Evaluator
from backproof.netcheck.diagnosis.case import residual
from backproof.netcheck.diagnosis.formula_text import formula
from backproof.netcheck.diagnosis.results import Finding
from backproof.netcheck.diagnosis.search import tensors_down

#: How far φ' may be from central differences of φ, whose own error is below that.
WITHIN = 1e-5
#: The expected gradient may come of central differences, by norm so far from the right one.
CLOSE = 1e-6


def plugin_findings(evaluator: Evaluator, depth: int) -> list[Finding]:
    """The plugin that is to blame where a right backward pass, made of the plugins, does not give what is expected.

    The ledger is built of these same plugins, so it can then say nothing about the rest.
    """
    off = [tensor for tensor in tensors_down(depth) if not _passes(evaluator, tensor)]
    if not off:
        return []
    first = off[0]
    layer = int(first[1:])
    right = formula(first, depth)
    if layer == depth:
        sentence = "the loss's own gradient is not the derivative of its value: ∂Err/∂z itself is wrong"
        return [Finding("loss_gradient", "∂Err/∂z", depth, tuple(reversed(off)), sentence, right)]
    at = _wrong_slope([each.trace for each in evaluator.cases], layer)
    where = f": at a = {at[0]:.6g} it gives {at[1]:.6g}, the slope of φ is {at[2]:.6g}" if at else ""
    sentence = f"the activation's own φ' is not the derivative of its φ{where}"
    return [Finding("activation_slope", f"φ'(a{layer})", layer, tuple(reversed(off)), sentence, right)]


def _passes(evaluator: Evaluator, tensor: str) -> bool:
    numbers = evaluator.numbers(tensor, NONE)
    return numbers is not None and all(
        residual(each, case.expected[tensor]) <= CLOSE
        for each, case in zip(numbers, evaluator.cases, strict=True)
    )


def _wrong_slope(traces: list[Trace], layer: int) -> tuple[float, float, float] | None:
    """The a with the worst φ', what it is there and what it should be; None where it is right at all of them."""
    a = np.concatenate([trace.a[layer].ravel() for trace in traces])
    phi, dphi = traces[0].phi, traces[0].dphi
    step = 1e-5
    slope = (phi(a + step) - phi(a - step)) / (2 * step)
    gap = np.abs(dphi(a) - slope)
    worst = int(np.argmax(gap))
    if gap[worst] <= WITHIN * max(1.0, abs(slope[worst])):
        return None
    return float(a[worst]), float(dphi(a)[worst]), float(slope[worst])
