"""Losses of scores x (N, K) and classes y (N,): softmax with cross-entropy, and the hinge loss of a multiclass SVM
(Weston and Watkins 1999), both as in cs231n, assignment 1."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from backproof.contracts import Array
from backproof.gradcheck.courses.reference import Gradients, Mistakes, Reference, integers


def softmax(x: Array) -> Array:
    """Return exp(x_j) / Σ_k exp(x_k) along the last axis."""
    e = np.exp(x - np.real(x).max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def softmax_loss_forward(x: Array, y: Array, mean: bool = True) -> tuple[Any, Any]:
    """Return −(1/N) Σ_n log p_{n, y_n}, or the sum. y may be one-hot (N, K)."""
    y = y.argmax(1) if y.ndim == 2 else y
    p, rows = softmax(x), np.arange(len(x))
    scale = 1 / len(x) if mean else 1.0
    return -scale * np.log(p[rows, y]).sum(), (p, y, scale)


def softmax_loss_backward(dout: Any, cache: Any) -> Array:
    """Return dx."""
    p, y, scale = cache
    return dout * scale * (p - _one_hot(y, p))


def hinge_loss_forward(x: Array, y: Array, mean: bool = True) -> tuple[Any, Any]:
    """Return (1/N) Σ_n Σ_{j ≠ y_n} max(0, x_nj − x_{n, y_n} + 1), or the sum."""
    rows = np.arange(len(x))
    margins = x - x[rows, y][:, None] + 1
    margins[rows, y] = 0
    margins = np.where(np.real(margins) > 0, margins, 0)
    scale = 1 / len(x) if mean else 1.0
    return scale * margins.sum(), (margins, y, scale)


def hinge_loss_backward(dout: Any, cache: Any) -> Array:
    """Return dx."""
    margins, y, scale = cache
    violated = (margins > 0).astype(np.float64)
    return dout * scale * (violated - violated.sum(1, keepdims=True) * _one_hot(y, margins))


def _one_hot(y: Array, like: Array) -> Array:
    return np.eye(like.shape[1])[y]


_softmax, _hinge = Mistakes(), Mistakes()


@_softmax.named("y is not subtracted: this is p, not p − y")
def _without_y(right: Gradients, cache: Any, dout: Any) -> Gradients:
    p, _, scale = cache
    return {"x": dout * scale * p}


@_softmax.named("1 is subtracted in the columns y of all samples (p[:, y] -= 1), not at p[n, y_n] alone")
def _all_rows(right: Gradients, cache: Any, dout: Any) -> Gradients:
    p, y, scale = cache
    wrong = p.copy()
    wrong[:, y] -= 1
    return {"x": dout * scale * wrong}


@_softmax.named("y is subtracted after the division by N: p/N − y")
def _divided_too_early(right: Gradients, cache: Any, dout: Any) -> Gradients:
    p, y, scale = cache
    return {"x": dout * (scale * p - _one_hot(y, p))}


@_softmax.named("y alone is divided by N: p − y/N")
def _divided_too_late(right: Gradients, cache: Any, dout: Any) -> Gradients:
    p, y, scale = cache
    return {"x": dout * (p - scale * _one_hot(y, p))}


@_softmax.named("the sign is wrong: y − p instead of p − y")
def _sign(right: Gradients, cache: Any, dout: Any) -> Gradients:
    return {"x": -right["x"]}


@_softmax.named("p is multiplied by 1 − p: the slope of the softmax is in p − y already")
def _slope_twice(right: Gradients, cache: Any, dout: Any) -> Gradients:
    p = cache[0]
    return {"x": right["x"] * p * (1 - p)}


@_softmax.named("the classes other than y_n get no gradient: p_{n, y_n} − 1 there, 0 elsewhere")
def _class_alone(right: Gradients, cache: Any, dout: Any) -> Gradients:
    return {"x": right["x"] * _one_hot(cache[1], cache[0])}


@_hinge.named("the class y_n gets no gradient: − Σ_j 1[margin_nj > 0] is missing there")
def _without_class(right: Gradients, cache: Any, dout: Any) -> Gradients:
    return {"x": np.maximum(right["x"] / dout, 0) * dout}


@_hinge.named("the class y_n gets −1, not minus the number of classes whose margin is violated")
def _class_once(right: Gradients, cache: Any, dout: Any) -> Gradients:
    margins, y, scale = cache
    return {"x": dout * scale * ((margins > 0) - _one_hot(y, margins))}


@_hinge.named(
    "the class y_n is counted among its own violations: its margin is 1, but it is not a term of the sum"
)
def _class_counted(right: Gradients, cache: Any, dout: Any) -> Gradients:
    margins, y, scale = cache
    return {"x": right["x"] + dout * scale * _one_hot(y, margins)}


@_hinge.named("the class y_n has one violation too many: its own margin is not a term of the sum")
def _class_once_too_often(right: Gradients, cache: Any, dout: Any) -> Gradients:
    margins, y, scale = cache
    return {"x": right["x"] - dout * scale * _one_hot(y, margins)}


@_hinge.named("the margins themselves are taken, not whether they are positive")
def _margins(right: Gradients, cache: Any, dout: Any) -> Gradients:
    margins, y, scale = cache
    return {"x": dout * scale * (margins - margins.sum(1, keepdims=True) * _one_hot(y, margins))}


for _known in (_softmax, _hinge):

    @_known.named("the factor 1/N of the mean is missing")
    def _without_mean(right: Gradients, cache: Any, dout: Any) -> Gradients:
        return {"x": right["x"] / cache[2]}

    @_known.named("the gradient is divided by N once too often")
    def _mean_twice(right: Gradients, cache: Any, dout: Any) -> Gradients:
        return {"x": right["x"] / len(cache[0])}

    @_known.named("dout is missing: a loss may be one term among several")
    def _without_dout(right: Gradients, cache: Any, dout: Any) -> Gradients:
        return {"x": right["x"] / dout}


def _example(rng: np.random.Generator) -> dict[str, Array]:
    return {**integers(rng, x=(2, 3)), "y": rng.integers(0, 3, 2)}


SOFTMAX_LOSS = Reference(
    "softmax loss",
    softmax_loss_forward,
    softmax_loss_backward,
    {"x": "dx_nk = dout (p_nk − 1[k = y_n]) / N, with p_nk = exp(x_nk) / Σ_j exp(x_nj)"},
    _softmax,
    _example,
    indices=("y",),
    options={"mean": (True,)},
)
SOFTMAX_LOSS_SUM = dataclasses.replace(
    SOFTMAX_LOSS,
    options={"mean": (False,)},
    formulas={"x": "dx_nk = dout (p_nk − 1[k = y_n]), with p_nk = exp(x_nk) / Σ_j exp(x_nj)"},
)
HINGE_LOSS = Reference(
    "hinge loss",
    hinge_loss_forward,
    hinge_loss_backward,
    {
        "x": "dx_nk = dout (1[m_nk > 0] − 1[k = y_n] Σ_j 1[m_nj > 0]) / N, "
        "with m_nk = x_nk − x_{n, y_n} + 1 for k ≠ y_n"
    },
    _hinge,
    _example,
    indices=("y",),
    options={"mean": (True,)},
)
HINGE_LOSS_SUM = dataclasses.replace(
    HINGE_LOSS,
    options={"mean": (False,)},
    formulas={"x": HINGE_LOSS.formulas["x"].replace(" / N", "")},
)
