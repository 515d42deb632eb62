"""Faults in the last step, δ hᵀ for weights and Σ_n δ_n for biases, and in the use of the penalty."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from backproof.contracts import Array, Trace
from backproof.netcheck.diagnosis.fault import Apply, Context, Fault
from backproof.netcheck.diagnosis.faults_hidden import if_shape


def _input(substitute: Callable[[Context, Array], Array]) -> Apply:
    """Return a fault that replaces h of the layer below with another array of its shape."""

    def apply(context: Context) -> Array | None:
        h = context.trace.h[context.layer - 1]
        other = if_shape(substitute(context, h), h.shape)
        return None if other is None else context.delta.T @ other

    return apply


#: name -> sentence, form, gradient. δ is ∂Err/∂a of the layer, {in} its input.
_WEIGHTS: dict[str, tuple[str, str, Apply]] = {
    "no_gradient": ("the gradient of W{l} is zero", "0", lambda context: 0 * context.trace.W[context.layer]),
    "no_input": ("the input {in} is missing", "1", _input(lambda context, h: np.ones_like(h))),
    "pre_activation": (
        "a{m} is used instead of h{m} = φ(a{m}): the activation is missing",
        "(a{m})_n{d}",
        _input(lambda context, h: context.trace.a[context.layer - 1]),
    ),
    "phi_twice": (
        "φ(h{m}) is used instead of h{m}: φ is applied twice",
        "φ((h{m})_n{d})",
        _input(lambda context, h: context.trace.phi(h)),
    ),
    "slope_for_input": (
        "φ'(a{m}) is used instead of h{m}",
        "φ'((a{m})_n{d})",
        _input(lambda context, h: context.trace.dphi(context.trace.a[context.layer - 1])),
    ),
    "network_input": (
        "x is used instead of h{m}: the network's input, not the layer's",
        "x_n{d}",
        _input(lambda context, h: context.trace.x),
    ),
    "logits_for_input": ("z is used instead of {in}", "z_n{d}", _input(lambda context, h: context.trace.z)),
    "input_squared": ("{in}² is used instead of {in}", "{below}_n{d}²", _input(lambda context, h: h * h)),
    "input_absolute": (
        "|{in}| is used instead of {in}",
        "|{below}_n{d}|",
        _input(lambda context, h: np.abs(h)),
    ),
    "input_sign": (
        "only the sign of {in} is used",
        "sign({below}_n{d})",
        _input(lambda context, h: np.sign(h)),
    ),
    "input_centred": (
        "the mean over the samples is subtracted from {in}",
        "({below}_n{d} − Σ_n {below}_n{d} / N)",
        _input(lambda context, h: h - h.mean(0)),
    ),
    "input_of_other_samples": (
        "each sample has the input of the sample before it: ∂Err/∂a{l} and {in} are not in the same order",
        "{below}_n−1,{d}",
        _input(lambda context, h: np.roll(h, 1, 0)),
    ),
    "input_reversed": (
        "the units of {in} are in reverse order",
        "",
        _input(lambda context, h: h[:, ::-1]),
    ),
    "product_of_sums": (
        "∂Err/∂a{l} and {in} are summed over the samples separately: a product of sums",
        "(Σ_n {below}_n{d})",
        lambda context: np.outer(context.delta.sum(0), context.trace.h[context.layer - 1].sum(0)),
    ),
    "product_of_means": (
        "∂Err/∂a{l} is multiplied by the mean of {in} over the samples",
        "(Σ_n {below}_n{d} / N)",
        lambda context: np.outer(context.delta.sum(0), context.trace.h[context.layer - 1].mean(0)),
    ),
    "transposed": (
        "the gradient of W{l} is transposed",
        "",
        lambda context: if_shape(
            (context.trace.h[context.layer - 1].T @ context.delta), context.trace.W[context.layer].shape
        ),
    ),
    "reshaped": (
        "the gradient of W{l} is reshaped where it should be transposed",
        "",
        lambda context: np.reshape(
            context.trace.h[context.layer - 1].T @ context.delta, context.trace.W[context.layer].shape
        ),
    ),
    "one_added_to_input": (
        "1 is added to the input {in}, as if the bias were in W{l} too",
        "({below}_n{d} + 1)",
        _input(lambda context, h: h + 1),
    ),
    "all_units_summed": (
        "the gradient of W{l} is summed over its units: the same row for all",
        "",
        lambda context: np.repeat(
            (context.delta.T @ context.trace.h[context.layer - 1]).sum(0, keepdims=True),
            context.delta.shape[1],
            axis=0,
        ),
    ),
    "all_inputs_summed": (
        "the gradient of W{l} is summed over its inputs: the same column for all",
        "(Σ_{d} {below}_n{d})",
        lambda context: (
            context.delta.T
            @ np.repeat((h := context.trace.h[context.layer - 1]).sum(1, keepdims=True), h.shape[1], axis=1)
        ),
    ),
    "times_weights": (
        "the gradient of W{l} is multiplied by W{l}",
        "{below}_n{d} (W{l})_{h}{d}",
        lambda context: context.delta.T @ context.trace.h[context.layer - 1] * context.trace.W[context.layer],
    ),
    "delta_of_layer_above": (
        "∂Err/∂a{u} is used instead of ∂Err/∂a{l}",
        "",
        lambda context: (
            None
            if context.above is None
            else if_shape(
                context.above.T @ context.trace.h[context.layer - 1], context.trace.W[context.layer].shape
            )
        ),
    ),
}

_BIASES: dict[str, tuple[str, str, Apply]] = {
    "no_gradient": (
        "the gradient of b{l} is zero: the bias was forgotten",
        "0",
        lambda context: 0 * context.delta.sum(0),
    ),
    "times_bias": (
        "the gradient of b{l} is multiplied by b{l}",
        "(b{l})_{h}",
        lambda context: context.delta.sum(0) * context.trace.b[context.layer],
    ),
    "times_output": (
        "∂Err/∂a{l} is multiplied by the layer's output, but the input of a bias is 1",
        "{out}_n{h}",
        lambda context: (context.delta * context.trace.h.get(context.layer, context.trace.z)).sum(0),
    ),
    "times_pre_activation": (
        "∂Err/∂a{l} is multiplied by a{l}, but the input of a bias is 1",
        "(a{l})_n{h}",
        lambda context: (context.delta * context.trace.a[context.layer]).sum(0),
    ),
    "all_units_summed": (
        "the gradient of b{l} is summed over its units too: one number for all",
        "",
        lambda context: np.full_like(context.delta[0], context.delta.sum()),
    ),
    "all_units_averaged": (
        "the gradient of b{l} is averaged over its units: one number for all",
        "",
        lambda context: np.full_like(context.delta[0], context.delta.sum(0).mean()),
    ),
    "summed_over_inputs": (
        "the gradient of b{l} is that of W{l}, summed over the inputs",
        "(Σ_{d} {below}_n{d})",
        lambda context: (context.delta.T @ context.trace.h[context.layer - 1]).sum(1),
    ),
    "absolute_sum": (
        "|∂Err/∂a{l}| is summed, not ∂Err/∂a{l}",
        "",
        lambda context: np.abs(context.delta).sum(0),
    ),
    "delta_of_layer_above": (
        "∂Err/∂a{u} is used instead of ∂Err/∂a{l}",
        "",
        lambda context: (
            None if context.above is None else if_shape(context.above.sum(0), context.delta[0].shape)
        ),
    ),
}


def weight_faults(trace: Trace, layer: int) -> list[Fault]:
    """Return all faults in the gradient of a layer's W that do not come from its δ."""
    skipped = {"pre_activation", "phi_twice", "slope_for_input", "network_input"} if layer == 1 else set[str]()
    if layer == 2:
        skipped |= {"network_input"} if trace.x.shape != trace.h[1].shape else set[str]()
    W = trace.W[layer]
    if W.shape[0] != W.shape[1]:
        skipped |= {"transposed"}
    else:
        skipped |= {"reshaped"}
    faults = [
        Fault("weights", layer, name, _filled(sentence, layer), apply, form)
        for name, (sentence, form, apply) in _WEIGHTS.items()
        if name not in skipped
    ]
    below = trace.h[layer - 1]
    for other in (m for m in trace.h if m not in (0, layer - 1) and trace.h[m].shape == below.shape):
        sentence = _filled(f"h{other} is used instead of {{in}}: the output of another layer", layer)
        apply = _input(lambda context, _, other=other: context.trace.h[other])
        faults.append(Fault("weights", layer, f"input_of_layer_{other}", sentence, apply, f"(h{other})_n{{d}}"))
    return faults + _swapped("weights", "W", layer, dict(trace.W))


def bias_faults(trace: Trace, layer: int) -> list[Fault]:
    """Return all faults in the gradient of a layer's b that do not come from its δ."""
    faults = [
        Fault("biases", layer, name, _filled(sentence, layer), apply, form)
        for name, (sentence, form, apply) in _BIASES.items()
    ]
    return faults + _swapped("biases", "b", layer, dict(trace.b))


def finish_faults(kind: str, layer: int, where: str) -> list[Fault]:
    """Return faults in the finished gradient of a tensor, `where` in words; the context has it as `delta`.

    `kind` is weights or biases.
    """
    end, units = f"{kind}_end", f"{kind}_units"
    faults = [
        Fault(end, layer, name, f"{where} {sentence}", _finished(change))
        for name, (sentence, change) in _ENDS.items()
    ]
    sentence = f"{where} has its units in reverse order"
    faults.append(Fault(units, layer, "reversed", sentence, _finished(lambda g: g[::-1])))
    if kind == "weights":
        faults += [
            Fault(
                units,
                layer,
                f"{which}_input_forgotten",
                f"{where} is zero for the {which} input",
                _without_input(column),
            )
            for which, column in (("first", 0), ("last", -1))
        ]
    return faults


_ENDS: dict[str, tuple[str, Callable[[Array], Array]]] = {
    "only_signs": ("is reduced to its signs", np.sign),
    "scaled_to_norm_1": ("is scaled to norm 1", lambda g: g / (np.linalg.norm(g) or 1.0)),
    "rounded_to_float16": ("is rounded to float16", lambda g: g.astype(np.float16).astype(g.dtype)),
    "rounded_to_float32": ("is rounded to float32", lambda g: g.astype(np.float32).astype(g.dtype)),
}


def _finished(change: Callable[[Array], Array]) -> Apply:
    return lambda context: change(context.delta)


def _without_input(column: int) -> Apply:
    def apply(context: Context) -> Array:
        gradient = context.delta.copy()
        gradient[:, column] = 0
        return gradient

    return apply


def _swapped(kind: str, letter: str, layer: int, tensors: dict[int, Array]) -> list[Fault]:
    """Return the faults that use the gradient of another layer's tensor of the same shape."""
    faults: list[Fault] = []
    for other in (m for m in tensors if m != layer and tensors[m].shape == tensors[layer].shape):
        sentence = f"the gradient of {letter}{other} is used instead of that of {letter}{layer}"
        name = f"gradient_of_{letter}{other}"
        faults.append(Fault(kind, layer, name, sentence, _gradient_of(f"{letter}{other}")))
    return faults


def _gradient_of(tensor: str) -> Apply:
    return lambda context: context.expected[tensor]


def _filled(sentence: str, layer: int) -> str:
    h = "x" if layer == 1 else f"h{layer - 1}"
    parts = {"{l}": layer, "{m}": layer - 1, "{u}": layer + 1, "{in}": h}
    for key, value in parts.items():
        sentence = sentence.replace(key, str(value))
    return sentence


_PENALTIES: dict[str, tuple[str, str, Callable[[Trace], float]]] = {
    "penalty_twice": (
        "is included in the gradient of the data loss: it is added separately, so it counts twice",
        " + ∂Ω/∂{T}",
        lambda t: 1.0,
    ),
    "penalty_cancelled": (
        "is subtracted from the gradient of the data loss: it cancels what is added separately",
        " − ∂Ω/∂{T}",
        lambda t: -1.0,
    ),
    "penalty_over_N": (
        "is included in the gradient of the data loss, divided by N: it is added separately",
        " + ∂Ω/∂{T} / N",
        lambda t: 1.0 / t.N,
    ),
}


def penalty_faults(depth: int) -> list[Fault]:
    """Return faults that put the penalty's gradient, which is added separately, into that of the data loss."""
    return [
        Fault("penalty", depth, name, f"the penalty's gradient {sentence}", _share(number), form)
        for name, (sentence, form, number) in _PENALTIES.items()
    ]


def _share(number: Callable[[Trace], float]) -> Apply:
    """Return a fault that adds a multiple of the penalty's gradient to that of the loss."""
    return lambda context: number(context.trace)
