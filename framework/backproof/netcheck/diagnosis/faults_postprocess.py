"""Faults in a finished gradient that depend on its values: clipped entries, a fixed norm."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from backproof.contracts import Array
from backproof.netcheck.diagnosis.case import Case, same
from backproof.netcheck.diagnosis.fault import Apply, Context, Fault

#: At least this many entries, over all cases, must be clipped: one may be at the limit by chance.
LEAST_CLIPPED = 3


def clipping_faults(tensor: str, cases: Sequence[Case], numbers: Sequence[Array]) -> list[Fault]:
    """Return the fault that clips `numbers` to the range of the derivation's gradients, of all cases or of each."""
    gradients = [case.gradients[tensor] for case in cases]
    low, high = ([float(extreme(gradient)) for gradient in gradients] for extreme in (np.min, np.max))
    lowest, highest = min(low), max(high)
    count = len(cases)
    if _count_clipped(gradients, numbers, [lowest] * count, [highest] * count) >= LEAST_CLIPPED:
        return [
            _clipped(tensor, cases, [lowest] * count, [highest] * count, f" to {lowest:.6g} … {highest:.6g}")
        ]
    # With separate limits for each case, some entries must lie within them.
    within = sum(
        int((~np.isin(gradient, limits)).sum()) for gradient, *limits in zip(gradients, low, high, strict=True)
    )
    if within >= LEAST_CLIPPED and _count_clipped(gradients, numbers, low, high) >= LEAST_CLIPPED:
        return [_clipped(tensor, cases, low, high, ", within other limits at each point")]
    return []


def _count_clipped(
    gradients: Sequence[Array], numbers: Sequence[Array], low: Sequence[float], high: Sequence[float]
) -> int:
    """Return how many entries are clipped to the limits; 0 if an entry differs from what clipping gives."""
    count = 0
    for gradient, right, minimum, maximum in zip(gradients, numbers, low, high, strict=True):
        clipped = np.clip(right, minimum, maximum)
        if not same(gradient, clipped):
            return 0
        count += int((np.abs(clipped - right) > 1e-9 * np.abs(right).max()).sum())
    return count


def _clipped(
    tensor: str, cases: Sequence[Case], low: Sequence[float], high: Sequence[float], where: str
) -> Fault:
    limits = {
        id(case.trace): (minimum, maximum) for case, minimum, maximum in zip(cases, low, high, strict=True)
    }

    def apply(context: Context) -> Array:
        minimum, maximum = limits.get(id(context.trace), (low[0], high[0]))
        return np.clip(context.delta, minimum, maximum)

    return _finish(tensor, "clipped", f"the gradient of {tensor} is clipped{where}", apply)


def norm_faults(tensor: str, cases: Sequence[Case], numbers: Sequence[Array]) -> list[Fault]:
    """Return the faults that scale a tensor's gradient, or all gradients together, to a fixed or a maximum norm."""
    gradients = [case.gradients[tensor] for case in cases]
    sizes = [float(np.linalg.norm(gradient)) for gradient in numbers]
    if not all(sizes) or not all(np.isfinite(gradient).all() for gradient in gradients):
        return []
    ratios = [float(np.linalg.norm(gradient)) / size for gradient, size in zip(gradients, sizes, strict=True)]
    triples = zip(gradients, ratios, numbers, strict=True)
    if not all(same(gradient, c * right) for gradient, c, right in triples):
        return []
    norms = [c * size for c, size in zip(ratios, sizes, strict=True)]
    total_norms = [_total_norm(case) for case in cases]
    faults: list[Fault] = []
    c = _common_norm(ratios, norms)
    if c is not None:
        clip = _clip(ratios)
        sentence = f"the gradient of {tensor} is scaled to norm {c:.6g}{clip}"
        faults.append(_finish(tensor, "scaled_to_norm", sentence, _scaled(c, clip=bool(clip)), f"{c:.6g}"))
    c = _common_norm(ratios, total_norms)
    if c is not None and _clip(ratios):
        factors = {id(case.trace): ratio for case, ratio in zip(cases, ratios, strict=True)}
        depth = cases[0].depth
        sentence = (
            f"all gradients together are scaled down to norm {c:.6g} if they exceed it (clipping by norm)"
        )
        faults.append(
            Fault(
                "factor",
                depth,
                "clipped_by_norm",
                sentence,
                lambda context: factors.get(id(context.trace), 1.0),
                number=f"{c:.6g}",
                at="∂Err/∂z",
            )
        )
    return faults


def _common_norm(ratios: Sequence[float], norms: Sequence[float]) -> float | None:
    """Return the norm of all gradients that were scaled, if it is the same and none exceeds it."""
    scaled = [norm for ratio, norm in zip(ratios, norms, strict=True) if abs(ratio - 1) > 1e-9]
    if len(scaled) < 2 or max(scaled) - min(scaled) > 1e-9 * max(scaled):
        return None
    return scaled[0] if max(norms) <= scaled[0] * (1 + 1e-9) else None


def _clip(ratios: Sequence[float]) -> str:
    return " if it exceeds it" if max(ratios) <= 1 + 1e-12 and max(ratios) - min(ratios) > 1e-9 else ""


def _total_norm(case: Case) -> float:
    return float(np.sqrt(sum(float(np.vdot(gradient, gradient)) for gradient in case.gradients.values())))


def _scaled(c: float, *, clip: bool) -> Apply:
    def apply(context: Context) -> Array:
        size = float(np.linalg.norm(context.delta)) or 1.0
        return context.delta * (min(1.0, c / size) if clip else c / size)

    return apply


def _finish(tensor: str, name: str, sentence: str, apply: Apply, number: str = "limits") -> Fault:
    kind = "weights_end" if tensor[0] == "W" else "biases_end"
    return Fault(kind, int(tensor[1:]), name, sentence, apply, number=number)
