"""The checkers: each gets the same loss and claimed gradient, uses its default settings, and accepts or rejects."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from backproof.contracts import Array
from backproof.discovery.registry import registry
from backproof.gradcheck import CheckOptions
from backproof.gradcheck.report import UNTESTED
from backproof.netcheck.network import NetworkCheck
from scipy.optimize import check_grad

from benchmarks.gradcheck.package import Packaged
from benchmarks.gradcheck.problems import Candidate

#: Whether a claimed gradient is accepted; None if the checker says that it cannot tell.
Check = Callable[[Candidate], bool | None]


@dataclass(frozen=True)
class Checker(Packaged):
    """One checker of networks' gradients."""

    make: Callable[[], Check]


def ours() -> Check:
    """Return `NetworkCheck` with the options of `backproof check`, at one point."""
    penalty = registry().build("penalty", "none")

    def check(candidate: Candidate) -> bool | None:
        p, N = candidate.problem, len(candidate.problem.X)
        # It shuffles the samples. Some mistakes depend on their order, which must be the same for all checkers.
        order = np.argsort(np.random.default_rng(0).permutation(N))
        network = NetworkCheck(p.net, p.X[order], p.y[order], penalty, CheckOptions(), 0)
        section = network.section(p.theta[None], p.moment)
        return None if section.status == UNTESTED else section.passed

    return check


def torch_gradcheck(*, fast: bool) -> Check:
    """Return gradcheck of a Function of W1, b1, ... whose backward gives the claimed gradient."""
    import torch

    torch.set_num_threads(1)

    def check(candidate: Candidate) -> bool:
        class Loss(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, *tensors: Any) -> Any:
                ctx.save_for_backward(*tensors)
                return torch.as_tensor(candidate.value(candidate.join([tensor.numpy() for tensor in tensors])))

            @staticmethod
            def backward(ctx: Any, *outer: Any) -> Any:
                grad = candidate.gradient(candidate.join([tensor.numpy() for tensor in ctx.saved_tensors]))
                return tuple(outer[0] * torch.from_numpy(tensor) for tensor in candidate.split(grad))

        inputs = [torch.from_numpy(tensor).requires_grad_() for tensor in candidate.split(candidate.theta)]
        with warnings.catch_warnings():
            # It warns that float32 is too coarse, which the table shows anyway.
            warnings.simplefilter("ignore", UserWarning)
            return bool(
                torch.autograd.gradcheck(Loss.apply, tuple(inputs), fast_mode=fast, raise_exception=False)
            )

    return check


def jax_check_grads() -> Check:
    """Return check_grads of a custom_vjp of W1, b1, ... that gives the claimed gradient by callbacks to NumPy."""
    import jax
    from jax.test_util import check_grads

    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_platforms", "cpu")
    count = itertools.count(1)

    def check(candidate: Candidate) -> bool:
        scalar = jax.ShapeDtypeStruct((), candidate.theta.dtype)
        shapes = tuple(
            jax.ShapeDtypeStruct(tensor.shape, tensor.dtype) for tensor in candidate.split(candidate.theta)
        )

        def value(*tensors: Any) -> Any:
            return np.asarray(candidate.value(candidate.join([np.asarray(tensor) for tensor in tensors])))

        def gradient(*tensors: Any) -> Any:
            return tuple(
                candidate.split(candidate.gradient(candidate.join([np.asarray(tensor) for tensor in tensors])))
            )

        def forward(*tensors: Any) -> Any:
            return loss(*tensors), tensors

        def backward(tensors: Any, outer: Any) -> Any:
            return tuple(outer * tensor for tensor in jax.pure_callback(gradient, shapes, *tensors))

        loss = jax.custom_vjp(lambda *tensors: jax.pure_callback(value, scalar, *tensors))
        loss.defvjp(forward, backward)
        passes = _passes(
            lambda: check_grads(loss, tuple(candidate.split(candidate.theta)), order=1, modes=["rev"])
        )
        # Compiled code stays in memory, some megabytes per check.
        if next(count) % 200 == 0:
            jax.clear_caches()
        return passes

    return check


def autograd_check_grads() -> Check:
    """Return check_grads of a primitive of theta whose vjp gives the claimed gradient."""
    from autograd.extend import defvjp, primitive
    from autograd.test_util import check_grads

    untyped_check_grads: Any = check_grads

    def check(candidate: Candidate) -> bool:
        loss = primitive(candidate.value)
        defvjp(loss, lambda ans, theta: lambda outer: outer * candidate.gradient(theta))
        # It draws directions from NumPy's global generator.
        np.random.seed(0)
        return _passes(lambda: untyped_check_grads(loss, modes=["rev"], order=1)(candidate.theta))

    return check


def scipy_check_grad() -> Check:
    """Return `check_grad`, whose error is accepted up to 1e-6."""
    return lambda candidate: bool(check_grad(candidate.value, candidate.gradient, candidate.theta) <= 1e-6)


def course_rule() -> Check:
    """Return CS231n's rule: |got − expected| / (|got| + |expected|) ≤ 1e-7 per entry, by central differences."""

    def check(candidate: Candidate) -> bool:
        got, expected = candidate.gradient(candidate.theta), _central(candidate, 1e-5)
        return bool(np.max(np.abs(got - expected) / np.maximum(1e-8, np.abs(got) + np.abs(expected))) <= 1e-7)

    return check


def _central(candidate: Candidate, h: float) -> Array:
    theta, slopes = candidate.theta.copy(), np.empty_like(candidate.theta)
    for i, value in enumerate(candidate.theta):
        theta[i] = value + h
        above = candidate.value(theta)
        theta[i] = value - h
        slopes[i] = (above - candidate.value(theta)) / (2 * h)
        theta[i] = value
    return slopes


def _passes(check: Callable[[], object]) -> bool:
    """Return whether a checker raises no AssertionError."""
    try:
        check()
    except AssertionError:
        return False
    return True


CHECKERS = (
    Checker("backproof", "NetworkCheck, CheckOptions()", "backproof", ours),
    Checker(
        "torch gradcheck",
        "torch.autograd.gradcheck(f, (W1, b1, ...))",
        "torch",
        lambda: torch_gradcheck(fast=False),
    ),
    Checker(
        "torch gradcheck, fast",
        "the same, fast_mode=True",
        "torch",
        lambda: torch_gradcheck(fast=True),
    ),
    Checker(
        "jax check_grads",
        'jax.test_util.check_grads(f, (W1, b1, ...), order=1, modes=["rev"]), which is check_vjp',
        "jax",
        jax_check_grads,
    ),
    Checker(
        "autograd check_grads",
        'autograd.test_util.check_grads(f, modes=["rev"], order=1)(theta)',
        "autograd",
        autograd_check_grads,
    ),
    Checker("scipy check_grad", "scipy.optimize.check_grad(f, g, theta) <= 1e-6", "scipy", scipy_check_grad),
    Checker("course rule", "central differences, h = 1e-5; every entry within 1e-7", "numpy", course_rule),
)
