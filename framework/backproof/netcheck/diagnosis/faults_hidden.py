"""Faults between the layers: in ∂Err/∂h and in φ'."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from backproof.contracts import Array, Trace
from backproof.netcheck.diagnosis.fault import Apply, Context, Fault, letters
from backproof.netcheck.diagnosis.faults_output import candidate_units


def if_shape(array: Array, shape: tuple[int, ...]) -> Array | None:
    """Return the array if it has the shape, else None."""
    return array if array.shape == shape else None


def back_faults(trace: Trace, layer: int, depth: int) -> list[Fault]:
    """Return all faults in ∂Err/∂h of a hidden layer, Σ_k δ_k W_kh with δ and W of the layer above."""
    up, W = layer + 1, trace.W[layer + 1]
    count, below = W.shape
    k = letters(depth)[up]

    def mistake(name: str, sentence: str, apply: Apply, form: str = "") -> Fault:
        return Fault("back", layer, name, sentence, apply, form)

    faults = [
        mistake(
            "nothing_comes_back",
            f"nothing is propagated back to h{layer}",
            lambda context: 0 * (context.delta @ weights_above(context)),
            "0",
        ),
        mistake(
            "no_weights",
            f"W{up} is missing in ∂Err/∂h{layer}",
            lambda context: np.repeat(
                context.delta.sum(1, keepdims=True), weights_above(context).shape[1], axis=1
            ),
            "1",
        ),
        mistake(
            "product_of_sums",
            f"Σ_{k} is taken of ∂Err/∂a{up} and of W{up} separately: a product of sums, not a sum of products",
            lambda context: context.delta.sum(1, keepdims=True) * weights_above(context).sum(0),
            "(Σ_{k} (W{u})_{k}{h})",
        ),
        mistake(
            "mean_over_units",
            f"the sum over {k} is divided by its {count} terms",
            lambda context: context.delta @ weights_above(context) / weights_above(context).shape[0],
            "(W{u})_{k}{h} / " + str(count),
        ),
        mistake(
            "samples_averaged",
            f"∂Err/∂a{up} is averaged over the samples before it is propagated back to h{layer}",
            lambda context: (
                np.repeat(context.delta.mean(0, keepdims=True), context.trace.N, axis=0)
                @ weights_above(context)
            ),
        ),
        mistake(
            "absolute_weights",
            f"|W{up}| is used instead of W{up}",
            lambda context: context.delta @ np.abs(weights_above(context)),
            "|(W{u})_{k}{h}|",
        ),
        mistake(
            "weights_squared",
            f"W{up}² is used instead of W{up}",
            lambda context: context.delta @ weights_above(context) ** 2,
            "(W{u})_{k}{h}²",
        ),
    ]
    for name, units, form in (
        ("last_unit_dropped", slice(0, -1), "[{k} < " + str(count - 1) + "]"),
        ("first_unit_dropped", slice(1, None), "[{k} > 0]"),
    ):
        sentence = f"the {name.split('_')[0]} of the {count} terms of Σ_{k} is left out"
        faults.append(mistake(name, sentence, _some_units(units), form + " (W{u})_{k}{h}"))
    if count > 1:
        sentence = f"the units of W{up} are in reverse order in ∂Err/∂h{layer}"
        faults.append(
            mistake("weights_reversed", sentence, lambda context: context.delta @ weights_above(context)[::-1])
        )
    if count > 1 and below > 1 and count != below:
        sentence = f"W{up} is reshaped where it should be transposed"
        faults.append(
            mistake(
                "weights_reshaped",
                sentence,
                lambda context: context.delta @ weights_above(context).T.reshape(weights_above(context).shape),
            )
        )
    sentence = f"b{up} is added to W{up} in ∂Err/∂h{layer}"
    faults.append(mistake("bias_added_to_weights", sentence, _with_bias, "((W{u})_{k}{h} + (b{u})_{k})"))
    for unit in candidate_units(count) if count > 1 else []:
        which = f"output {unit}" if up == depth else f"unit {unit} of layer {up}"
        sentence = f"Σ_{k} is missing: only {which} is propagated back to h{layer}, not the sum over all"
        faults.append(
            Fault("back", layer, f"only_unit_{unit}", sentence, _one_unit(unit), "(W{u})_{k}{h}", (up, unit))
        )
    if up == depth and count > 1:
        sentence = f"Σ_{k} is missing: only the true class is propagated back to h{layer}"
        faults.append(mistake("only_true_class", sentence, _true_class, "y_n{k} (W{u})_{k}{h}"))
    if count == below:
        sentence = f"W{up} has the wrong orientation in ∂Err/∂h{layer}: its transpose is used"
        faults.append(
            mistake(
                "weights_transposed",
                sentence,
                lambda context: context.delta @ weights_above(context).T,
                "(W{u})_{h}{k}",
            )
        )
    for other in (m for m in trace.W if m != up):
        name, sentence = f"weights_of_layer_{other}", f"W{other} is used instead of W{up}"
        if trace.W[other].shape == W.shape:
            faults.append(mistake(name, sentence, _other_weights(other), f"(W{other})_{{k}}{{h}}"))
        if trace.W[other].T.shape == W.shape:
            sentence = f"W{other}, transposed, is used instead of W{up}"
            apply = _other_weights(other, transposed=True)
            faults.append(mistake(name + "_transposed", sentence, apply, f"(W{other})_{{h}}{{k}}"))
    return faults + _skips(trace, layer, depth)


def weights_above(context: Context) -> Array:
    """Return the weights of the layer above."""
    return context.trace.W[context.layer + 1]


def _true_class(context: Context) -> Array:
    return (context.delta * context.trace.y) @ weights_above(context)


def _with_bias(context: Context) -> Array:
    return context.delta @ (weights_above(context) + context.trace.b[context.layer + 1][:, None])


def _some_units(units: slice) -> Apply:
    return lambda context: context.delta[:, units] @ weights_above(context)[units]


def _one_unit(unit: int) -> Apply:
    return lambda context: context.delta[:, unit : unit + 1] * weights_above(context)[unit]


def _other_weights(other: int, *, transposed: bool = False) -> Apply:
    def apply(context: Context) -> Array:
        W = context.trace.W[other]
        return context.delta @ (W.T if transposed else W)

    return apply


def _skips(trace: Trace, layer: int, depth: int) -> list[Fault]:
    """Return the faults that skip a layer, if the shapes allow it."""
    faults: list[Fault] = []
    up, two = layer + 1, layer + 2
    if two > depth:
        return faults
    if trace.b[two].shape == trace.b[up].shape:
        sentence = f"∂Err/∂a{two} is used instead of ∂Err/∂a{up}: one layer too high"
        faults.append(Fault("back", layer, "delta_of_layer_above", sentence, _from_above))
    if trace.b[up].shape == trace.b[layer].shape:
        sentence = f"layer {up} is skipped: ∂Err/∂h{up} is used instead of ∂Err/∂h{layer}"
        faults.append(Fault("back", layer, "layer_skipped", sentence, _skip))
    return faults


def _from_above(context: Context) -> Array | None:
    return None if context.above is None else context.above @ weights_above(context)


def _skip(context: Context) -> Array | None:
    return None if context.above is None else context.above @ context.trace.W[context.layer + 2]


def _at(argument: Callable[[Trace, int], Array]) -> Apply:
    """Return a fault that evaluates φ' at another array, if it has the shape of a."""

    def apply(context: Context) -> Array | None:
        array = if_shape(argument(context.trace, context.layer), context.trace.a[context.layer].shape)
        return None if array is None else context.trace.dphi(np.ascontiguousarray(array))

    return apply


def _is(values: Callable[[Array, Array], Array]) -> Apply:
    """Return a fault that replaces φ'(a) with another function of a and h."""

    def apply(context: Context) -> Array:
        with np.errstate(all="ignore"):
            return values(context.trace.a[context.layer], context.trace.h[context.layer])

    return apply


def _times_slope(values: Callable[[Array, Trace, int], Array]) -> Apply:
    def apply(context: Context) -> Array:
        with np.errstate(all="ignore"):
            return values(context.trace.dphi(context.trace.a[context.layer]), context.trace, context.layer)

    return apply


def _sigmoid(a: Array) -> Array:
    return 1 / (1 + np.exp(-a))


def _for_each_sample(array: Array, trace: Trace) -> Array:
    """Repeat an array for every sample."""
    return np.repeat(array[None], trace.N, axis=0)


def _summand(context: Context, *, bias: bool) -> Array:
    """Return φ' at W_hd x_d + b_h, (N, H, D): a slope for each d."""
    trace, layer = context.trace, context.layer
    single = trace.W[layer][None] * trace.h[layer - 1][:, None, :]
    return trace.dphi(single + trace.b[layer][None, :, None] if bias else single)


#: name -> sentence, form, what is used instead of φ'(a)
_SLOPES: dict[str, tuple[str, str, Apply]] = {
    "phi_prime_omitted": ("φ'(a{l}) is missing", "1", _is(lambda a, h: np.ones_like(a))),
    "phi_for_phi_prime": ("φ is used instead of φ'", "φ((a{l})_n{h})", _is(lambda a, h: h)),
    "phi_prime_at_h": (
        "φ' is taken at h{l} = φ(a{l}), not at a{l}",
        "φ'((h{l})_n{h})",
        _at(lambda t, layer: t.h[layer]),
    ),
    "phi_prime_at_z": ("φ' is taken at z, not at a{l}", "φ'(z_n{h})", _at(lambda t, layer: t.z)),
    "phi_prime_at_input": (
        "φ' is taken at the layer's input, not at a{l}",
        "φ'({below}_n{h})",
        _at(lambda t, layer: t.h[layer - 1]),
    ),
    "phi_prime_without_bias": (
        "φ' is taken at a{l} − b{l}: the bias is missing in the pre-activation",
        "φ'((a{l})_n{h} − (b{l})_{h})",
        _at(lambda t, layer: t.a[layer] - t.b[layer]),
    ),
    "phi_prime_at_bias": (
        "φ' is taken at b{l} alone, not at a{l}",
        "φ'((b{l})_{h})",
        _at(lambda t, layer: _for_each_sample(t.b[layer], t)),
    ),
    "phi_prime_at_minus_a": ("φ' is taken at −a{l}", "φ'(−(a{l})_n{h})", _at(lambda t, layer: -t.a[layer])),
    "phi_prime_at_mean": (
        "φ' is taken at the mean of a{l} over the samples",
        "φ'(Σ_n (a{l})_n{h} / N)",
        _at(lambda t, layer: _for_each_sample(t.a[layer].mean(0), t)),
    ),
    "phi_prime_at_first_sample": (
        "φ' is taken at the first sample's a{l} for every sample",
        "φ'((a{l})_1{h})",
        _at(lambda t, layer: _for_each_sample(t.a[layer][0], t)),
    ),
    "phi_prime_at_last_sample": (
        "φ' is taken at the last sample's a{l} for every sample",
        "φ'((a{l})_N{h})",
        _at(lambda t, layer: _for_each_sample(t.a[layer][-1], t)),
    ),
    "phi_prime_twice": (
        "φ'(a{l}) is applied twice",
        "φ'((a{l})_n{h})²",
        _times_slope(lambda s, t, layer: s * s),
    ),
    "phi_prime_times_phi": (
        "φ'(a{l}) is multiplied by φ(a{l})",
        "φ'((a{l})_n{h}) φ((a{l})_n{h})",
        _times_slope(lambda s, t, layer: s * t.h[layer]),
    ),
    "phi_prime_inverted": (
        "1/φ'(a{l}) is used instead of φ'(a{l})",
        "(1 / φ'((a{l})_n{h}))",
        _times_slope(lambda s, t, layer: 1 / s),
    ),
    "phi_prime_averaged": (
        "φ'(a{l}) is averaged over the samples",
        "(Σ_n φ'((a{l})_n{h}) / N)",
        _times_slope(lambda s, t, layer: _for_each_sample(s.mean(0), t)),
    ),
    "phi_prime_of_next_unit": (
        "each unit has the slope of the unit before it: the units of φ'(a{l}) are shifted by one",
        "φ'((a{l})_n,{h}−1)",
        _times_slope(lambda s, t, layer: np.roll(s, 1, axis=1)),
    ),
    "a_for_phi_prime": ("a{l} is used instead of φ'(a{l})", "(a{l})_n{h}", _is(lambda a, h: a)),
    "step_for_phi_prime": (
        "the slope is 1 at a{l} > 0 and 0 elsewhere, which is that of ReLU",
        "[(a{l})_n{h} > 0]",
        _is(lambda a, h: (a > 0).astype(a.dtype)),
    ),
    "reversed_step_for_phi_prime": (
        "the slope is 1 at a{l} < 0 and 0 elsewhere: the branches of ReLU's slope are swapped",
        "[(a{l})_n{h} < 0]",
        _is(lambda a, h: (a < 0).astype(a.dtype)),
    ),
    "sigmoid_slope": (
        "the slope is σ(a{l}) (1 − σ(a{l})), which is that of a sigmoid",
        "σ((a{l})_n{h}) (1 − σ((a{l})_n{h}))",
        _is(lambda a, h: _sigmoid(a) * (1 - _sigmoid(a))),
    ),
    "tanh_slope": (
        "the slope is 1 − tanh²(a{l}), which is that of tanh",
        "(1 − tanh²((a{l})_n{h}))",
        _is(lambda a, h: 1 - np.tanh(a) ** 2),
    ),
    "h_times_1_minus_h": (
        "the slope is h{l} (1 − h{l}), which is that of a sigmoid",
        "(h{l})_n{h} (1 − (h{l})_n{h})",
        _is(lambda a, h: h * (1 - h)),
    ),
    "1_minus_h_squared": (
        "the slope is 1 − h{l}², which is that of tanh",
        "(1 − (h{l})_n{h}²)",
        _is(lambda a, h: 1 - h * h),
    ),
    "1_plus_h_squared": (
        "the slope is 1 + h{l}²: tanh's 1 − h² with the wrong sign",
        "(1 + (h{l})_n{h}²)",
        _is(lambda a, h: 1 + h * h),
    ),
    "h_squared": ("the slope is h{l}²", "(h{l})_n{h}²", _is(lambda a, h: h * h)),
    "phi_over_a": (
        "the slope is φ(a{l}) / a{l}: only the first term, g(a), of the derivative of a product a g(a)",
        "φ((a{l})_n{h}) / (a{l})_n{h}",
        _is(lambda a, h: h / a),
    ),
    "without_phi_over_a": (
        "φ(a{l}) / a{l} is missing in the slope: only the second term, a g'(a), of the derivative of a product "
        "a g(a)",
        "(φ'((a{l})_n{h}) − φ((a{l})_n{h}) / (a{l})_n{h})",
        _times_slope(lambda s, t, layer: s - t.h[layer] / t.a[layer]),
    ),
    "product_rule_sign": (
        "the two terms of the derivative of a product a g(a) are subtracted: g(a) − a g'(a)",
        "(2 φ((a{l})_n{h}) / (a{l})_n{h} − φ'((a{l})_n{h}))",
        _times_slope(lambda s, t, layer: 2 * t.h[layer] / t.a[layer] - s),
    ),
    "phi_prime_at_2a": ("φ' is taken at 2 a{l}", "φ'(2 (a{l})_n{h})", _at(lambda t, layer: 2 * t.a[layer])),
    "phi_prime_at_absolute_a": (
        "φ' is taken at |a{l}|",
        "φ'(|(a{l})_n{h}|)",
        _at(lambda t, layer: np.abs(t.a[layer])),
    ),
    "phi_prime_with_bias_twice": (
        "φ' is taken at a{l} + b{l}: the bias is added twice",
        "φ'((a{l})_n{h} + (b{l})_{h})",
        _at(lambda t, layer: t.a[layer] + t.b[layer]),
    ),
    "1_minus_h": ("the slope is 1 − h{l}: a square is missing", "(1 − (h{l})_n{h})", _is(lambda a, h: 1 - h)),
    "1_minus_a_squared": (
        "the slope is 1 − a{l}²: tanh's 1 − h² with a instead of h",
        "(1 − (a{l})_n{h}²)",
        _is(lambda a, h: 1 - a * a),
    ),
    "a_times_1_minus_a": (
        "the slope is a{l} (1 − a{l}): the sigmoid's h (1 − h) with a instead of h",
        "(a{l})_n{h} (1 − (a{l})_n{h})",
        _is(lambda a, h: a * (1 - a)),
    ),
}


def slope_faults(trace: Trace, layer: int, depth: int) -> list[Fault]:
    """Return all faults in φ' of a hidden layer."""
    faults = [
        Fault("slope", layer, name, sentence.replace("{l}", str(layer)), apply, form)
        for name, (sentence, form, apply) in _SLOPES.items()
    ]
    d, h = letters(depth)[layer - 1], letters(depth)[layer]
    whole = f"(a{layer})_{h} = Σ_{d} (W{layer})_{h}{d} {_below(layer)}_{d} + (b{layer})_{h}"
    for name, bias in (("phi_prime_at_summand", True), ("phi_prime_at_summand_without_bias", False)):
        added = f" + (b{layer})_{h}" if bias else ""
        single = f"(W{layer})_{h}{d} {_below(layer)}_{d}{added}"
        sentence = f"φ' is taken at the single summand {single}, not at the whole pre-activation {whole}"
        form = "φ'((W{l})_{h}{d} {below}_n{d}" + (" + (b{l})_{h})" if bias else ")")
        apply = _at_summand(bias)
        faults.append(Fault("slope", layer, name, sentence, apply, form, only=f"W{layer}"))
    for other in (m for m in trace.h if m not in (0, layer) and trace.h[m].shape == trace.h[layer].shape):
        sentence = f"φ' is taken at a{other}, not at a{layer}: the slope of another layer"
        apply = _at(lambda t, _, other=other: t.a[other])
        name = f"phi_prime_of_layer_{other}"
        faults.append(Fault("slope", layer, name, sentence, apply, f"φ'((a{other})_n{{h}})"))
    return faults


def _at_summand(bias: bool) -> Apply:
    return lambda context: _summand(context, bias=bias)


def _below(layer: int) -> str:
    return "x" if layer == 1 else f"(h{layer - 1})"
