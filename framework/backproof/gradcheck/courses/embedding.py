"""The embedding of tokens: out_nt = W_{x_nt} (cs231n, assignment 3)."""

from __future__ import annotations

from typing import Any

import numpy as np

from backproof.contracts import Array
from backproof.gradcheck.courses.reference import Gradients, Mistakes, Reference, integers


def embedding_forward(x: Array, W: Array) -> tuple[Array, Any]:
    """Return the rows of W (V, D) at the indices x (any shape)."""
    return W[x], (x, W.shape)


def embedding_backward(dout: Array, cache: Any) -> Array:
    """Return dW; np.add.at adds up what comes from an index that occurs several times."""
    x, shape = cache
    dW = np.zeros(shape)
    np.add.at(dW, x, dout)
    return dW


_known = Mistakes()


@_known.named(
    "the rows of an index that occurs several times overwrite each other (dW[x] = dout, and dW[x] += dout too): "
    "np.add.at(dW, x, dout) adds them"
)
def _overwritten(right: Gradients, cache: Any, dout: Array) -> Gradients:
    x, shape = cache
    dW = np.zeros(shape)
    dW[x] = dout
    return {"W": dW}


@_known.named("the gradient is divided by how often an index occurs: the rows are added, not averaged")
def _averaged(right: Gradients, cache: Any, dout: Array) -> Gradients:
    x, shape = cache
    counts = np.bincount(x.ravel() % shape[0], minlength=shape[0])
    return {"W": right["W"] / np.maximum(counts, 1)[:, None]}


@_known.named("the first row alone of an index that occurs several times is in it: the rows are added")
def _first(right: Gradients, cache: Any, dout: Array) -> Gradients:
    x, shape = cache
    return {"W": _overwritten(right, (x.ravel()[::-1], shape), dout.reshape(-1, shape[1])[::-1])["W"]}


@_known.named("it is the mean over the samples, not the sum")
def _mean(right: Gradients, cache: Any, dout: Array) -> Gradients:
    return {"W": right["W"] / len(cache[0])}


@_known.named("dout is missing: this is how often each index occurs")
def _counts(right: Gradients, cache: Any, dout: Array) -> Gradients:
    return {"W": embedding_backward(np.ones_like(dout), cache)}


EMBEDDING = Reference(
    "embedding",
    embedding_forward,
    embedding_backward,
    {"W": "dW_vd = Σ_nt 1[x_nt = v] dout_ntd"},
    _known,
    lambda rng: {"x": rng.integers(0, 2, (1, 3)), **integers(rng, W=(2, 1))},
    indices=("x",),
)
