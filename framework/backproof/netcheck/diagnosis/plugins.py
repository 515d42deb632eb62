"""Wrong plugins: an activation whose φ' or a loss whose ∂Err/∂z is not its derivative."""

from __future__ import annotations

import numpy as np

from backproof.contracts import Trace
from backproof.netcheck.diagnosis.backward import NONE, Evaluator
from backproof.netcheck.diagnosis.case import residual
from backproof.netcheck.diagnosis.formula_text import formula
from backproof.netcheck.diagnosis.results import Finding
from backproof.netcheck.diagnosis.search import tensors_down

#: The tolerance of φ' against central differences of φ, whose own error is smaller.
SLOPE_TOLERANCE = 1e-5
#: The tolerance by norm of the expected gradient, which may come from central differences.
GRADIENT_TOLERANCE = 1e-6


def plugin_findings(evaluator: Evaluator, depth: int) -> list[Finding]:
    """Return the plugin at fault if a right backward pass built from the plugins gives a wrong gradient.

    All faults are computed with these plugins, so nothing else can be diagnosed then.
    """
    wrong = [tensor for tensor in tensors_down(depth) if not _passes(evaluator, tensor)]
    if not wrong:
        return []
    first = wrong[0]
    layer = int(first[1:])
    right = formula(first, depth)
    if layer == depth:
        sentence = "the loss's own gradient is not the derivative of its value: ∂Err/∂z itself is wrong"
        return [Finding("loss_gradient", "∂Err/∂z", depth, tuple(reversed(wrong)), sentence, right)]
    worst = _wrong_slope([case.trace for case in evaluator.cases], layer)
    where = ""
    if worst is not None:
        where = f": at a = {worst[0]:.6g} it gives {worst[1]:.6g}, the slope of φ is {worst[2]:.6g}"
    sentence = f"the activation's own φ' is not the derivative of its φ{where}"
    return [Finding("activation_slope", f"φ'(a{layer})", layer, tuple(reversed(wrong)), sentence, right)]


def _passes(evaluator: Evaluator, tensor: str) -> bool:
    numbers = evaluator.numbers(tensor, NONE)
    return numbers is not None and all(
        residual(gradient, case.expected[tensor]) <= GRADIENT_TOLERANCE
        for gradient, case in zip(numbers, evaluator.cases, strict=True)
    )


def _wrong_slope(traces: list[Trace], layer: int) -> tuple[float, float, float] | None:
    """Return the a with the worst φ', its value and the right value; None if φ' is right at all of them."""
    a = np.concatenate([trace.a[layer].ravel() for trace in traces])
    phi, dphi = traces[0].phi, traces[0].dphi
    step = 1e-5
    slope = (phi(a + step) - phi(a - step)) / (2 * step)
    gap = np.abs(dphi(a) - slope)
    worst = int(np.argmax(gap))
    if gap[worst] <= SLOPE_TOLERANCE * max(1.0, abs(slope[worst])):
        return None
    return float(a[worst]), float(dphi(a)[worst]), float(slope[worst])
