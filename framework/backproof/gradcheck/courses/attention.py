"""Scaled dot-product attention out = softmax(q kᵀ / √d) v (Vaswani et al. 2017; cs231n, assignment 3)."""

from __future__ import annotations

from typing import Any

from backproof.contracts import Array
from backproof.gradcheck.courses.losses import softmax
from backproof.gradcheck.courses.reference import Gradients, Mistakes, Reference, integers


def attention_forward(q: Array, k: Array, v: Array, scaled: bool = True) -> tuple[Array, Any]:
    """Return out (..., T, E) of q (..., T, D), k (..., S, D) and v (..., S, E)."""
    scale = q.shape[-1] ** -0.5 if scaled else 1.0
    p = softmax(scale * q @ k.swapaxes(-1, -2))
    return p @ v, (q, k, v, p, scale)


def attention_backward(dout: Array, cache: Any) -> tuple[Array, Array, Array]:
    """Return dq, dk, dv."""
    _, _, v, p, _ = cache
    dp = dout @ v.swapaxes(-1, -2)
    ds = p * (dp - (dp * p).sum(-1, keepdims=True))
    dq, dk = _scores(ds, cache)
    return dq, dk, p.swapaxes(-1, -2) @ dout


def _scores(ds: Array, cache: Any) -> tuple[Array, Array]:
    """Return dq and dk of the scores s = scale · q kᵀ."""
    q, k, _, _, scale = cache
    return scale * ds @ k, scale * ds.swapaxes(-1, -2) @ q


_known = Mistakes()


def _softmax_mistake(what: str) -> Any:
    """Return a decorator that adds another derivative ds of the softmax, a function of p and dp."""

    def add(slope: Any) -> Any:
        def wrong(right: Gradients, cache: Any, dout: Array) -> Gradients:
            _, _, v, p, _ = cache
            dq, dk = _scores(slope(p, dout @ v.swapaxes(-1, -2)), cache)
            return {"q": dq, "k": dk}

        _known.named(what)(wrong)
        return slope

    return add


@_known.named("the scale 1/√d is forgotten")
def _without_scale(right: Gradients, cache: Any, dout: Array) -> Gradients:
    return {"q": right["q"] / cache[4], "k": right["k"] / cache[4]}


@_known.named("the scale 1/√d is applied twice")
def _scale_twice(right: Gradients, cache: Any, dout: Array) -> Gradients:
    scale = cache[0].shape[-1] ** -0.5
    return {"q": right["q"] * scale, "k": right["k"] * scale}


@_softmax_mistake(
    "the Jacobian of the softmax is diagonal, p (1 − p): the terms −p_s p_r between the keys are missing"
)
def _diagonal(p: Array, dp: Array) -> Array:
    return p * (1 - p) * dp


@_softmax_mistake("the sum of the softmax's Jacobian is missing: p dp instead of p (dp − Σ_s dp_s p_s)")
def _without_sum(p: Array, dp: Array) -> Array:
    return p * dp


@_softmax_mistake(
    "the sum of the softmax's Jacobian runs over the queries, not over the keys: the Jacobian is transposed"
)
def _over_queries(p: Array, dp: Array) -> Array:
    return p * (dp - (dp * p).sum(-2, keepdims=True))


@_softmax_mistake("the softmax has no derivative: dp is used instead of p (dp − Σ_s dp_s p_s)")
def _without_softmax(p: Array, dp: Array) -> Array:
    return dp


@_softmax_mistake("the sum of the softmax's Jacobian lacks p: Σ_s dp_s instead of Σ_s dp_s p_s")
def _sum_without_p(p: Array, dp: Array) -> Array:
    return p * (dp - dp.sum(-1, keepdims=True))


@_softmax_mistake("the sum of the softmax's Jacobian has the wrong sign")
def _sum_added(p: Array, dp: Array) -> Array:
    return p * (dp + (dp * p).sum(-1, keepdims=True))


@_known.named("ds is not transposed")
def _not_transposed(right: Gradients, cache: Any, dout: Array) -> Gradients:
    _, _, v, p, scale = cache
    dp = dout @ v.swapaxes(-1, -2)
    return {"k": scale * (p * (dp - (dp * p).sum(-1, keepdims=True))) @ cache[0]}


@_known.named("p is not transposed: it is pᵀ dout")
def _p_not_transposed(right: Gradients, cache: Any, dout: Array) -> Gradients:
    return {"v": cache[3] @ dout}


@_known.named("dq and dk are swapped")
def _swapped(right: Gradients, cache: Any, dout: Array) -> Gradients:
    return {"q": right["k"], "k": right["q"]}


@_known.named("q and k are swapped: ds is multiplied by q for dq, and its transpose by k for dk")
def _partners_swapped(right: Gradients, cache: Any, dout: Array) -> Gradients:
    q, k, v, p, scale = cache
    return dict(zip("qk", attention_backward(dout, (k, q, v, p, scale))[:2], strict=True))


@_known.named("the scores are used instead of their softmax p")
def _scores_for_p(right: Gradients, cache: Any, dout: Array) -> Gradients:
    q, k, _, _, scale = cache
    return {"v": (scale * q @ k.swapaxes(-1, -2)).swapaxes(-1, -2) @ dout}


_DS = "with ds_ts = p_ts (dp_ts − Σ_r dp_tr p_tr), dp_ts = Σ_e dout_te v_se"
ATTENTION = Reference(
    "scaled dot-product attention",
    attention_forward,
    attention_backward,
    {
        "q": f"dq_td = (1/√d) Σ_s ds_ts k_sd, {_DS}",
        "k": f"dk_sd = (1/√d) Σ_t ds_ts q_td, {_DS}",
        "v": "dv_se = Σ_t p_ts dout_te",
    },
    _known,
    lambda rng: integers(rng, q=(2, 2), k=(2, 2), v=(2, 2)),
    options={"scaled": (True, False)},
)
