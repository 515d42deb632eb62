"""A tensor's gradient in index form, right or with mistakes in it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from backproof.netcheck.diagnosis.fault import Fault, letters


@dataclass
class _Formula:
    """The pieces of ∂Err/∂(W1)_hd = Σ_n Σ_k (p_nk − y_nk) (W2)_kh φ'((a1)_nh) x_nd / N."""

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
        product = [each for each in self.factors if each != "1"]
        parts = [before, self.samples, *(f"Σ_{each}" for each in self.sums), *product]
        return (
            ("−" if self.sign else "") + " ".join(filter(None, parts)) + division + after + "".join(self.added)
        )

    def sized(self) -> tuple[str, str, str]:
        """What stands before the sums and behind, and the division by N."""
        sizes = list(self.sizes)
        division = " / N"
        for given, other in (("N", ""), ("1/N", " / N²"), ("1/K", " / (N K)"), ("N/(N−1)", " / (N − 1)")):
            if given in sizes:
                sizes.remove(given)
                division = other
                break
        return " ".join(sizes), "", division


def formula(tensor: str, depth: int, mistakes: Iterable[Fault] = (), seed: str = "(p_n{k} − y_n{k})") -> str:
    """The formula of a tensor's gradient; empty where a mistake in it has no index form.

    seed   N ∂Err/∂z in index form, {k} for the letter of the outputs
    """
    made = sorted(mistakes, key=lambda each: each.order)
    if any(not each.form for each in made):
        return ""
    layer, own = int(tensor[1:]), {each.place: each for each in made}
    names = dict(letters(depth))
    out, into = names[layer], names[layer - 1]
    left = f"∂Err/∂({tensor})_{out}" + (into if tensor[0] == "W" else "")
    units = {each.unit[0]: str(each.unit[1]) for each in made if each.unit}
    result = _Formula(sums=[names[each] for each in range(depth, layer, -1) if each not in units])
    names |= units
    if "samples" in {each.kind for each in made}:
        result.samples = own["samples", depth].form
    start = own["seed", depth].form if ("seed", depth) in own else seed
    if ("classes", depth) in own:
        start = f"{own['classes', depth].form} {start}"
    result.factors.append(_filled(start, names, depth))
    for below in range(depth - 1, layer - 1, -1):
        _back(result, own, names, below)
    for each in made:
        if each.kind == "sign":
            result.sign = not result.sign
        elif each.kind in ("mean", "size", "factor"):
            result.sizes.append(each.form)
    _last(result, tensor, own, names)
    for each in made:
        if each.kind == "penalty" or each.kind.endswith("_added"):
            result.added.append(
                each.form.replace("{T}", f"({tensor})_{out}" + (into if tensor[0] == "W" else ""))
            )
    return f"{left} = {result.text()}"


def _back(result: _Formula, own: dict[tuple[str, int], Fault], names: dict[int, str], layer: int) -> None:
    """The W and the φ' through which ∂Err/∂a of a layer comes."""
    back = own[("back", layer)].form if ("back", layer) in own else "(W{u})_{k}{h}"
    slope = own[("slope", layer)].form if ("slope", layer) in own else "φ'((a{l})_n{h})"
    result.factors += [_filled(back, names, layer), _filled(slope, names, layer)]
    if back == "0":
        result.whole = "0"


def _last(result: _Formula, tensor: str, own: dict[tuple[str, int], Fault], names: dict[int, str]) -> None:
    """The input of the tensor, and what is wrong with this tensor alone."""
    layer = int(tensor[1:])
    kind = "weights" if tensor[0] == "W" else "biases"
    if (kind, layer) in own:
        form = own[kind, layer].form
        result.factors.append(_filled(form, names, layer))
        result.whole = "0" if form == "0" else result.whole
    elif tensor[0] == "W":
        result.factors.append(_filled("{below}_n{d}", names, layer))
    if (f"{kind}_samples", layer) in own:
        result.samples = own[f"{kind}_samples", layer].form
    if (f"{kind}_sign", layer) in own:
        result.sign = not result.sign
    for part in ("mean", "size", "factor"):
        if (f"{kind}_{part}", layer) in own:
            result.sizes.append(own[f"{kind}_{part}", layer].form)


def _filled(form: str, names: dict[int, str], layer: int) -> str:
    """A piece with its letters: {h} of the layer's units, {k} of those above, {d} of those below."""
    top = max(names)
    values = {
        "l": str(layer),
        "m": str(layer - 1),
        "u": str(layer + 1),
        "h": names[layer],
        "k": names[min(layer + 1, top)],
        "d": names[max(layer - 1, 0)],
        "below": "x" if layer == 1 else f"(h{layer - 1})",
        "own": "z" if layer == top else f"(h{layer})",
    }
    for key, value in values.items():
        form = form.replace("{" + key + "}", value)
    return form
