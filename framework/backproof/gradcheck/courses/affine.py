"""The affine layer out_nm = Σ_d x_nd w_dm + b_m: cs231n, assignment 2, and "Backpropagation for a Linear Layer"
(J. Johnson, http://cs231n.stanford.edu/handouts/linear-backprop.pdf)."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from backproof.contracts import Array
from backproof.gradcheck.courses.reference import Gradients, Mistakes, Reference, integers


def affine_forward(x: Array, w: Array, b: Any) -> tuple[Array, Any]:
    """Return out (N, M) of x (N, ...), w (D, M) and b (M,). All axes of x but the first are flattened."""
    return x.reshape(len(x), -1) @ w + b, (x, w, b)


def affine_backward(dout: Array, cache: Any) -> tuple[Array, Array, Array]:
    """Return dx, dw, db."""
    x, w, _ = cache
    return (dout @ w.T).reshape(x.shape), x.reshape(len(x), -1).T @ dout, dout.sum(0)


def linear_forward(x: Array, w: Array, b: Any) -> tuple[Array, Any]:
    """Return out (N, M) of x (N, D), w (M, D) and b (M,), the layout of torch.nn.Linear."""
    return x @ w.T + b, (x, w, b)


def linear_backward(dout: Array, cache: Any) -> tuple[Array, Array, Array]:
    """Return dx, dw, db."""
    x, w, _ = cache
    return dout @ w, dout.T @ x, dout.sum(0)


def columns_forward(x: Array, w: Array, b: Any) -> tuple[Array, Any]:
    """Return out (M, N) of x (D, N), w (M, D) and b (M, 1): one sample a column, as in A. Ng's courses."""
    return w @ x + b, (x, w, b)


def columns_backward(dout: Array, cache: Any) -> tuple[Array, Array, Array]:
    """Return dx, dw, db."""
    x, w, _ = cache
    return w.T @ dout, dout @ x.T, dout.sum(1, keepdims=True)


def _mistakes(backward: Any, samples: int) -> Mistakes:
    """Return the mistakes of a layout whose samples are along this axis of dout."""
    known = Mistakes()

    @known.named("w is not transposed")
    def without_transpose(right: Gradients, cache: Any, dout: Array) -> Gradients:
        x, w, b = cache
        return {"x": backward(dout, (x, w.T, b))[0]}

    @known.named("x and dout are swapped: dw is transposed")
    def transposed(right: Gradients, cache: Any, dout: Array) -> Gradients:
        return {"w": right["w"].T}

    @known.named(f"the sum runs over the outputs (axis {1 - samples}), not over the samples (axis {samples})")
    def over_outputs(right: Gradients, cache: Any, dout: Array) -> Gradients:
        return {"b": dout.sum(1 - samples).reshape(right["b"].shape)}

    @known.named(
        "it is the mean over the samples, not the sum: the loss alone has the factor 1/N, and it is in dout"
    )
    def mean(right: Gradients, cache: Any, dout: Array) -> Gradients:
        return {name: right[name] / dout.shape[samples] for name in "wb"}

    @known.named("dout is missing")
    def without_dout(right: Gradients, cache: Any, dout: Array) -> Gradients:
        dx, dw, db = backward(np.ones_like(dout), cache)
        return {"x": dx, "w": dw, "b": db}

    return known


def _example_of_columns(rng: np.random.Generator) -> dict[str, Array]:
    return integers(rng, x=(2, 2), w=(2, 2), b=(2, 1))


AFFINE = Reference(
    "affine layer",
    affine_forward,
    affine_backward,
    {"x": "dx_nd = Σ_m dout_nm w_dm", "w": "dw_dm = Σ_n x_nd dout_nm", "b": "db_m = Σ_n dout_nm"},
    _mistakes(affine_backward, 0),
    lambda rng: integers(rng, x=(2, 2), w=(2, 2), b=(2,)),
    defaults={"b": 0.0},
    axes={"b": 1},
)
LINEAR = dataclasses.replace(
    AFFINE,
    forward=linear_forward,
    backward=linear_backward,
    formulas={"x": "dx_nd = Σ_m dout_nm w_md", "w": "dw_md = Σ_n dout_nm x_nd", "b": "db_m = Σ_n dout_nm"},
    mistakes=_mistakes(linear_backward, 0),
)
COLUMNS = dataclasses.replace(
    AFFINE,
    forward=columns_forward,
    backward=columns_backward,
    formulas={"x": "dx_dn = Σ_m w_md dout_mn", "w": "dw_md = Σ_n dout_mn x_dn", "b": "db_m = Σ_n dout_mn"},
    mistakes=_mistakes(columns_backward, 1),
    example=_example_of_columns,
    axes={"b": 2},
)
