"""Faults with an unknown number, which is fitted and must be the same in every case."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from backproof.contracts import Array
from backproof.netcheck.diagnosis.case import Case, same
from backproof.netcheck.diagnosis.fault import Apply, Context, Fault
from backproof.netcheck.diagnosis.faults_postprocess import clipping_faults, norm_faults

#: How well the fitted numbers of the cases must agree.
AGREEMENT = 1e-6
#: A term smaller than this fraction of the largest is rounding.
ROUNDING = 1e-12


@dataclass(frozen=True)
class PowerOfN:
    """c N^power: a number that is the same in every case, or depends on its number of samples."""

    c: float
    power: float = 0.0

    def value(self, N: int) -> float:
        """Return c N^power for N samples."""
        return self.c * float(N) ** self.power

    @property
    def text(self) -> str:
        """Return `1.0005`, `0.02 / N`, `√N`."""
        c = f"{self.c:.9g}"
        if not self.power:
            return c
        size = abs(self.power)
        N = {0.5: "√N", 1.0: "N"}.get(size, f"N^{size:.6g}")
        if self.power < 0:
            return f"{c} / {N}"
        return N if c == "1" else f"{c} {N}"


def fitted_faults(tensor: str, cases: Sequence[Case], numbers: Sequence[Array]) -> list[Fault]:
    """Return the faults that turn `numbers`, a tensor's gradient in each case, into the derivation's gradients."""
    faults: list[Fault] = []
    gradients = [case.gradients[tensor] for case in cases]
    factor = common_scale(cases, gradients, numbers)
    if factor is not None and abs(factor.c) > AGREEMENT:
        faults += _factor_faults(tensor, factor, cases[0])
    gaps = [gradient - array for gradient, array in zip(gradients, numbers, strict=True)]
    layer, letter = int(tensor[1:]), tensor[0]
    tensors = [(case.trace.W if letter == "W" else case.trace.b)[layer] for case in cases]
    name, prefix = ("weights", "weights_") if letter == "W" else ("biases", "biases_")
    strength = common_scale(cases, gaps, tensors)
    if strength is not None:
        sentence = f"{strength.text} times the tensor itself is added, as a regulariser would"
        faults.append(_added_term(prefix, layer, "regulariser", sentence, strength, lambda values: values))
    strength = common_scale(cases, gaps, [np.sign(values) for values in tensors])
    if strength is not None:
        sentence = f"{strength.text} times the sign of the tensor is added, as a regulariser would"
        faults.append(_added_term(prefix, layer, "sign_regulariser", sentence, strength, np.sign))
    index = _single_wrong_entry(gradients, gaps)
    if index is not None:
        faults.append(_entry_fault(tensor, name, layer, index, cases, gradients, numbers))
    return [*faults, *clipping_faults(tensor, cases, numbers), *norm_faults(tensor, cases, numbers)]


def may_be_fitted(tensor: str, case: Case, numbers: Array) -> bool:
    """Return whether one of `fitted_faults` is possible in one case: a cheap test that most gradients fail."""
    gradient = case.gradients[tensor]
    values = (case.trace.W if tensor[0] == "W" else case.trace.b)[int(tensor[1:])]
    gap = gradient - numbers
    return (
        any(is_parallel(*pair) for pair in ((gradient, numbers), (gap, values), (gap, np.sign(values))))
        or _single_wrong_entry([gradient], [gap]) is not None
        or same(gradient, np.clip(numbers, gradient.min(), gradient.max()))
    )


def is_parallel(array: Array, other: Array) -> bool:
    """Return whether `array` is a multiple of `other`, or `other` is negligible."""
    if not (np.isfinite(array).all() and np.isfinite(other).all()):
        return False
    size = float(np.vdot(other, other))
    if size <= ROUNDING**2 * float(np.vdot(array, array)) or not size:
        return True
    multiple = float(np.vdot(other, array)) / size * other
    return same(array, multiple) or bool(np.allclose(array, multiple, 1e-6))


def common_factor(arrays: Sequence[Array], terms: Sequence[Array]) -> float | None:
    """Return the number c with array = c · term in every case, if there is one."""
    ratios = _ratios(arrays, terms)
    if len(ratios) < 2:
        return None
    c = ratios[0][1]
    if not c or max(abs(ratio - c) for _, ratio in ratios) > AGREEMENT * abs(c):
        return None
    return c if _fits(arrays, terms, [c] * len(arrays)) else None


def common_scale(cases: Sequence[Case], arrays: Sequence[Array], terms: Sequence[Array]) -> PowerOfN | None:
    """Return c N^power with array = c N^power · term in every case, if there is one."""
    c = common_factor(arrays, terms)
    if c is not None:
        return PowerOfN(c)
    ratios = _ratios(arrays, terms)
    N = [float(case.trace.N) for case in cases]
    signs = {np.sign(ratio) for _, ratio in ratios}
    # Two numbers are fitted: three cases with different numbers of samples are needed to test the fit.
    if len({N[i] for i, _ in ratios}) < 3 or len(signs) > 1 or 0.0 in signs:
        return None
    sizes = np.log([abs(ratio) for _, ratio in ratios])
    power, intercept = np.polyfit(np.log([N[i] for i, _ in ratios]), sizes, 1)
    power = round(float(power), 6)
    result = PowerOfN(float(signs.pop()) * float(f"{np.exp(intercept):.9g}"), power)
    # Other powers arise by chance, or from something else that grows with N.
    if 2 * power not in (-4, -2, -1, 1, 2, 4):
        return None
    return result if _fits(arrays, terms, [result.value(case.trace.N) for case in cases]) else None


def _ratios(arrays: Sequence[Array], terms: Sequence[Array]) -> list[tuple[int, float]]:
    """Return (index of the case, factor from term to array) for each case that determines a factor."""
    sizes = [float(np.vdot(term, term)) for term in terms]
    # A term that is only rounding, for example with equally many samples of each class, determines nothing.
    smallest = ROUNDING**2 * max(sizes)
    triples = enumerate(zip(arrays, terms, sizes, strict=True))
    return [(i, float(np.vdot(term, array)) / size) for i, (array, term, size) in triples if size > smallest]


def _fits(arrays: Sequence[Array], terms: Sequence[Array], factors: Sequence[float]) -> bool:
    # The factors are tested in all cases: in a single case a tensor with one entry is a multiple of any other.
    return all(
        same(array, c * term) or np.allclose(array, c * term, 1e-6)
        for array, term, c in zip(arrays, terms, factors, strict=True)
    )


def _factor_faults(tensor: str, factor: PowerOfN, case: Case) -> list[Fault]:
    """Return an unknown factor in the tensor alone, in δ of its layer, or in δ of a layer above."""
    layer, depth = int(tensor[1:]), case.depth
    prefix = "weights_" if tensor[0] == "W" else "biases_"
    name = "power_of_N" if factor.power else "constant_factor"
    sentence = f"is {factor.text} times what it should be, at every point{_matching_size(factor, case)}"
    faults = [
        _scaled("", upper, name, "∂Err/∂z" if upper == depth else f"∂Err/∂a{upper}", sentence, factor)
        for upper in range(layer, depth + 1)
    ]
    return [*faults, _scaled(prefix, layer, name, f"the gradient of {tensor}", sentence, factor)]


def _matching_size(factor: PowerOfN, case: Case) -> str:
    """Return which size of the network the factor equals, in parentheses; nothing if none."""
    sizes = {"D": case.trace.x.shape[1]} | {f"H{m}": len(case.trace.b[m]) for m in range(1, case.depth)}
    sizes["K"] = case.trace.z.shape[1]
    matches = [
        text
        for name, size in sizes.items()
        if size > 1
        for text, value in ((name, float(size)), (f"1/{name}", 1 / size))
        if abs(abs(factor.c) - value) < 1e-9 * value
    ]
    return f" ({' or '.join(matches)} here)" if matches and not factor.power else ""


def _scaled(prefix: str, layer: int, name: str, where: str, sentence: str, factor: PowerOfN) -> Fault:
    text, number = f"{where} {sentence}", factor.text
    at = "" if prefix else where
    apply: Apply = lambda context: factor.value(context.trace.N)  # noqa: E731
    form = number if "/" not in number else f"({number})"
    return Fault(f"{prefix}factor", layer, name, text, apply, form, number=number, at=at)


def _added_term(
    prefix: str, layer: int, name: str, sentence: str, strength: PowerOfN, of: Callable[[Array], Array]
) -> Fault:
    def apply(context: Context) -> Array:
        tensor = context.trace.W[context.layer] if prefix == "weights_" else context.trace.b[context.layer]
        return strength.value(context.trace.N) * of(tensor)

    form = f" + {strength.text} " + ("{T}" if name == "regulariser" else "sign({T})")
    return Fault(prefix + "added", layer, name, sentence, apply, form, number=strength.text)


def _single_wrong_entry(gradients: Sequence[Array], gaps: Sequence[Array]) -> tuple[int, ...] | None:
    """Return the index of the only wrong entry of a larger tensor, if it is the same in every case."""
    wrong: set[tuple[int, ...]] = set()
    for gradient, gap in zip(gradients, gaps, strict=True):
        if gap.size < 2 or not np.isfinite(gap).all():
            return None
        size = max(float(np.abs(gradient).max()), float(np.abs(gap).max()))
        indices = np.argwhere(np.abs(gap) > 1e-9 * size)
        if len(indices) > 1:
            return None
        wrong |= {tuple(int(i) for i in index) for index in indices}
    return wrong.pop() if len(wrong) == 1 else None


def _entry_fault(
    tensor: str,
    kind: str,
    layer: int,
    index: tuple[int, ...],
    cases: Sequence[Case],
    gradients: Sequence[Array],
    numbers: Sequence[Array],
) -> Fault:
    at = f"{tensor}[{', '.join(map(str, index))}]"
    entries = [
        (float(gradient[index]), float(right[index]))
        for gradient, right in zip(gradients, numbers, strict=True)
    ]
    ratios = [entry / right for entry, right in entries if right]
    error = f"it is {entries[0][0]:.9g} instead of {entries[0][1]:.9g}"
    if all(entry == 0 for entry, _ in entries):
        error = "it is zero"
    elif len(ratios) == len(entries) and max(ratios) - min(ratios) <= AGREEMENT * abs(ratios[0]):
        error = f"it is {ratios[0]:.9g} times what it should be"
    values = {id(case.trace): gradient for case, gradient in zip(cases, gradients, strict=True)}

    def apply(context: Context) -> Array:
        entry = np.full(values[id(context.trace)].shape, np.nan)
        entry[index] = values[id(context.trace)][index]
        return entry

    sentence = f"only the entry {at} is wrong: {error}"
    return Fault(f"{kind}_entry", layer, "one_entry", sentence, apply, number=at)
