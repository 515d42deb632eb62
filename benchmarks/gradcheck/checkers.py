"""The checkers: each gets the same loss and claimed gradient, keeps its own defaults, and says yes or no."""

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

#: Whether a claimed gradient is accepted; None where the checker says that it cannot tell.
Check = Callable[[Candidate], bool | None]


@dataclass(frozen=True)
class Checker(Packaged):
    """One checker of networks' gradients."""

    make: Callable[[], Check]


def ours() -> Check:
    """`NetworkCheck` with the options of `backproof check`, at this one point."""
    penalty = registry().build("penalty", "none")

    def check(given: Candidate) -> bool | None:
        p, N = given.problem, len(given.problem.X)
        # It shuffles the samples; some mistakes depend on their order, which must be the same for all checkers.
        order = np.argsort(np.random.default_rng(0).permutation(N))
        network = NetworkCheck(p.net, p.X[order], p.y[order], penalty, CheckOptions(), 0)
        section = network.section(p.theta[None], p.moment)
        return None if section.status == UNTESTED else section.passed

    return check


def torch_gradcheck(*, fast: bool) -> Check:
    """A Function of W1, b1, ... whose backward gives the claimed gradient."""
    import torch

    torch.set_num_threads(1)

    def check(given: Candidate) -> bool:
        class Loss(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, *tensors: Any) -> Any:
                ctx.save_for_backward(*tensors)
                return torch.as_tensor(given.value(given.join([each.numpy() for each in tensors])))

            @staticmethod
            def backward(ctx: Any, *outer: Any) -> Any:
                grad = given.gradient(given.join([each.numpy() for each in ctx.saved_tensors]))
                return tuple(outer[0] * torch.from_numpy(each) for each in given.split(grad))

        inputs = [torch.from_numpy(each).requires_grad_() for each in given.split(given.theta)]
        with warnings.catch_warnings():
            # That float32 is too coarse for it: the row says so.
            warnings.simplefilter("ignore", UserWarning)
            return bool(
                torch.autograd.gradcheck(Loss.apply, tuple(inputs), fast_mode=fast, raise_exception=False)
            )

    return check


def jax_check_grads() -> Check:
    """A custom_vjp of W1, b1, ... whose backward gives the claimed gradient, by callbacks to NumPy."""
    import jax
    from jax.test_util import check_grads

    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_platforms", "cpu")
    count = itertools.count(1)

    def check(given: Candidate) -> bool:
        scalar = jax.ShapeDtypeStruct((), given.theta.dtype)
        shapes = tuple(jax.ShapeDtypeStruct(each.shape, each.dtype) for each in given.split(given.theta))

        def value(*tensors: Any) -> Any:
            return np.asarray(given.value(given.join([np.asarray(each) for each in tensors])))

        def gradient(*tensors: Any) -> Any:
            return tuple(given.split(given.gradient(given.join([np.asarray(each) for each in tensors]))))

        def forward(*tensors: Any) -> Any:
            return loss(*tensors), tensors

        def backward(tensors: Any, outer: Any) -> Any:
            return tuple(outer * each for each in jax.pure_callback(gradient, shapes, *tensors))

        loss = jax.custom_vjp(lambda *tensors: jax.pure_callback(value, scalar, *tensors))
        loss.defvjp(forward, backward)
        passes = _passes(lambda: check_grads(loss, tuple(given.split(given.theta)), order=1, modes=["rev"]))
        # It keeps all that it compiled, some megabytes a check.
        if next(count) % 200 == 0:
            jax.clear_caches()
        return passes

    return check


def autograd_check_grads() -> Check:
    """A primitive of theta whose vjp gives the claimed gradient."""
    from autograd.extend import defvjp, primitive
    from autograd.test_util import check_grads

    checked: Any = check_grads

    def check(given: Candidate) -> bool:
        loss = primitive(given.value)
        defvjp(loss, lambda ans, theta: lambda outer: outer * given.gradient(theta))
        # Its directions are drawn from NumPy's global generator.
        np.random.seed(0)
        return _passes(lambda: checked(loss, modes=["rev"], order=1)(given.theta))

    return check


def scipy_check_grad() -> Check:
    """`check_grad` gives a number; it is accepted up to 1e-6."""
    return lambda given: bool(check_grad(given.value, given.gradient, given.theta) <= 1e-6)


def course_rule() -> Check:
    """Central differences, |got − expected| / (|got| + |expected|) of each entry at most 1e-7 (CS231n's notes)."""

    def check(given: Candidate) -> bool:
        got, expected = given.gradient(given.theta), _central(given, 1e-5)
        return bool(np.max(np.abs(got - expected) / np.maximum(1e-8, np.abs(got) + np.abs(expected))) <= 1e-7)

    return check


def _central(given: Candidate, h: float) -> Array:
    theta, slopes = given.theta.copy(), np.empty_like(given.theta)
    for i, own in enumerate(given.theta):
        theta[i] = own + h
        above = given.value(theta)
        theta[i] = own - h
        slopes[i] = (above - given.value(theta)) / (2 * h)
        theta[i] = own
    return slopes


def _passes(check: Callable[[], object]) -> bool:
    """Whether a checker that asserts does not."""
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
