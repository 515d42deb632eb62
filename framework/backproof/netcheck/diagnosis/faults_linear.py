"""Mistakes that are linear in a number: how much the labels are smoothed, how leaky a slope is, how long a step."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from backproof.contracts import Array
from backproof.netcheck.diagnosis.case import Case
from backproof.netcheck.diagnosis.fault import Context, Fault
from backproof.netcheck.diagnosis.fitted import common

#: The mistake with its number.
Line = Callable[[float], Fault]


def lines(layer: int, depth: int) -> list[Line]:
    """Those that can be made at a layer."""
    of = [_smoothed, _scaled] if layer == depth else [_leaky, _below_zero, _raised, _after_step]
    return [lambda c, line=line: line(c, layer) for line in of]


def on_line(tensor: str, cases: Sequence[Case], start: Sequence[Array], moved: Sequence[Array]) -> float | None:
    """The number for which a tensor's gradients go from `start` (0) past `moved` (1) to those given."""
    gaps = [case.given[tensor] - each for case, each in zip(cases, start, strict=True)]
    return common(gaps, [one - other for one, other in zip(moved, start, strict=True)])


def _smoothed(c: float, layer: int) -> Fault:
    def apply(here: Context) -> Array:
        t = here.trace
        return t.dloss() + c * (t.y - 1 / t.y.shape[1]) / t.N

    says = f"the targets are smoothed by {c:.6g} in the gradient, and not in the loss"
    form = f"(p_n{{k}} − {1 - c:.6g} y_n{{k}} − {c:.6g} / K)"
    return Fault("seed", layer, "labels_smoothed", says, apply, form, number=f"{c:.6g}")


def _scaled(c: float, layer: int) -> Fault:
    def apply(here: Context) -> Array:
        return here.trace.dloss() - c * here.trace.y / here.trace.N

    says = f"the targets are multiplied by {1 + c:.6g} in the gradient, and not in the loss"
    form = f"(p_n{{k}} − {1 + c:.6g} y_n{{k}})"
    return Fault("seed", layer, "targets_scaled", says, apply, form, number=f"{c:.6g}")


def _leaky(c: float, layer: int) -> Fault:
    def apply(here: Context) -> Array:
        a = here.trace.a[here.layer]
        return here.trace.dphi(a) + c * (a <= 0)

    says = f"the slope is {c:.6g} too large at a{layer} ≤ 0, as if φ were leaky there"
    form = f"(φ'((a{{l}})_n{{h}}) + {c:.6g} [(a{{l}})_n{{h}} ≤ 0])"
    return Fault("slope", layer, "leaky_slope", says, apply, form, number=f"{c:.6g}")


def _below_zero(c: float, layer: int) -> Fault:
    def apply(here: Context) -> Array:
        a = here.trace.a[here.layer]
        return here.trace.dphi(a) * (1 + c * (a <= 0))

    says = f"the slope is {1 + c:.6g} times what it should be at a{layer} ≤ 0, and right above"
    form = f"φ'((a{{l}})_n{{h}}) (1 + {c:.6g} [(a{{l}})_n{{h}} ≤ 0])"
    return Fault("slope", layer, "slope_below_zero", says, apply, form, number=f"{c:.6g}")


def _raised(c: float, layer: int) -> Fault:
    def apply(here: Context) -> Array:
        return here.trace.dphi(here.trace.a[here.layer]) + c

    says = f"{c:.6g} is added to the slope φ'(a{layer})"
    form = f"(φ'((a{{l}})_n{{h}}) + {c:.6g})"
    return Fault("slope", layer, "slope_raised", says, apply, form, number=f"{c:.6g}")


def _after_step(c: float, layer: int) -> Fault:
    def apply(here: Context) -> Array:
        up = here.layer + 1
        step = np.asarray(here.delta.T @ here.trace.h[here.layer])
        return here.delta @ (here.trace.W[up] - c * step)

    says = f"W{layer + 1} stands there as it is after its own step, of size {c:.6g}: it was updated too early"
    return Fault("back", layer, "weights_after_step", says, apply, number=f"{c:.6g}")
