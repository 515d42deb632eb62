"""What the conformance checks of all kinds share: how a check is declared, and the properties that recur.

A check is a function of one plugin instance that raises ConformanceError. The module of a kind declares its checks:

    CHECKS = Checks(Activation)

    @CHECKS.add
    def check_nan(activation: Activation) -> None: ...

Arrays that a plugin must fill hold NaN before, so that entries that are not written show.
"""

from __future__ import annotations

import functools
import tracemalloc
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

import numpy as np

from backproof.contracts import Array, Plugin
from backproof.contracts.errors import ConformanceError, require
from backproof.experiment.stackable import AnyPlugin, Results, require_kind
from backproof.gradcheck.oracles import Axes, Values, central_differences, complex_step

Check = Callable[[Plugin], None]
Case = TypeVar("Case")


class Checks(list[Check], Generic[AnyPlugin]):
    """The checks of one kind, in order. Each refuses plugins of another kind."""

    def __init__(self, kind: type[AnyPlugin]) -> None:
        super().__init__()
        self.kind = kind

    def add(self, function: Callable[[AnyPlugin], None]) -> Check:
        """Declare a check of a plugin."""

        @functools.wraps(function)
        def check(plugin: Plugin) -> None:
            function(require_kind(plugin, self.kind))

        self.append(check)
        return check

    def add_for(
        self, cases: Callable[[AnyPlugin], Iterable[Case]], *, named: bool = True
    ) -> Callable[[Callable[[Case], None]], Check]:
        """Declare a check of each case of a plugin, as each task of a loss. Errors name the case if `named`."""

        def declare(function: Callable[[Case], None]) -> Check:
            @functools.wraps(function)
            def check(plugin: AnyPlugin) -> None:
                for case in cases(plugin):
                    try:
                        function(case)
                    except ConformanceError as error:
                        raise ConformanceError(f"{case}: {error}" if named else str(error)) from None

            return self.add(check)

        return declare


def feature_major(array: Array) -> Array:
    """Return the numbers (R, B, K) in memory (R, K, B), as the network has them."""
    return np.ascontiguousarray(array.swapaxes(1, 2)).swapaxes(1, 2)


def require_untouched(name: str, method: Callable[..., object], *arguments: Any, **inputs: Array) -> None:
    """Raise ConformanceError if a call changes one of its inputs."""
    before = {letter: array.copy() for letter, array in inputs.items()}
    method(*arguments)
    for letter, array in inputs.items():
        require(np.array_equal(array, before[letter]), f"{name} must not change {letter}")


def require_finite(where: str, results: Results, *arrays: Array) -> None:
    """Raise ConformanceError if a result is not finite, or if NumPy has something to warn of."""
    try:
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            computed = results(*arrays)
    except ArithmeticError as error:
        raise ConformanceError(f"{where}: {error}") from None
    for name, result in computed.items():
        require(np.isfinite(result).all(), f"{where}: {name} must be finite")


def require_near(
    single: Mapping[str, Array], double: Mapping[str, Array], rtol: float = 1e-5, atol: float = 0.0
) -> None:
    """Raise ConformanceError if a result in float32 is not near the one in float64."""
    for name, result in single.items():
        require(
            np.allclose(result, double[name], rtol=rtol, atol=atol),
            f"{name} in float32 must be near float64, off by {np.abs(result - double[name]).max():.2g}",
        )


def require_no_allocation(name: str, method: Callable[..., object], *arguments: Any, limit: int) -> None:
    """Raise ConformanceError if a call that is made at every step allocates `limit` bytes or more."""
    method(*arguments)  # what is cached at the first call is not counted
    tracemalloc.start()
    try:
        method(*arguments)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    require(peak < limit, f"{name} must work in place: it allocated {peak:,} bytes, and {limit:,} are too many")


def require_slopes(
    got: Array, expected: Array, allowed: Any, function: str, describe: Callable[[int], str]
) -> None:
    """Raise ConformanceError for the entry of `got` (n,) that is furthest from the slope of a function.

    describe  names entry j in the message
    """
    gap = np.abs(got - expected)
    wrong = np.flatnonzero(~(gap <= allowed))  # NaN is wrong
    if len(wrong):
        j = int(wrong[np.argmax(np.nan_to_num(gap[wrong], nan=np.inf))])
        ratio = got[j] / expected[j] if expected[j] else np.inf
        raise ConformanceError(
            f"{describe(j)} is {got[j]:.15g}, but {function} has the slope {expected[j]:.15g} (ratio {ratio:.10g})"
        )


def require_gradient(
    grad: Array,
    value: Values,
    theta: Array,
    *,
    complex_form: bool,
    describe: Callable[[int], str],
    least: float = 0.0,
) -> None:
    """Raise ConformanceError if `grad` (P,) is not the derivative of `value` at theta (P,).

    least  the size of the derivative below which errors count as if it had this size
    """
    oracle, tolerance = (complex_step, 1e-12) if complex_form else (central_differences, 1e-8)
    slopes, errors = oracle(value, theta, Axes(np.arange(len(theta))))
    allowed = tolerance * max(least, float(np.abs(slopes).max())) + errors
    require_slopes(grad, slopes, allowed, "value", describe)


def require_subgradient(grad: Array, value: Values, theta: Array, where: str) -> None:
    """Raise ConformanceError if `grad` (P,) is not between the one-sided slopes of `value` at theta (P,)."""
    h, axes = 1e-6, np.eye(len(theta))
    at, up, down = (np.asarray(value(theta + step * axes)) for step in (0, h, -h))
    right, left = (up - at) / h, (at - down) / h
    low, high = np.minimum(left, right), np.maximum(left, right)
    margin = 1e-5 * np.maximum(1, np.maximum(np.abs(left), np.abs(right)))
    wrong = np.flatnonzero(~((grad >= low - margin) & (grad <= high + margin)))
    require(
        not len(wrong),
        f"{where} the gradient must lie between the one-sided slopes of value"
        + "".join(f", {low[j]:.6g} and {high[j]:.6g}; entry {j} is {grad[j]:.6g}" for j in wrong[:1]),
    )


def require_complex_form(
    name: str, compute: Callable[[Array], Array], x: Array, rtol: float, atol: float
) -> None:
    """Raise ConformanceError if complex numbers without an imaginary part give another result than real ones."""
    real, other = compute(x), np.real(compute(x + 0j))
    wrong = np.argwhere(~np.isclose(other, real, rtol=rtol, atol=atol))
    if len(wrong):
        at = tuple(wrong[0])
        raise ConformanceError(
            f"{name} of real numbers is {real[at]:.15g}, but {other[at]:.15g} of the same numbers as complex ones: "
            "the complex step would check another function"
        )
