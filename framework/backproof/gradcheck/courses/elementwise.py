"""Layers that act elementwise: ReLU, sigmoid and tanh (cs231n, assignments 1 to 3) and dropout with a
fixed mask (Srivastava et al. 2014, inverted as in cs231n, assignment 2)."""

from __future__ import annotations

import numpy as np

from backproof.contracts import Array
from backproof.gradcheck.courses.reference import Gradients, Mistakes, Reference, integers


def relu_forward(x: Array) -> tuple[Array, Array]:
    """Return max(0, x)."""
    return np.where(np.real(x) > 0, x, 0), x


def relu_backward(dout: Array, cache: Array) -> Array:
    """Return dx."""
    return np.where(cache > 0, dout, 0)


def sigmoid_forward(x: Array) -> tuple[Array, Array]:
    """Return 1 / (1 + exp(−x))."""
    out = 1 / (1 + np.exp(-x))
    return out, out


def sigmoid_backward(dout: Array, cache: Array) -> Array:
    """Return dx."""
    return dout * cache * (1 - cache)


def tanh_forward(x: Array) -> tuple[Array, Array]:
    """Return tanh x."""
    out = np.tanh(x)
    return out, out


def tanh_backward(dout: Array, cache: Array) -> Array:
    """Return dx."""
    return dout * (1 - cache**2)


def dropout_forward(x: Array, mask: Array) -> tuple[Array, Array]:
    """Return x · mask, where the mask holds 0 for what is dropped and 1/keep for the rest."""
    return x * mask, mask


def dropout_backward(dout: Array, cache: Array) -> Array:
    """Return dx."""
    return dout * cache


def mask_of(x: Array, out: Array) -> dict[str, Array] | None:
    """Return the mask that turns x into out; None unless some are dropped and the rest has one scale."""
    if x.shape != out.shape or not x.all():
        return None
    mask = out / x
    kept = mask[mask != 0]
    return {"mask": mask} if 0 < len(kept) < mask.size and np.allclose(kept, kept[0], rtol=1e-12) else None


_relu, _sigmoid, _tanh, _dropout = Mistakes(), Mistakes(), Mistakes(), Mistakes()


@_relu.named("the mask is that of dout > 0, not of x > 0")
def _mask_of_dout(right: Gradients, cache: Array, dout: Array) -> Gradients:
    return {"x": np.maximum(dout, 0)}


@_relu.named(
    "both masks are taken, x > 0 and dout > 0 (guided backpropagation): the gradient needs x > 0 alone"
)
def _both_masks(right: Gradients, cache: Array, dout: Array) -> Gradients:
    return {"x": np.where(cache > 0, np.maximum(dout, 0), 0)}


@_relu.named("the mask x > 0 is missing: dout passes everywhere")
def _no_mask(right: Gradients, cache: Array, dout: Array) -> Gradients:
    return {"x": dout}


@_relu.named("the mask is inverted: x < 0 instead of x > 0")
def _inverted_mask(right: Gradients, cache: Array, dout: Array) -> Gradients:
    return {"x": dout - right["x"]}


@_relu.named("dout is multiplied by the output max(0, x), not by its slope")
def _times_output(right: Gradients, cache: Array, dout: Array) -> Gradients:
    return {"x": dout * np.maximum(cache, 0)}


@_relu.named("dout is missing: this is the slope alone")
def _relu_without_dout(right: Gradients, cache: Array, dout: Array) -> Gradients:
    return {"x": (cache > 0).astype(np.float64)}


@_sigmoid.named("the slope is taken at the output: σ(out) (1 − σ(out)) instead of out (1 − out)")
def _sigmoid_of_output(right: Gradients, cache: Array, dout: Array) -> Gradients:
    twice = sigmoid_forward(cache)[0]
    return {"x": dout * twice * (1 - twice)}


@_sigmoid.named("the slope is taken at x without σ: x (1 − x) instead of out (1 − out)")
def _sigmoid_of_input(right: Gradients, cache: Array, dout: Array) -> Gradients:
    x = np.log(cache / (1 - cache))
    return {"x": dout * x * (1 - x)}


@_sigmoid.named("the factor out is missing from the slope out (1 − out)")
def _sigmoid_half(right: Gradients, cache: Array, dout: Array) -> Gradients:
    return {"x": dout * (1 - cache)}


@_sigmoid.named("the factor 1 − out is missing from the slope out (1 − out)")
def _sigmoid_other_half(right: Gradients, cache: Array, dout: Array) -> Gradients:
    return {"x": dout * cache}


@_tanh.named("the slope is taken at the output: 1 − tanh²(out) instead of 1 − out²")
def _tanh_of_output(right: Gradients, cache: Array, dout: Array) -> Gradients:
    return {"x": dout * (1 - np.tanh(cache) ** 2)}


@_tanh.named("the slope is taken at x without tanh: 1 − x² instead of 1 − out²")
def _tanh_of_input(right: Gradients, cache: Array, dout: Array) -> Gradients:
    return {"x": dout * (1 - np.arctanh(cache) ** 2)}


@_tanh.named("the square is missing from the slope 1 − out²")
def _tanh_without_square(right: Gradients, cache: Array, dout: Array) -> Gradients:
    return {"x": dout * (1 - cache)}


for _known in (_sigmoid, _tanh):

    @_known.named("the slope is missing: dout passes unchanged")
    def _without_slope(right: Gradients, cache: Array, dout: Array) -> Gradients:
        return {"x": dout}


@_dropout.named("the scale 1/keep is missing: the mask of the backward pass holds 1 in its place")
def _without_scale(right: Gradients, cache: Array, dout: Array) -> Gradients:
    return {"x": dout * (cache != 0)}


@_dropout.named("the scale 1/keep is applied twice")
def _scale_twice(right: Gradients, cache: Array, dout: Array) -> Gradients:
    return {"x": dout * cache**2}


@_dropout.named("the gradient is multiplied by keep, not by 1/keep")
def _times_keep(right: Gradients, cache: Array, dout: Array) -> Gradients:
    return {"x": np.where(cache != 0, dout / np.where(cache != 0, cache, 1), 0)}


@_dropout.named("the mask is missing: dout passes where x was dropped")
def _without_mask(right: Gradients, cache: Array, dout: Array) -> Gradients:
    return {"x": dout}


@_dropout.named("the mask is missing, the scale 1/keep is there: dout passes where x was dropped")
def _scale_alone(right: Gradients, cache: Array, dout: Array) -> Gradients:
    return {"x": dout * cache.max()}


@_dropout.named("the mask is inverted: dout passes where x was dropped, and there alone")
def _inverted(right: Gradients, cache: Array, dout: Array) -> Gradients:
    return {"x": dout * np.where(cache == 0, cache.max(), 0)}


RELU = Reference(
    "ReLU",
    relu_forward,
    relu_backward,
    {"x": "dx_i = dout_i where x_i > 0, else 0"},
    _relu,
    lambda rng: integers(rng, x=(3,)),
)
SIGMOID = Reference(
    "sigmoid",
    sigmoid_forward,
    sigmoid_backward,
    {"x": "dx_i = dout_i out_i (1 − out_i)"},
    _sigmoid,
    lambda rng: integers(rng, x=(2,)),
)
TANH = Reference(
    "tanh",
    tanh_forward,
    tanh_backward,
    {"x": "dx_i = dout_i (1 − out_i²)"},
    _tanh,
    lambda rng: integers(rng, x=(2,)),
)
DROPOUT = Reference(
    "dropout",
    dropout_forward,
    dropout_backward,
    {"x": "dx_i = dout_i mask_i, with mask_i = 0 where x_i is dropped, else 1/keep"},
    _dropout,
    lambda rng: {**integers(rng, x=(3,)), "mask": 2.0 * rng.integers(0, 2, 3)},
    indices=("mask",),
    infer=mask_of,
)
