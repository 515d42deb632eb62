"""The checkers. Each judges f(theta) -> (loss, gradient): accepted, rejected or untested."""

from __future__ import annotations

import signal
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from scipy.optimize import check_grad

from benchmarks.gradcheck.hard.kind import Array, Function
from benchmarks.gradcheck.hard.mistakes import flat, shaped, tensors
from benchmarks.gradcheck.package import Packaged

#: Seconds of processor time for one check; elapsed time would depend on the machine's load.
LIMIT = 20


@dataclass(frozen=True)
class Verdict:
    """The verdict of a checker: accepted, rejected, untested, timeout or error."""

    outcome: str
    #: The smallest relative error of each tensor that would have been seen, where the checker states one.
    resolutions: dict[str, float] = field(default_factory=dict[str, float])
    message: str = ""

    @property
    def resolution(self) -> float:
        """Return the coarsest resolution, or NaN if none is stated."""
        return max(self.resolutions.values(), default=np.nan)


@dataclass(frozen=True)
class Peer(Packaged):
    """One checker of any function's gradient."""

    check: Callable[[Function, Any], Verdict]


def judged(peer: Peer, f: Function, theta: Any) -> Verdict:
    """Return the verdict within the time limit. Any exception, also one of f, is an outcome."""

    def stop(*_: Any) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, LIMIT)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return peer.check(f, theta)
    except TimeoutError:
        return Verdict("timeout", message=f"not finished after {LIMIT} s")
    except Exception as error:  # noqa: BLE001
        if "TimeoutError" in str(error):
            return Verdict("timeout", message=f"not finished after {LIMIT} s")
        return Verdict("error", message=f"{type(error).__name__}: {error}".splitlines()[0])
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def ours(f: Function, theta: Any) -> Verdict:
    from backproof import check

    report = check(f, theta)
    results = [result for section in report.sections for result in section.results]
    resolutions = {
        result.tensor if isinstance(theta, dict) else "": result.resolution
        for result in results
        if result.status == "passed"
    }
    notes = "; ".join(result.note for result in results if result.note)
    outcome = {"passed": "accepted", "failed": "rejected", "nothing to check": "accepted"}.get(
        report.status, "untested"
    )
    return Verdict(outcome, resolutions, report.failure_message() or notes)


def torch_gradcheck(f: Function, theta: Any, *, fast: bool) -> Verdict:
    """Check a torch Function of the tensors of theta whose backward gives the claimed gradient."""
    import torch

    torch.set_num_threads(1)

    class Loss(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *parts: Any) -> Any:
            ctx.save_for_backward(*parts)
            loss = f(_together([part.numpy() for part in parts], theta))[0]
            return torch.as_tensor(float(np.real(loss)), dtype=torch.float64)

        @staticmethod
        def backward(ctx: Any, *outer: Any) -> Any:
            slope = f(_together([part.numpy() for part in ctx.saved_tensors], theta))[1]
            return tuple(outer[0] * torch.from_numpy(part) for part in _slopes(slope, theta))

    inputs = tuple(torch.from_numpy(part.copy()).requires_grad_() for part in tensors(theta).values())
    return _said(torch.autograd.gradcheck(Loss.apply, inputs, fast_mode=fast, raise_exception=False))


def jax_check_grads(f: Function, theta: Any) -> Verdict:
    """Call check_vjp on NumPy functions: callbacks would be compiled for each of them."""
    import jax
    from jax.test_util import check_vjp

    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_platforms", "cpu")
    parts = tuple(tensors(theta).values())

    def value(*inputs: Any) -> Any:
        return np.float64(np.real(f(_together([np.asarray(part) for part in inputs], theta))[0]))

    def vjp(*inputs: Any) -> Any:
        loss, slope = f(_together([np.asarray(part) for part in inputs], theta))
        slopes = _slopes(slope, theta)
        return np.float64(np.real(loss)), lambda outer: tuple(np.asarray(outer) * part for part in slopes)

    try:
        check_vjp(value, vjp, parts)
    except AssertionError:
        return Verdict("rejected")
    return Verdict("accepted")


def autograd_check_grads(f: Function, theta: Any) -> Verdict:
    """Check an autograd primitive of the flat theta whose vjp gives the claimed gradient."""
    from autograd.extend import defvjp, primitive
    from autograd.test_util import check_grads

    checked: Any = check_grads
    loss = primitive(lambda t: _value(f, t, theta))
    defvjp(loss, lambda ans, t: lambda outer: outer * _gradient(f, t, theta))
    # Its direction is drawn from NumPy's global generator.
    np.random.seed(0)
    try:
        checked(loss, modes=["rev"], order=1)(flat(theta))
    except AssertionError:
        return Verdict("rejected")
    return Verdict("accepted")


def scipy_check_grad(f: Function, theta: Any) -> Verdict:
    """Accept a difference whose norm is at most 1e-3 of the gradient's."""
    x = flat(theta)
    gradient = _gradient(f, x, theta)
    gap = check_grad(lambda t: _value(f, t, theta), lambda t: _gradient(f, t, theta), x)
    return _said(gap <= 1e-3 * max(np.linalg.norm(gradient), 1e-8))


def course_rule(f: Function, theta: Any) -> Verdict:
    """Accept |got − expected| / max(|got|, |expected|) < 1e-5 in every entry, by central differences."""
    x, h = flat(theta), 1e-5
    got, expected = _gradient(f, x, theta), np.empty_like(x)
    for i in range(x.size):
        step = np.zeros_like(x)
        step[i] = h
        expected[i] = (_value(f, x + step, theta) - _value(f, x - step, theta)) / (2 * h)
    error = np.abs(got - expected) / np.maximum(np.maximum(np.abs(got), np.abs(expected)), 1e-8)
    return _said(np.all(error < 1e-5))


def _said(accepted: Any) -> Verdict:
    return Verdict("accepted" if accepted else "rejected")


def _together(parts: list[Array], theta: Any) -> Any:
    return dict(zip(theta, parts, strict=True)) if isinstance(theta, dict) else parts[0]


def _slopes(slope: Any, theta: Any) -> list[Array]:
    """Return the gradient's tensors in the shapes of theta's."""
    return list(tensors(shaped(flat(slope), theta)).values())


def _value(f: Function, x: Array, theta: Any) -> float:
    return float(np.real(f(shaped(x, theta))[0]))


def _gradient(f: Function, x: Array, theta: Any) -> Array:
    return flat(f(shaped(x, theta))[1])


PEERS = (
    Peer("backproof", "backproof.check(f, theta)", "backproof", ours),
    Peer(
        "torch gradcheck",
        "torch.autograd.gradcheck(f, inputs): eps 1e-6, atol 1e-5, rtol 1e-3",
        "torch",
        partial(torch_gradcheck, fast=False),
    ),
    Peer(
        "torch gradcheck, fast",
        "the same with fast_mode=True: one random direction",
        "torch",
        partial(torch_gradcheck, fast=True),
    ),
    Peer(
        "jax check_grads",
        "jax.test_util.check_vjp(f, vjp, args), which check_grads calls, in float64",
        "jax",
        jax_check_grads,
    ),
    Peer(
        "autograd check_grads",
        "autograd.test_util.check_grads(f, modes=['rev'], order=1)(theta): one random direction",
        "autograd",
        autograd_check_grads,
    ),
    Peer(
        "scipy check_grad",
        "scipy.optimize.check_grad(f, g, theta) <= 1e-3 of the gradient's norm",
        "scipy",
        scipy_check_grad,
    ),
    Peer(
        "course rule",
        "central differences, h = 1e-5; every entry's relative error < 1e-5",
        "numpy",
        course_rule,
    ),
)
