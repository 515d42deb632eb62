"""What is done with a finished gradient and depends on its own numbers: clipped entries, a norm that is set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from backproof.contracts import Array
from backproof.netcheck.diagnosis.case import Case, same
from backproof.netcheck.diagnosis.fault import Apply, Context, Fault

#: So many entries must be right, and so many cut off, in all: one may be at the limit by chance.
LEAST = 3


def clipping_faults(tensor: str, cases: Sequence[Case], numbers: Sequence[Array]) -> list[Fault]:
    """The gradients of a tensor are `numbers`, but where these pass the largest or the smallest entry given: of all
    cases, or of each."""
    given = [case.given[tensor] for case in cases]
    low, high = ([float(of(one)) for one in given] for of in (np.min, np.max))
    lowest, highest = min(low), max(high)
    count = len(cases)
    if _cut_off(given, numbers, [lowest] * count, [highest] * count) >= LEAST:
        return [
            _clipped(tensor, cases, [lowest] * count, [highest] * count, f" to {lowest:.6g} … {highest:.6g}")
        ]
    # With limits of its own, a case shows nothing unless some entries keep within them.
    kept = sum(
        int((~np.isin(one, (least, most))).sum()) for one, least, most in zip(given, low, high, strict=True)
    )
    if kept >= LEAST and _cut_off(given, numbers, low, high) >= LEAST:
        return [_clipped(tensor, cases, low, high, ", within other limits at each point")]
    return []


def _cut_off(
    given: Sequence[Array], numbers: Sequence[Array], low: Sequence[float], high: Sequence[float]
) -> int:
    """How many entries are cut off to the limits; 0 where one is not as these limits make it."""
    count = 0
    for one, right, least, most in zip(given, numbers, low, high, strict=True):
        cut = np.clip(right, least, most)
        if not same(one, cut):
            return 0
        count += int((np.abs(cut - right) > 1e-9 * np.abs(right).max()).sum())
    return count


def _clipped(
    tensor: str, cases: Sequence[Case], low: Sequence[float], high: Sequence[float], where: str
) -> Fault:
    limits = {id(case.trace): (one, other) for case, one, other in zip(cases, low, high, strict=True)}

    def apply(context: Context) -> Array:
        least, most = limits.get(id(context.trace), (low[0], high[0]))
        return np.clip(context.delta, least, most)

    return _end(tensor, "clipped", f"the gradient of {tensor} is clipped{where}", apply)


def norm_faults(tensor: str, cases: Sequence[Case], numbers: Sequence[Array]) -> list[Fault]:
    """The gradients of a tensor, or of all together, are scaled to one norm, or down to one where they pass it."""
    given = [case.given[tensor] for case in cases]
    sizes = [float(np.linalg.norm(each)) for each in numbers]
    if not all(sizes) or not all(np.isfinite(one).all() for one in given):
        return []
    ratios = [float(np.linalg.norm(one)) / size for one, size in zip(given, sizes, strict=True)]
    if not all(same(one, c * right) for one, c, right in zip(given, ratios, numbers, strict=True)):
        return []
    own = [c * size for c, size in zip(ratios, sizes, strict=True)]
    whole = [_norm(case) for case in cases]
    found: list[Fault] = []
    c = _limit(ratios, own)
    if c is not None:
        clip = _clip(ratios)
        sentence = f"the gradient of {tensor} is scaled to norm {c:.6g}{clip}"
        found.append(_end(tensor, "scaled_to_norm", sentence, _scaled(c, clip=bool(clip)), f"{c:.6g}"))
    c = _limit(ratios, whole)
    if c is not None and _clip(ratios):
        factors = {id(case.trace): ratio for case, ratio in zip(cases, ratios, strict=True)}
        depth = cases[0].depth
        sentence = f"all gradients together are scaled down to norm {c:.6g} where they pass it: clipped by norm"
        found.append(
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
    return found


def _limit(ratios: Sequence[float], norms: Sequence[float]) -> float | None:
    """The norm that all have whose ratio is not 1, and none passes."""
    scaled = [norm for ratio, norm in zip(ratios, norms, strict=True) if abs(ratio - 1) > 1e-9]
    if len(scaled) < 2 or max(scaled) - min(scaled) > 1e-9 * max(scaled):
        return None
    return scaled[0] if max(norms) <= scaled[0] * (1 + 1e-9) else None


def _clip(ratios: Sequence[float]) -> str:
    return " where it passes it" if max(ratios) <= 1 + 1e-12 and max(ratios) - min(ratios) > 1e-9 else ""


def _norm(case: Case) -> float:
    return float(np.sqrt(sum(float(np.vdot(each, each)) for each in case.given.values())))


def _scaled(c: float, *, clip: bool) -> Apply:
    def apply(context: Context) -> Array:
        size = float(np.linalg.norm(context.delta)) or 1.0
        return context.delta * (min(1.0, c / size) if clip else c / size)

    return apply


def _end(tensor: str, name: str, sentence: str, apply: Apply, number: str = "limits") -> Fault:
    kind = "weights_end" if tensor[0] == "W" else "biases_end"
    return Fault(kind, int(tensor[1:]), name, sentence, apply, number=number)
