"""Batch normalization (Ioffe and Szegedy 2015; cs231n, assignment 2) in training and at test time, and layer
normalization (Ba, Kiros and Hinton 2016)."""

from __future__ import annotations

from typing import Any

import numpy as np

from backproof.contracts import Array
from backproof.gradcheck.courses.reference import Gradients, Mistakes, Reference, integers

EPS = (1e-5, 1e-8, 1e-6, 1e-7, 1e-4, 1e-3, 1e-12, 0.0)


def batchnorm_forward(x: Array, gamma: Any, beta: Any, eps: float = 1e-5) -> tuple[Array, Any]:
    """Return γ x̂ + β of x (N, D), with x̂ = (x − μ)/σ, the mean μ over the samples and σ = √(variance + ε)."""
    return _forward(x, gamma, beta, eps, axis=0)


def batchnorm_backward(dout: Array, cache: Any) -> tuple[Array, Array, Array]:
    """Return dx, dgamma, dbeta."""
    return _backward(dout, cache)


def layernorm_forward(x: Array, gamma: Any, beta: Any, eps: float = 1e-5) -> tuple[Array, Any]:
    """Return γ x̂ + β of x (..., D), with x̂ = (x − μ)/σ, mean and variance over the last axis of each sample."""
    return _forward(x, gamma, beta, eps, axis=-1)


def layernorm_backward(dout: Array, cache: Any) -> tuple[Array, Array, Array]:
    """Return dx, dgamma, dbeta."""
    return _backward(dout, cache)


def batchnorm_test_forward(
    x: Array, gamma: Any, beta: Any, running_mean: Array, running_var: Array, eps: float = 1e-5
) -> tuple[Array, Any]:
    """Return γ (x − running mean)/√(running variance + ε) + β: at test time mean and variance are constants."""
    sigma = np.sqrt(running_var + eps)
    xhat = (x - running_mean) / sigma
    return gamma * xhat + beta, (xhat, gamma, sigma, 0, eps)


def batchnorm_test_backward(dout: Array, cache: Any) -> tuple[Array, Array, Array]:
    """Return dx, dgamma, dbeta."""
    xhat, gamma, sigma, _, _ = cache
    return dout * gamma / sigma, (dout * xhat).sum(0), dout.sum(0)


def _forward(x: Array, gamma: Any, beta: Any, eps: float, axis: int) -> tuple[Array, Any]:
    centred = x - x.mean(axis, keepdims=True)
    sigma = np.sqrt((centred**2).mean(axis, keepdims=True) + eps)
    xhat = centred / sigma
    return gamma * xhat + beta, (xhat, gamma, sigma, axis, eps)


def _backward(dout: Array, cache: Any) -> tuple[Array, Array, Array]:
    xhat, gamma, sigma, axis, _ = cache
    dxhat = dout * gamma
    of_mean = dxhat.mean(axis, keepdims=True)
    of_variance = xhat * (dxhat * xhat).mean(axis, keepdims=True)
    samples = tuple(range(dout.ndim - 1))
    return (dxhat - of_mean - of_variance) / sigma, (dout * xhat).sum(samples), dout.sum(samples)


def _dx(cache: Any, dout: Array, *, mean: float = 1, variance: float = 1, sigma: Any = None) -> Gradients:
    """Return dx with its two paths weighted, and with another σ outside of the bracket."""
    xhat, gamma, right_sigma, axis, _ = cache
    dxhat = dout * gamma
    of_mean = dxhat.mean(axis, keepdims=True)
    of_variance = xhat * (dxhat * xhat).mean(axis, keepdims=True)
    return {"x": (dxhat - mean * of_mean - variance * of_variance) / (right_sigma if sigma is None else sigma)}


def _mistakes(sums: str, size: str, wrong_means: str) -> Mistakes:
    """Return the mistakes of a normalization over an axis, in its words."""
    known = Mistakes()
    mean = f"the path through the mean is forgotten: the term (1/{size}) Σ_{sums} dx̂ is missing"
    variance = f"the path through the variance is forgotten: the term x̂ (1/{size}) Σ_{sums} dx̂ x̂ is missing"

    @known.named(mean)
    def without_mean(right: Gradients, cache: Any, dout: Array) -> Gradients:
        return _dx(cache, dout, mean=0)

    @known.named(variance)
    def without_variance(right: Gradients, cache: Any, dout: Array) -> Gradients:
        return _dx(cache, dout, variance=0)

    @known.named("the paths through the mean and through the variance are forgotten: μ and σ depend on x")
    def without_paths(right: Gradients, cache: Any, dout: Array) -> Gradients:
        return _dx(cache, dout, mean=0, variance=0)

    @known.named(f"the path through the mean has the sum, not the mean: its factor 1/{size} is missing")
    def sum_of_mean(right: Gradients, cache: Any, dout: Array) -> Gradients:
        return _dx(cache, dout, mean=dout.shape[cache[3]])

    @known.named(f"the path through the variance has the sum, not the mean: its factor 1/{size} is missing")
    def sum_of_variance(right: Gradients, cache: Any, dout: Array) -> Gradients:
        return _dx(cache, dout, variance=dout.shape[cache[3]])

    @known.named(f"both paths have sums, not means: their factor 1/{size} is missing")
    def sums_of_both(right: Gradients, cache: Any, dout: Array) -> Gradients:
        return _dx(cache, dout, mean=dout.shape[cache[3]], variance=dout.shape[cache[3]])

    @known.named("the path through the variance has the wrong sign")
    def sign_of_variance(right: Gradients, cache: Any, dout: Array) -> Gradients:
        return _dx(cache, dout, variance=-1)

    @known.named("the path through the mean has the wrong sign")
    def sign_of_mean(right: Gradients, cache: Any, dout: Array) -> Gradients:
        return _dx(cache, dout, mean=-1)

    @known.named(
        "the path through the variance has half its size: the 2 of the derivative of (x − μ)² is missing"
    )
    def half_of_variance(right: Gradients, cache: Any, dout: Array) -> Gradients:
        return _dx(cache, dout, variance=0.5)

    @known.named("the path through the variance is doubled: the 1/2 of the derivative of the root is missing")
    def twice_the_variance(right: Gradients, cache: Any, dout: Array) -> Gradients:
        return _dx(cache, dout, variance=2)

    @known.named(f"the variance is differentiated with 1/({size} − 1), but the forward pass has 1/{size}")
    def unbiased(right: Gradients, cache: Any, dout: Array) -> Gradients:
        count = dout.shape[cache[3]]
        return _dx(cache, dout, variance=count / max(count - 1, 1))

    @known.named("ε is outside the root: 1/(√variance + ε) instead of 1/√(variance + ε)")
    def eps_outside(right: Gradients, cache: Any, dout: Array) -> Gradients:
        _, _, sigma, _, eps = cache
        return _dx(cache, dout, sigma=np.sqrt(np.maximum(sigma**2 - eps, 0)) + eps)

    @known.named("ε is forgotten: 1/√variance instead of 1/√(variance + ε)")
    def eps_forgotten(right: Gradients, cache: Any, dout: Array) -> Gradients:
        _, _, sigma, _, eps = cache
        return _dx(cache, dout, sigma=np.sqrt(np.maximum(sigma**2 - eps, 0)))

    @known.named("ε is forgotten in all of dx: 1/√variance instead of 1/√(variance + ε)")
    def eps_forgotten_everywhere(right: Gradients, cache: Any, dout: Array) -> Gradients:
        xhat, gamma, sigma, axis, eps = cache
        without = np.sqrt(np.maximum(sigma**2 - eps, 0))
        return _dx((xhat * sigma / without, gamma, without, axis, 0.0), dout)

    @known.named("the mean over dx̂ x̂ lacks its factor x̂")
    def without_xhat(right: Gradients, cache: Any, dout: Array) -> Gradients:
        xhat, gamma, sigma, axis, _ = cache
        dxhat = dout * gamma
        of_mean, of_variance = dxhat.mean(axis, keepdims=True), (dxhat * xhat).mean(axis, keepdims=True)
        return {"x": (dxhat - of_mean - of_variance) / sigma}

    @known.named(wrong_means)
    def over_wrong_axis(right: Gradients, cache: Any, dout: Array) -> Gradients:
        xhat, gamma, sigma, axis, eps = cache
        return _dx((xhat, gamma, sigma, -1 if axis == 0 else 0, eps), dout)

    @known.named("γ is missing from dx̂ = γ dout")
    def without_gamma(right: Gradients, cache: Any, dout: Array) -> Gradients:
        xhat, gamma, sigma, axis, eps = cache
        return _dx((xhat, np.ones_like(gamma), sigma, axis, eps), dout)

    known.extend(_shared())
    return known


def _shared() -> Mistakes:
    """Return the mistakes that all normalizations have in common."""
    known = Mistakes()

    @known.named("the factor 1/σ is missing")
    def without_sigma(right: Gradients, cache: Any, dout: Array) -> Gradients:
        return {"x": right["x"] * cache[2]}

    @known.named("it is divided by the variance, σ², not by σ")
    def by_variance(right: Gradients, cache: Any, dout: Array) -> Gradients:
        return {"x": right["x"] / cache[2]}

    @known.named("x̂ is missing: this is the gradient of β")
    def without_normalized(right: Gradients, cache: Any, dout: Array) -> Gradients:
        return {"gamma": right["beta"]}

    @known.named("x − μ is used instead of x̂ = (x − μ)/σ")
    def not_divided(right: Gradients, cache: Any, dout: Array) -> Gradients:
        samples = tuple(range(dout.ndim - 1))
        return {"gamma": (dout * cache[0] * cache[2]).sum(samples)}

    @known.named("it is the mean over the samples, not the sum")
    def mean_of_samples(right: Gradients, cache: Any, dout: Array) -> Gradients:
        count = dout.size / dout.shape[-1]
        return {"gamma": right["gamma"] / count, "beta": right["beta"] / count}

    @known.named("γ is a factor too many")
    def times_gamma(right: Gradients, cache: Any, dout: Array) -> Gradients:
        return {"gamma": right["gamma"] * cache[1], "beta": right["beta"] * cache[1]}

    @known.named("the sum runs over the features, not over the samples")
    def over_features(right: Gradients, cache: Any, dout: Array) -> Gradients:
        return {"gamma": (dout * cache[0]).sum(-1), "beta": dout.sum(-1)}

    return known


_over_samples = _mistakes("n", "N", "the means run over the features (axis 1), not over the samples (axis 0)")
_over_features = _mistakes(
    "d", "D", "the means run over the samples (axis 0), not over the features of each sample (the last axis)"
)
_at_test = _shared()


@_at_test.named("this is the gradient of training: at test time mean and variance do not depend on x")
def _of_training(right: Gradients, cache: Any, dout: Array) -> Gradients:
    return _dx(cache, dout)


@_at_test.named("γ is missing")
def _test_without_gamma(right: Gradients, cache: Any, dout: Array) -> Gradients:
    return {"x": dout / cache[2]}


@_at_test.named("ε is forgotten: 1/√variance instead of 1/√(variance + ε)")
def _test_without_eps(right: Gradients, cache: Any, dout: Array) -> Gradients:
    _, gamma, sigma, _, eps = cache
    return {"x": dout * gamma / np.sqrt(sigma**2 - eps)}


BATCH_NORM = Reference(
    "batch norm",
    batchnorm_forward,
    batchnorm_backward,
    {
        "x": "dx_nd = (dx̂_nd − (1/N) Σ_m dx̂_md − x̂_nd (1/N) Σ_m dx̂_md x̂_md) / σ_d, "
        "with dx̂_nd = γ_d dout_nd and σ_d = √(var_d + ε)",
        "gamma": "dγ_d = Σ_n dout_nd x̂_nd",
        "beta": "dβ_d = Σ_n dout_nd",
    },
    _over_samples,
    lambda rng: integers(rng, x=(3, 1), gamma=(1,), beta=(1,)),
    options={"eps": EPS},
    defaults={"gamma": 1.0, "beta": 0.0},
)
LAYER_NORM = Reference(
    "layer norm",
    layernorm_forward,
    layernorm_backward,
    {
        "x": "dx_nd = (dx̂_nd − (1/D) Σ_e dx̂_ne − x̂_nd (1/D) Σ_e dx̂_ne x̂_ne) / σ_n, "
        "with dx̂_nd = γ_d dout_nd and σ_n = √(var_n + ε)",
        "gamma": "dγ_d = Σ_n dout_nd x̂_nd",
        "beta": "dβ_d = Σ_n dout_nd",
    },
    _over_features,
    lambda rng: integers(rng, x=(2, 3), gamma=(3,), beta=(3,)),
    options={"eps": EPS},
    defaults={"gamma": 1.0, "beta": 0.0},
)
BATCH_NORM_TEST = Reference(
    "batch norm at test time",
    batchnorm_test_forward,
    batchnorm_test_backward,
    {
        "x": "dx_nd = γ_d dout_nd / √(running_var_d + ε)",
        "gamma": "dγ_d = Σ_n dout_nd x̂_nd",
        "beta": "dβ_d = Σ_n dout_nd",
    },
    _at_test,
    lambda rng: {
        **integers(rng, x=(2, 1), gamma=(1,), beta=(1,), running_mean=(1,)),
        "running_var": rng.integers(1, 5, 1).astype(np.float64),
    },
    indices=("running_mean", "running_var"),
    options={"eps": EPS},
    defaults={"gamma": 1.0, "beta": 0.0},
)
