"""The mistake in a wrong gradient of a layer, by name: which term, the right formula, a small example."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from backproof.contracts import Array
from backproof.gradcheck.courses import REFERENCES
from backproof.gradcheck.courses.reference import Gradients, Mistake
from backproof.gradcheck.layer_points import (
    NEARLY,
    SAME,
    AnyLayer,
    Match,
    Point,
    arrays,
    by_differences,
    points,
    recognized,
    same,
)

#: Draws of small integers among which the smallest example is looked for.
EXAMPLES = 300
#: No gradient of an example is larger.
LARGEST = 50


def layer_findings(layer: AnyLayer, failed: Sequence[str], name: str | None, seed: int) -> tuple[str, ...]:
    """Return what is wrong with the gradients of these tensors, as far as it has a name.

    A mistake is named only where it gives the numbers of the backward pass at every point that was tried.
    """
    with np.errstate(all="ignore"):
        known = points(layer, seed)
        if not known:
            return ()
        groups = REFERENCES.values() if name is None else [REFERENCES[name]]
        match = recognized(layer, known, [reference for group in groups for reference in group])
        if match is not None:
            rights = [_right(match, point) for point in known]
            return tuple(_of_reference(match, known, rights, failed))
        numeric = [by_differences(layer, point) for point in known]
        rights = [right for right in numeric if right is not None]
        hint = (
            "" if name is None else f"forward does not give the outputs of {name}: its mistakes were not tried"
        )
        if len(rights) < len(known):
            return (hint,) if hint else ()
        named = (_generic(tensor, known, rights, NEARLY) for tensor in failed)
        return tuple(finding for finding in [hint, *named] if finding)


def _right(match: Match, point: Point) -> Gradients:
    """Return the right gradients by the layer's own names."""
    _, cache = match.run(point.inputs)
    right = match.reference.gradients([dout.copy() for dout in point.douts], cache)
    return {theirs: np.asarray(right[name]) for name, theirs in match.names.items()}


def _of_reference(
    match: Match, known: list[Point], rights: list[Gradients], failed: Sequence[str]
) -> Iterable[str]:
    """Yield one finding for each mistake that explains some of the wrong gradients."""
    name = match.reference.name
    names = {theirs: ours for ours, theirs in match.names.items()}
    wrong = [tensor for tensor in failed if tensor in names]
    explained: dict[str, Mistake] = {}
    for mistake in match.reference.mistakes:
        given = [_wrong(mistake, match, point) for point in known]
        for tensor in wrong:
            ours = names[tensor]
            if tensor not in explained and all(ours in gradients for gradients in given):
                claims = [gradients[ours] for gradients in given]
                if _explains(
                    claims, [point.got[tensor] for point in known], [right[tensor] for right in rights]
                ):
                    explained[tensor] = mistake
    for mistake in dict.fromkeys(explained.values()):
        tensors = [tensor for tensor in wrong if explained.get(tensor) == mistake]
        first = names[tensors[0]]
        listed = ", ".join(f"d{tensor}" for tensor in tensors)
        lines = [f"{listed} of the {name}: {mistake.what}"]
        lines += [f"    right: {match.reference.formulas[names[tensor]]}" for tensor in tensors]
        lines += example(match, mistake, first)
        yield "\n".join(lines)
    for tensor in wrong:
        if tensor not in explained:
            generic = _generic(tensor, known, rights, SAME)
            formula = match.reference.formulas[names[tensor]]
            what = generic or f"d{tensor} is wrong, in no way that has a name"
            yield f"{what}\n    right ({name}): {formula}"


def _wrong(mistake: Mistake, match: Match, point: Point) -> Gradients:
    """Return the gradients with a mistake; none where its shapes do not fit."""
    _, cache = match.run(point.inputs)
    right = match.reference.gradients([dout.copy() for dout in point.douts], cache)
    try:
        return mistake.wrong(right, cache, *[dout.copy() for dout in point.douts])
    except (ValueError, IndexError):
        return {}


def _explains(claims: list[Array], got: list[Array], right: list[Array], within: float = SAME) -> bool:
    """Return whether the numbers are the claimed ones at every point, and not the right ones at all of them."""
    return all(same(a, np.asarray(b), within) for a, b in zip(got, claims, strict=True)) and not all(
        same(np.asarray(a), b, within) for a, b in zip(claims, right, strict=True)
    )


def example(match: Match, mistake: Mistake, name: str) -> list[str]:
    """Return the smallest inputs of integers found for which a mistake shows, and one entry that it changes."""
    rng = np.random.default_rng(0)
    best: tuple[float, list[str]] | None = None
    for _ in range(EXAMPLES):
        inputs = match.reference.example(rng)
        options = {key: value for key, value in match.fixed.items() if key in match.reference.options}
        try:
            out, cache = match.reference.forward(
                **{key: value.copy() for key, value in inputs.items()}, **options
            )
            douts = [rng.integers(-1, 3, array.shape).astype(np.float64) for array in arrays(out)]
            right = match.reference.gradients(douts, cache)
            wrong = np.asarray(mistake.wrong(right, cache, *douts)[name])
        except (ValueError, IndexError, KeyError):
            continue
        off = np.abs(wrong - right[name])
        size = sum(float(np.abs(value).sum()) for value in [*inputs.values(), *douts])
        # A variance of zero gives numbers of the size 1/√ε, in which nobody sees anything.
        if not np.isfinite(off).all() or not np.abs(right[name]).max() < LARGEST or off.max(initial=0) < 1e-2:
            continue
        if best is None or size < best[0]:
            at = tuple(int(i) for i in np.unravel_index(int(off.argmax()), off.shape))
            numbers = {**inputs, **{_dout(i, len(douts)): dout for i, dout in enumerate(douts)}}
            shown = ", ".join(f"{key} = {_format(value)}" for key, value in numbers.items())
            entry = f"d{name}[{', '.join(map(str, at))}]"
            best = (
                size,
                [
                    f"    example: {shown}",
                    f"    there {entry} is {right[name][at] + 0.0:.6g}, "
                    f"and with this mistake {wrong[at] + 0.0:.6g}",
                ],
            )
    return best[1] if best else []


def _dout(i: int, count: int) -> str:
    return "dout" if count == 1 else f"dout{i + 1}"


def _format(value: Array) -> str:
    """Return `[[1, 0], [2, -1]]`."""
    return str(np.asarray(value).astype(int).tolist())


def _generic(tensor: str, known: list[Point], rights: list[Gradients], within: float) -> str:
    """Return what a wrong gradient has to do with the right one, for any layer; empty if nothing."""
    got = [point.got[tensor] for point in known]
    right = [gradients[tensor] for gradients in rights]
    if not any(gradient.any() for gradient in got):
        return f"d{tensor} is zero"
    factor = _factor(got, right, within)
    if factor is not None:
        return f"d{tensor} is {_multiple(factor, known[0], tensor)}"
    tries: dict[str, list[Array]] = {
        f"d{tensor} is the right one transposed": [np.swapaxes(a, -1, -2) if a.ndim > 1 else a for a in right],
        **{
            f"d{tensor} is the right gradient of {other}": [gradients[other] for gradients in rights]
            for other in known[0].got
            if other != tensor
        },
        f"d{tensor} is the right one in the reverse order of all axes": [np.flip(a) for a in right],
        **{
            f"d{tensor} is the right one in the reverse order of axis {axis}": [np.flip(a, axis) for a in right]
            for axis in range(right[0].ndim)
        },
        **{
            f"d{tensor} is the right one summed over axis {axis}, the same everywhere along it": [
                np.broadcast_to(a.sum(axis, keepdims=True), a.shape) for a in right
            ]
            for axis in range(right[0].ndim)
        },
        **{
            f"d{tensor} is the right one averaged over axis {axis}, the same everywhere along it": [
                np.broadcast_to(a.mean(axis, keepdims=True), a.shape) for a in right
            ]
            for axis in range(right[0].ndim)
        },
    }
    for what, claims in tries.items():
        if _explains(claims, got, right, within):
            return what
    if _ignores_dout(known, rights, tensor):
        return f"d{tensor} ignores dout: it is the same for two different ones"
    return ""


def _factor(got: list[Array], right: list[Array], within: float) -> float | None:
    """Return c where got = c · right at every point."""
    size = float(sum((b * b).sum() for b in right))
    factor = float(sum((a * b).sum() for a, b in zip(got, right, strict=True))) / size if size else 0.0
    if abs(factor - 1) < 1e-4 or abs(factor) < 1e-9:
        return None
    return factor if all(same(a, factor * b, within) for a, b in zip(got, right, strict=True)) else None


def _multiple(factor: float, point: Point, tensor: str) -> str:
    """Return `minus the right one`, `2 times the right one`, `1/4 of the right one (4: axis 0 of x)`."""
    if abs(factor + 1) < 1e-6:
        return "minus the right one"
    size = factor if abs(factor) >= 1 else 1 / factor
    whole = round(size)
    if abs(size - whole) > 1e-5 * abs(size):
        return f"{factor:.6g} times the right one"
    axes = [
        f"axis {axis} of {name}"
        for name, array in point.inputs.items()
        for axis, length in enumerate(array.shape)
        if length == whole
    ]
    where = f" ({whole} is the size of {axes[0]})" if axes and whole > 2 else ""
    return (f"{whole} times the right one" if abs(factor) >= 1 else f"1/{whole} of the right one") + where


def _ignores_dout(known: list[Point], rights: list[Gradients], tensor: str) -> bool:
    """Return whether two douts at the same inputs give the same gradient, which is not the right one's way."""
    pairs = [
        (i, j)
        for i in range(len(known))
        for j in range(i + 1, len(known))
        if all(np.array_equal(known[i].inputs[name], known[j].inputs[name]) for name in known[i].inputs)
    ]
    return bool(pairs) and all(
        same(known[i].got[tensor], known[j].got[tensor]) and not same(rights[i][tensor], rights[j][tensor])
        for i, j in pairs
    )
