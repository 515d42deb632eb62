"""Mistakes with a number in them that is not known beforehand. It is fitted, and must be the same at every case."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from framework.gradcheck.diagnosis.case import Case, same
from framework.gradcheck.diagnosis.ledger import Here, Mistake
from framework.kinds import Array

#: How well the fitted numbers of the cases must agree.
AGREE = 1e-6
#: What is smaller than this share of the largest is rounding.
ROUNDING = 1e-12


def fitted(tensor: str, cases: Sequence[Case], numbers: Sequence[Array]) -> list[Mistake]:
    """What makes the given gradients of a tensor out of `numbers`, its gradients without it, one per case."""
    found: list[Mistake] = []
    given = [case.given[tensor] for case in cases]
    factor = common(given, numbers)
    if factor is not None and abs(factor) > AGREE:
        found += _factors(tensor, factor, len(cases[0].trace.W))
    gaps = [one - other for one, other in zip(given, numbers, strict=True)]
    layer, letter = int(tensor[1:]), tensor[0]
    own = [(case.trace.W if letter == "W" else case.trace.b)[layer] for case in cases]
    name, prefix = ("weights", "weights_") if letter == "W" else ("biases", "biases_")
    strength = common(gaps, own)
    if strength is not None:
        says = f"{strength:.6g} times the tensor itself is added, as a regulariser would"
        found.append(_added(prefix, layer, "regulariser", says, strength, lambda each: each))
    strength = common(gaps, [np.sign(each) for each in own])
    if strength is not None:
        says = f"{strength:.6g} times the sign of the tensor is added, as a regulariser would"
        found.append(_added(prefix, layer, "sign_regulariser", says, strength, np.sign))
    place = _one_entry(given, gaps)
    if place is not None:
        found.append(_entry(tensor, name, layer, place, cases, given, numbers))
    return found


def common(given: Sequence[Array], parts: Sequence[Array]) -> float | None:
    """The one number c with given = c · part at every case, if there is one."""
    sizes = [float(np.vdot(part, part)) for part in parts]
    # Where a part is nothing but rounding, as with as many samples of each class, it tells nothing.
    least = ROUNDING**2 * max(sizes)
    pairs = zip(given, parts, sizes, strict=True)
    each = [float(np.vdot(part, one)) / size for one, part, size in pairs if size > least]
    if len(each) < 2:
        return None
    c = each[0]
    if not c or max(abs(other - c) for other in each) > AGREE * abs(c):
        return None
    # The numbers of one case must not be fitted by themselves: a tensor of one entry is a multiple of any other.
    fits = all(
        same(one, c * part) or np.allclose(one, c * part, 1e-6) for one, part in zip(given, parts, strict=True)
    )
    return c if fits else None


def _factors(tensor: str, factor: float, depth: int) -> list[Mistake]:
    """An unknown factor in the tensor alone, or in δ of its layer, or of one above."""
    layer = int(tensor[1:])
    prefix = "weights_" if tensor[0] == "W" else "biases_"
    says = f"is {factor:.9g} times what it should be, at every point"
    found = [
        _scaled("", each, "∂Err/∂z" if each == depth else f"∂Err/∂a{each}", says, factor)
        for each in range(layer, depth + 1)
    ]
    return [*found, _scaled(prefix, layer, f"the gradient of {tensor}", says, factor)]


def _scaled(prefix: str, layer: int, where: str, says: str, factor: float) -> Mistake:
    text, number = f"{where} {says}", f"{factor:.9g}"
    at = "" if prefix else where
    kind = f"{prefix}factor"
    return Mistake(kind, layer, "constant_factor", text, lambda here: factor, number, number=number, at=at)


def _added(
    prefix: str, layer: int, name: str, says: str, strength: float, of: Callable[[Array], Array]
) -> Mistake:
    def apply(here: Here) -> Array:
        tensor = here.trace.W[here.layer] if prefix == "weights_" else here.trace.b[here.layer]
        return strength * of(tensor)

    form = f" + {strength:.6g} " + ("{T}" if name == "regulariser" else "sign({T})")
    return Mistake(prefix + "added", layer, name, says, apply, form, number=f"{strength:.6g}")


def _one_entry(given: Sequence[Array], gaps: Sequence[Array]) -> tuple[int, ...] | None:
    """The only entry that is off, if there are others beside it and it is the same at every case."""
    places: set[tuple[int, ...]] = set()
    for one, gap in zip(given, gaps, strict=True):
        if gap.size < 2 or not np.isfinite(gap).all():
            return None
        off = np.argwhere(np.abs(gap) > 1e-9 * max(float(np.abs(one).max()), float(np.abs(gap).max())))
        if len(off) > 1:
            return None
        places |= {tuple(int(i) for i in each) for each in off}
    return places.pop() if len(places) == 1 else None


def _entry(
    tensor: str,
    kind: str,
    layer: int,
    place: tuple[int, ...],
    cases: Sequence[Case],
    given: Sequence[Array],
    numbers: Sequence[Array],
) -> Mistake:
    at = f"{tensor}[{', '.join(map(str, place))}]"
    ones = [(float(one[place]), float(right[place])) for one, right in zip(given, numbers, strict=True)]
    ratios = [one / right for one, right in ones if right]
    what = f"it is {ones[0][0]:.9g} where {ones[0][1]:.9g} belongs"
    if all(one == 0 for one, _ in ones):
        what = "it is zero"
    elif len(ratios) == len(ones) and max(ratios) - min(ratios) <= AGREE * abs(ratios[0]):
        what = f"it is {ratios[0]:.9g} times what it should be"
    values = {id(case.trace): one for case, one in zip(cases, given, strict=True)}

    def apply(here: Here) -> Array:
        entry = np.full(values[id(here.trace)].shape, np.nan)
        entry[place] = values[id(here.trace)][place]
        return entry

    says = f"only the entry {at} is wrong: {what}"
    return Mistake(f"{kind}_entry", layer, "one_entry", says, apply, number=at)
