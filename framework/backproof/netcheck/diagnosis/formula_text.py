"""The gradient of a tensor in index form, right or with mistakes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from backproof.netcheck.diagnosis.fault import Fault, letters


@dataclass
class _Formula:
    """The parts of ∂Err/∂(W1)_hd = Σ_n Σ_k (p_nk − y_nk) (W2)_kh φ'((a1)_nh) x_nd / N."""

    samples: str = "Σ_n"
    sums: list[str] = field(default_factory=list[str])
    factors: list[str] = field(default_factory=list[str])
    whole: str = ""
    sign: bool = False
    sizes: list[str] = field(default_factory=list[str])
    added: list[str] = field(default_factory=list[str])

    def text(self) -> str:
        if self.whole:
            return self.whole + "".join(self.added)
        before, after, division = self.sized()
        product = [factor for factor in self.factors if factor != "1"]
        parts = [before, self.samples, *(f"Σ_{letter}" for letter in self.sums), *product]
        return (
            ("−" if self.sign else "") + " ".join(filter(None, parts)) + division + after + "".join(self.added)
        )

    def sized(self) -> tuple[str, str, str]:
        """Return the factors before the sums, those after them, and the division by N."""
        sizes = list(self.sizes)
        division = " / N"
        for size, text in (("N", ""), ("1/N", " / N²"), ("1/K", " / (N K)"), ("N/(N−1)", " / (N − 1)")):
            if size in sizes:
                sizes.remove(size)
                division = text
                break
        return " ".join(sizes), "", division


def formula(tensor: str, depth: int, mistakes: Iterable[Fault] = (), seed: str = "(p_n{k} − y_n{k})") -> str:
    """Return the formula of a tensor's gradient; empty if a mistake in it has no index form.

    seed   N ∂Err/∂z in index form, with {k} as the letter of the outputs
    """
    faults = sorted(mistakes, key=lambda fault: fault.order)
    if any(not fault.form for fault in faults):
        return ""
    layer, by_step = int(tensor[1:]), {fault.step: fault for fault in faults}
    names = dict(letters(depth))
    out, into = names[layer], names[layer - 1]
    left_side = f"∂Err/∂({tensor})_{out}" + (into if tensor[0] == "W" else "")
    units = {fault.unit[0]: str(fault.unit[1]) for fault in faults if fault.unit}
    result = _Formula(sums=[names[upper] for upper in range(depth, layer, -1) if upper not in units])
    names |= units
    if ("samples", depth) in by_step:
        result.samples = by_step["samples", depth].form
    start = by_step["seed", depth].form if ("seed", depth) in by_step else seed
    if ("classes", depth) in by_step:
        start = f"{by_step['classes', depth].form} {start}"
    result.factors.append(_filled(start, names, depth))
    for below in range(depth - 1, layer - 1, -1):
        _back(result, by_step, names, below)
    for fault in faults:
        if fault.kind == "sign":
            result.sign = not result.sign
        elif fault.kind in ("mean", "size", "factor"):
            result.sizes.append(fault.form)
    _last(result, tensor, by_step, names)
    entry = f"({tensor})_{out}" + (into if tensor[0] == "W" else "")
    for fault in faults:
        if fault.kind == "penalty" or fault.kind.endswith("_added"):
            result.added.append(fault.form.replace("{T}", entry))
    return f"{left_side} = {result.text()}"


def _back(result: _Formula, by_step: dict[tuple[str, int], Fault], names: dict[int, str], layer: int) -> None:
    """Add the factors W and φ' of the step down to ∂Err/∂a of a layer."""
    back = by_step[("back", layer)].form if ("back", layer) in by_step else "(W{u})_{k}{h}"
    slope = by_step[("slope", layer)].form if ("slope", layer) in by_step else "φ'((a{l})_n{h})"
    result.factors += [_filled(back, names, layer), _filled(slope, names, layer)]
    if back == "0":
        result.whole = "0"


def _last(result: _Formula, tensor: str, by_step: dict[tuple[str, int], Fault], names: dict[int, str]) -> None:
    """Add the layer's input, and the mistakes in this tensor alone."""
    layer = int(tensor[1:])
    kind = "weights" if tensor[0] == "W" else "biases"
    if (kind, layer) in by_step:
        form = by_step[kind, layer].form
        result.factors.append(_filled(form, names, layer))
        result.whole = "0" if form == "0" else result.whole
    elif tensor[0] == "W":
        result.factors.append(_filled("{below}_n{d}", names, layer))
    if (f"{kind}_samples", layer) in by_step:
        result.samples = by_step[f"{kind}_samples", layer].form
    if (f"{kind}_sign", layer) in by_step:
        result.sign = not result.sign
    for part in ("mean", "size", "factor"):
        if (f"{kind}_{part}", layer) in by_step:
            result.sizes.append(by_step[f"{kind}_{part}", layer].form)


def _filled(form: str, names: dict[int, str], layer: int) -> str:
    """Fill in the index letters: {h} of the layer's units, {k} of the layer above, {d} of the layer below."""
    top = max(names)
    values = {
        "l": str(layer),
        "m": str(layer - 1),
        "u": str(layer + 1),
        "h": names[layer],
        "k": names[min(layer + 1, top)],
        "d": names[max(layer - 1, 0)],
        "below": "x" if layer == 1 else f"(h{layer - 1})",
        "out": "z" if layer == top else f"(h{layer})",
    }
    for key, value in values.items():
        form = form.replace("{" + key + "}", value)
    return form
