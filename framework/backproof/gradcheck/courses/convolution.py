"""Convolution and max-pooling of images (N, C, H, W) with stride and padding (LeCun et al. 1998; cs231n,
assignment 2)."""

from __future__ import annotations

from typing import Any

import numpy as np

from backproof.contracts import Array
from backproof.gradcheck.courses.reference import Gradients, Mistakes, Reference, integers


def conv_forward(x: Array, w: Array, b: Any, stride: int = 1, pad: int = 0) -> tuple[Array, Any]:
    """Return out_nfij = b_f + Σ_ckl xpad_{n, c, i·stride + k, j·stride + l} w_fckl.

    x is (N, C, H, W), w (F, C, K, L) and b (F,).
    """
    xpad = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    windows = _windows(xpad, w.shape[2:], stride)
    out = np.einsum("ncijkl,fckl->nfij", windows, w) + np.reshape(b, (-1, 1, 1))
    return out, (xpad, w, stride, pad)


def conv_backward(dout: Array, cache: Any) -> tuple[Array, Array, Array]:
    """Return dx, dw, db."""
    xpad, w, stride, pad = cache
    dw = np.einsum("ncijkl,nfij->fckl", _windows(xpad, w.shape[2:], stride), dout)
    return _crop(_spread(dout, w, xpad, stride), pad), dw, dout.sum((0, 2, 3))


def maxpool_forward(x: Array, pool: int = 2, stride: int = 2) -> tuple[Array, Any]:
    """Return the maximum of each window of pool × pool pixels."""
    windows = _windows(x, (pool, pool), stride)
    flat = windows.reshape(*windows.shape[:4], pool * pool)
    first = np.real(flat).argmax(-1)
    return np.take_along_axis(flat, first[..., None], -1)[..., 0], (x, first, pool, stride)


def maxpool_backward(dout: Array, cache: Any) -> Array:
    """Return dx: each window passes its dout on to its maximum, the first one where several are equal."""
    x, first, pool, stride = cache
    winners = np.eye(pool * pool)[first].reshape(*dout.shape, pool, pool)
    return _collect(dout[..., None, None] * winners, x, stride)


def _windows(x: Array, size: tuple[int, ...], stride: int) -> Array:
    """Return the windows (N, C, I, J, K, L) of x."""
    return np.lib.stride_tricks.sliding_window_view(x, size, (2, 3))[:, :, ::stride, ::stride]


def _collect(parts: Array, x: Array, stride: int) -> Array:
    """Return Σ of the parts (N, C, I, J, K, L) of windows at the pixels of x that they come from."""
    dx = np.zeros_like(x)
    I, J, K, L = parts.shape[2:]  # noqa: E741 - the indices of the formula
    for k in range(K):
        for m in range(L):
            dx[:, :, k : k + stride * I : stride, m : m + stride * J : stride] += parts[..., k, m]
    return dx


def _spread(dout: Array, w: Array, xpad: Array, stride: int) -> Array:
    """Return the gradient by the padded x."""
    return _collect(np.einsum("nfij,fckl->ncijkl", dout, w), xpad, stride)


def _crop(dxpad: Array, pad: int) -> Array:
    return dxpad[:, :, pad : dxpad.shape[2] - pad, pad : dxpad.shape[3] - pad]


_conv, _pool = Mistakes(), Mistakes()


@_conv.named(
    "the kernel is flipped in dx: the forward pass is a correlation, so that w_fckl goes to pixel (k, l)"
)
def _flipped(right: Gradients, cache: Any, dout: Array) -> Gradients:
    xpad, w, stride, pad = cache
    return {"x": _crop(_spread(dout, w[:, :, ::-1, ::-1], xpad, stride), pad)}


@_conv.named("the two axes of the kernel are swapped in dx")
def _kernel_transposed(right: Gradients, cache: Any, dout: Array) -> Gradients:
    xpad, w, stride, pad = cache
    return {"x": _crop(_spread(dout, w.transpose(0, 1, 3, 2), xpad, stride), pad)}


@_conv.named("filters and channels of the kernel are swapped in dx")
def _filters_swapped(right: Gradients, cache: Any, dout: Array) -> Gradients:
    xpad, w, stride, pad = cache
    return {"x": _crop(_spread(dout, w.transpose(1, 0, 2, 3), xpad, stride), pad)}


@_conv.named(
    "the padding is cut off at the wrong end: the gradient by the padded x starts at pixel 0, not at `pad`"
)
def _cropped_at_end(right: Gradients, cache: Any, dout: Array) -> Gradients:
    xpad, w, stride, _ = cache
    H, W = right["x"].shape[2:]
    return {"x": _spread(dout, w, xpad, stride)[:, :, :H, :W]}


@_conv.named("windows that overlap overwrite each other: their gradients are added")
def _overwritten(right: Gradients, cache: Any, dout: Array) -> Gradients:
    xpad, w, stride, pad = cache
    dx = np.zeros_like(xpad)
    K, L = w.shape[2:]
    for i in range(dout.shape[2]):
        for j in range(dout.shape[3]):
            at = np.s_[:, :, i * stride : i * stride + K, j * stride : j * stride + L]
            dx[at] = np.einsum("nf,fckl->nckl", dout[:, :, i, j], w)
    return {"x": _crop(dx, pad)}


@_conv.named("the stride is ignored: window (i, j) starts at pixel (i · stride, j · stride), not at (i, j)")
def _without_stride(right: Gradients, cache: Any, dout: Array) -> Gradients:
    xpad, w, _, pad = cache
    windows = _windows(xpad, w.shape[2:], 1)[:, :, : dout.shape[2], : dout.shape[3]]
    return {
        "x": _crop(_spread(dout, w, xpad, 1), pad),
        "w": np.einsum("ncijkl,nfij->fckl", windows, dout),
    }


@_conv.named("dw is flipped: w_fckl meets pixel (i · stride + k, j · stride + l)")
def _weights_flipped(right: Gradients, cache: Any, dout: Array) -> Gradients:
    return {"w": right["w"][:, :, ::-1, ::-1]}


@_conv.named("the two axes of the kernel are swapped in dw")
def _weights_transposed(right: Gradients, cache: Any, dout: Array) -> Gradients:
    return {"w": right["w"].transpose(0, 1, 3, 2)}


@_conv.named("dw is taken from x shifted by the padding, not from the padded x")
def _without_padding(right: Gradients, cache: Any, dout: Array) -> Gradients:
    xpad, w, stride, pad = cache
    moved = np.zeros_like(xpad)
    inside = _crop(xpad, pad)
    moved[:, :, : inside.shape[2], : inside.shape[3]] = inside
    return {"w": np.einsum("ncijkl,nfij->fckl", _windows(moved, w.shape[2:], stride), dout)}


@_conv.named("the last sample alone is in it: the gradients of all samples are added")
def _last_sample(right: Gradients, cache: Any, dout: Array) -> Gradients:
    xpad, w, stride, pad = cache
    return dict(zip("wb", conv_backward(dout[-1:], (xpad[-1:], w, stride, pad))[1:], strict=True))


@_conv.named("it is the mean over the samples, not the sum")
def _mean_over_samples(right: Gradients, cache: Any, dout: Array) -> Gradients:
    return {name: right[name] / len(dout) for name in "wb"}


@_conv.named("it is the mean over samples and pixels, not the sum")
def _mean_over_pixels(right: Gradients, cache: Any, dout: Array) -> Gradients:
    return {"b": dout.mean((0, 2, 3))}


@_pool.named(
    "ties: every pixel that equals the maximum gets all of dout, so that it is passed on several times"
)
def _ties(right: Gradients, cache: Any, dout: Array) -> Gradients:
    x, _, pool, stride = cache
    windows = _windows(x, (pool, pool), stride)
    equal = windows == windows.max((-1, -2), keepdims=True)
    return {"x": _collect(dout[..., None, None] * equal, x, stride)}


@_pool.named("windows that overlap overwrite each other: their gradients are added")
def _pool_overwritten(right: Gradients, cache: Any, dout: Array) -> Gradients:
    x, first, pool, stride = cache
    dx = np.zeros_like(x)
    for n, c, i, j in np.ndindex(*dout.shape):
        k, m = divmod(int(first[n, c, i, j]), pool)
        dx[n, c, i * stride + k, j * stride + m] = dout[n, c, i, j]
    return {"x": dx}


@_pool.named(
    "windows that overlap overwrite each other with the zeros next to their maxima: gradients are added"
)
def _pool_windows_overwritten(right: Gradients, cache: Any, dout: Array) -> Gradients:
    x, first, pool, stride = cache
    dx = np.zeros_like(x)
    winners = dout[..., None, None] * np.eye(pool * pool)[first].reshape(*dout.shape, pool, pool)
    for i in range(dout.shape[2]):
        for j in range(dout.shape[3]):
            at = np.s_[:, :, i * stride : i * stride + pool, j * stride : j * stride + pool]
            dx[at] = winners[:, :, i, j]
    return {"x": dx}


@_pool.named("dout is spread evenly over the window, as in mean-pooling: the maximum alone gets it")
def _mean_pooling(right: Gradients, cache: Any, dout: Array) -> Gradients:
    x, _, pool, stride = cache
    return {"x": _collect(dout[..., None, None] * np.full((pool, pool), 1 / pool**2), x, stride)}


@_pool.named("every pixel of the window gets dout: the maximum alone gets it")
def _all_pixels(right: Gradients, cache: Any, dout: Array) -> Gradients:
    x, _, pool, stride = cache
    return {"x": _collect(dout[..., None, None] * np.ones((pool, pool)), x, stride)}


@_pool.named("dout is multiplied by the maximum")
def _times_maximum(right: Gradients, cache: Any, dout: Array) -> Gradients:
    x, _, pool, stride = cache
    out = maxpool_forward(x, pool, stride)[0]
    return {"x": maxpool_backward(dout * out, cache)}


@_pool.named("dout is missing: this is the mask of the maxima")
def _mask_alone(right: Gradients, cache: Any, dout: Array) -> Gradients:
    return {"x": maxpool_backward(np.ones_like(dout), cache)}


@_pool.named("row and column of the maximum are swapped")
def _swapped(right: Gradients, cache: Any, dout: Array) -> Gradients:
    x, first, pool, stride = cache
    swapped = (first % pool) * pool + first // pool
    return {"x": maxpool_backward(dout, (x, swapped, pool, stride))}


CONV = Reference(
    "convolution",
    conv_forward,
    conv_backward,
    {
        "x": "dxpad_ncpq = Σ_fkl dout_nfij w_fckl over all i, j with i·stride + k = p and j·stride + l = q, "
        "and dx is dxpad without its padding",
        "w": "dw_fckl = Σ_nij dout_nfij xpad_{n, c, i·stride + k, j·stride + l}",
        "b": "db_f = Σ_nij dout_nfij",
    },
    _conv,
    lambda rng: integers(rng, x=(2, 1, 3, 3), w=(1, 1, 2, 2), b=(1,)),
    options={"stride": (1, 2, 3), "pad": (0, 1, 2, 3)},
    defaults={"b": 0.0},
)
MAXPOOL = Reference(
    "max-pooling",
    maxpool_forward,
    maxpool_backward,
    {"x": "dx_ncpq = Σ_ij dout_ncij over the windows (i, j) whose one chosen maximum is the pixel (p, q)"},
    _pool,
    lambda rng: integers(rng, x=(1, 1, 3, 3)),
    options={"pool": (2, 3, 4), "stride": (2, 1, 3, 4)},
)
