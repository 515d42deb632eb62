"""Faults that are linear in an unknown number: the amount of label smoothing, a leaky slope, a step size."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from backproof.contracts import Array
from backproof.netcheck.diagnosis.case import Case
from backproof.netcheck.diagnosis.fault import Context, Fault
from backproof.netcheck.diagnosis.fitted import common_factor

#: Return the fault for one value of its number.
LinearFault = Callable[[float], Fault]


def linear_faults(layer: int, depth: int) -> list[LinearFault]:
    """Return the faults that can be made at a layer."""
    makers = [_smoothed, _scaled] if layer == depth else [_leaky, _below_zero, _raised, _after_step]
    return [lambda c, make=make: make(c, layer) for make in makers]


def fit_number(
    tensor: str, cases: Sequence[Case], at_zero: Sequence[Array], at_one: Sequence[Array]
) -> float | None:
    """Return the number that gives the derivation's gradients of a tensor, from those at 0 and at 1, if any."""
    gaps = [case.gradients[tensor] - gradient for case, gradient in zip(cases, at_zero, strict=True)]
    return common_factor(gaps, [one - zero for one, zero in zip(at_one, at_zero, strict=True)])


def _smoothed(c: float, layer: int) -> Fault:
    def apply(context: Context) -> Array:
        t = context.trace
        return t.dloss() + c * (t.y - 1 / t.y.shape[1]) / t.N

    sentence = f"the targets are smoothed by {c:.6g} in the gradient, but not in the loss"
    form = f"(p_n{{k}} − {1 - c:.6g} y_n{{k}} − {c:.6g} / K)"
    return Fault("seed", layer, "labels_smoothed", sentence, apply, form, number=f"{c:.6g}")


def _scaled(c: float, layer: int) -> Fault:
    def apply(context: Context) -> Array:
        return context.trace.dloss() - c * context.trace.y / context.trace.N

    sentence = f"the targets are multiplied by {1 + c:.6g} in the gradient, but not in the loss"
    form = f"(p_n{{k}} − {1 + c:.6g} y_n{{k}})"
    return Fault("seed", layer, "targets_scaled", sentence, apply, form, number=f"{c:.6g}")


def _leaky(c: float, layer: int) -> Fault:
    def apply(context: Context) -> Array:
        a = context.trace.a[context.layer]
        return context.trace.dphi(a) + c * (a <= 0)

    sentence = f"the slope is {c:.6g} too large at a{layer} ≤ 0, as if φ were leaky there"
    form = f"(φ'((a{{l}})_n{{h}}) + {c:.6g} [(a{{l}})_n{{h}} ≤ 0])"
    return Fault("slope", layer, "leaky_slope", sentence, apply, form, number=f"{c:.6g}")


def _below_zero(c: float, layer: int) -> Fault:
    def apply(context: Context) -> Array:
        a = context.trace.a[context.layer]
        return context.trace.dphi(a) * (1 + c * (a <= 0))

    sentence = f"the slope is {1 + c:.6g} times what it should be at a{layer} ≤ 0, and right above"
    form = f"φ'((a{{l}})_n{{h}}) (1 + {c:.6g} [(a{{l}})_n{{h}} ≤ 0])"
    return Fault("slope", layer, "slope_below_zero", sentence, apply, form, number=f"{c:.6g}")


def _raised(c: float, layer: int) -> Fault:
    def apply(context: Context) -> Array:
        return context.trace.dphi(context.trace.a[context.layer]) + c

    sentence = f"{c:.6g} is added to the slope φ'(a{layer})"
    form = f"(φ'((a{{l}})_n{{h}}) + {c:.6g})"
    return Fault("slope", layer, "slope_raised", sentence, apply, form, number=f"{c:.6g}")


def _after_step(c: float, layer: int) -> Fault:
    def apply(context: Context) -> Array:
        up = context.layer + 1
        step = np.asarray(context.delta.T @ context.trace.h[context.layer])
        return context.delta @ (context.trace.W[up] - c * step)

    sentence = f"W{layer + 1} is used after its update, with step size {c:.6g}: it was updated too early"
    return Fault("back", layer, "weights_after_step", sentence, apply, number=f"{c:.6g}")
