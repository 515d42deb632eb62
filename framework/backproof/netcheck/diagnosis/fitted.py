"""Mistakes with a number in them that is not known beforehand. It is fitted, and must be the same at every case."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from backproof.contracts import Array
from backproof.netcheck.diagnosis.case import Case, same
from backproof.netcheck.diagnosis.fault import Apply, Context, Fault
from backproof.netcheck.diagnosis.faults_postprocess import clipping_faults, norm_faults

#: How well the fitted numbers of the cases must agree.
AGREE = 1e-6
#: What is smaller than this share of the largest is rounding.
ROUNDING = 1e-12


@dataclass(frozen=True)
class PowerOfN:
    """c N^power: a number that is the same at every case, or goes with the samples of each."""

    c: float
    power: float = 0.0

    def of(self, N: int) -> float:
        """Its value for so many samples."""
        return self.c * float(N) ** self.power

    @property
    def text(self) -> str:
        """`1.0005`, `0.02 / N`, `√N`."""
        shown = f"{self.c:.9g}"
        if not self.power:
            return shown
        size = abs(self.power)
        N = {0.5: "√N", 1.0: "N"}.get(size, f"N^{size:.6g}")
        if self.power < 0:
            return f"{shown} / {N}"
        return N if shown == "1" else f"{shown} {N}"


def fitted_faults(tensor: str, cases: Sequence[Case], numbers: Sequence[Array]) -> list[Fault]:
    """What makes the given gradients of a tensor out of `numbers`, its gradients without it, one per case."""
    found: list[Fault] = []
    given = [case.given[tensor] for case in cases]
    factor = common_scale(cases, given, numbers)
    if factor is not None and abs(factor.c) > AGREE:
        found += _factors(tensor, factor, cases[0])
    gaps = [one - other for one, other in zip(given, numbers, strict=True)]
    layer, letter = int(tensor[1:]), tensor[0]
    own = [(case.trace.W if letter == "W" else case.trace.b)[layer] for case in cases]
    name, prefix = ("weights", "weights_") if letter == "W" else ("biases", "biases_")
    strength = common_scale(cases, gaps, own)
    if strength is not None:
        sentence = f"{strength.text} times the tensor itself is added, as a regulariser would"
        found.append(_added(prefix, layer, "regulariser", sentence, strength, lambda each: each))
    strength = common_scale(cases, gaps, [np.sign(each) for each in own])
    if strength is not None:
        sentence = f"{strength.text} times the sign of the tensor is added, as a regulariser would"
        found.append(_added(prefix, layer, "sign_regulariser", sentence, strength, np.sign))
    place = _one_entry(given, gaps)
    if place is not None:
        found.append(_entry(tensor, name, layer, place, cases, given, numbers))
    return [*found, *clipping_faults(tensor, cases, numbers), *norm_faults(tensor, cases, numbers)]


def may_be_fitted(tensor: str, case: Case, numbers: Array) -> bool:
    """Whether one of `fitted` is possible at one case: most are not, and this tells it at little cost."""
    given = case.given[tensor]
    own = (case.trace.W if tensor[0] == "W" else case.trace.b)[int(tensor[1:])]
    gap = given - numbers
    return (
        any(is_parallel(*each) for each in ((given, numbers), (gap, own), (gap, np.sign(own))))
        or _one_entry([given], [gap]) is not None
        or same(given, np.clip(numbers, given.min(), given.max()))
    )


def is_parallel(one: Array, other: Array) -> bool:
    """Whether one is a multiple of the other, or the other nothing but rounding beside it."""
    if not (np.isfinite(one).all() and np.isfinite(other).all()):
        return False
    size = float(np.vdot(other, other))
    if size <= ROUNDING**2 * float(np.vdot(one, one)) or not size:
        return True
    by = float(np.vdot(other, one)) / size * other
    return same(one, by) or bool(np.allclose(one, by, 1e-6))


def common_factor(given: Sequence[Array], parts: Sequence[Array]) -> float | None:
    """The one number c with given = c · part at every case, if there is one."""
    each = _each(given, parts)
    if len(each) < 2:
        return None
    c = each[0][1]
    if not c or max(abs(other - c) for _, other in each) > AGREE * abs(c):
        return None
    return c if _fits(given, parts, [c] * len(given)) else None


def common_scale(cases: Sequence[Case], given: Sequence[Array], parts: Sequence[Array]) -> PowerOfN | None:
    """The number c N^power with given = c N^power · part at every case, if there is one."""
    c = common_factor(given, parts)
    if c is not None:
        return PowerOfN(c)
    each = _each(given, parts)
    N = [float(case.trace.N) for case in cases]
    signs = {np.sign(ratio) for _, ratio in each}
    # Two numbers are fitted: it takes three cases with other numbers of samples to tell that they fit.
    if len({N[at] for at, _ in each}) < 3 or len(signs) > 1 or 0.0 in signs:
        return None
    sizes = np.log([abs(ratio) for _, ratio in each])
    power, start = np.polyfit(np.log([N[at] for at, _ in each]), sizes, 1)
    power = round(float(power), 6)
    found = PowerOfN(float(signs.pop()) * float(f"{np.exp(start):.9g}"), power)
    # Other powers come by chance, or of something else that grows with N.
    if 2 * power not in (-4, -2, -1, 1, 2, 4):
        return None
    return found if _fits(given, parts, [found.of(case.trace.N) for case in cases]) else None


def _each(given: Sequence[Array], parts: Sequence[Array]) -> list[tuple[int, float]]:
    """The number of each case by itself, with the case's own number."""
    sizes = [float(np.vdot(part, part)) for part in parts]
    # Where a part is nothing but rounding, as with as many samples of each class, it tells nothing.
    least = ROUNDING**2 * max(sizes)
    triples = enumerate(zip(given, parts, sizes, strict=True))
    return [(at, float(np.vdot(part, one)) / size) for at, (one, part, size) in triples if size > least]


def _fits(given: Sequence[Array], parts: Sequence[Array], numbers: Sequence[float]) -> bool:
    # The numbers of one case must not be fitted by themselves: a tensor of one entry is a multiple of any other.
    return all(
        same(one, c * part) or np.allclose(one, c * part, 1e-6)
        for one, part, c in zip(given, parts, numbers, strict=True)
    )


def _factors(tensor: str, factor: PowerOfN, case: Case) -> list[Fault]:
    """An unknown factor in the tensor alone, or in δ of its layer, or of one above."""
    layer, depth = int(tensor[1:]), case.depth
    prefix = "weights_" if tensor[0] == "W" else "biases_"
    name = "power_of_N" if factor.power else "constant_factor"
    sentence = f"is {factor.text} times what it should be, at every point{_like(factor, case)}"
    found = [
        _scaled("", each, name, "∂Err/∂z" if each == depth else f"∂Err/∂a{each}", sentence, factor)
        for each in range(layer, depth + 1)
    ]
    return [*found, _scaled(prefix, layer, name, f"the gradient of {tensor}", sentence, factor)]


def _like(factor: PowerOfN, case: Case) -> str:
    """Which size of the network the factor may come of."""
    sizes = {"D": case.trace.x.shape[1]} | {f"H{m}": len(case.trace.b[m]) for m in range(1, case.depth)}
    sizes["K"] = case.trace.z.shape[1]
    near = [
        text
        for name, size in sizes.items()
        if size > 1
        for text, value in ((name, float(size)), (f"1/{name}", 1 / size))
        if abs(abs(factor.c) - value) < 1e-9 * value
    ]
    return f" ({' or '.join(near)} here)" if near and not factor.power else ""


def _scaled(prefix: str, layer: int, name: str, where: str, sentence: str, factor: PowerOfN) -> Fault:
    text, number = f"{where} {sentence}", factor.text
    at = "" if prefix else where
    apply: Apply = lambda context: factor.of(context.trace.N)  # noqa: E731
    form = number if "/" not in number else f"({number})"
    return Fault(f"{prefix}factor", layer, name, text, apply, form, number=number, at=at)


def _added(
    prefix: str, layer: int, name: str, sentence: str, strength: PowerOfN, of: Callable[[Array], Array]
) -> Fault:
    def apply(context: Context) -> Array:
        tensor = context.trace.W[context.layer] if prefix == "weights_" else context.trace.b[context.layer]
        return strength.of(context.trace.N) * of(tensor)

    form = f" + {strength.text} " + ("{T}" if name == "regulariser" else "sign({T})")
    return Fault(prefix + "added", layer, name, sentence, apply, form, number=strength.text)


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
) -> Fault:
    at = f"{tensor}[{', '.join(map(str, place))}]"
    ones = [(float(one[place]), float(right[place])) for one, right in zip(given, numbers, strict=True)]
    ratios = [one / right for one, right in ones if right]
    what = f"it is {ones[0][0]:.9g} where {ones[0][1]:.9g} belongs"
    if all(one == 0 for one, _ in ones):
        what = "it is zero"
    elif len(ratios) == len(ones) and max(ratios) - min(ratios) <= AGREE * abs(ratios[0]):
        what = f"it is {ratios[0]:.9g} times what it should be"
    values = {id(case.trace): one for case, one in zip(cases, given, strict=True)}

    def apply(context: Context) -> Array:
        entry = np.full(values[id(context.trace)].shape, np.nan)
        entry[place] = values[id(context.trace)][place]
        return entry

    sentence = f"only the entry {at} is wrong: {what}"
    return Fault(f"{kind}_entry", layer, "one_entry", sentence, apply, number=at)
