"""Floor 1: `check(f, theta)`, the gradient check of any function, for tests and notebooks."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np

from backproof.contracts import Array
from backproof.gradcheck.compare import Part, check_parts
from backproof.gradcheck.differences import differences, measured_noise, smallest
from backproof.gradcheck.hessian import check_products
from backproof.gradcheck.options import CheckOptions
from backproof.gradcheck.oracles import Dense, Values, complex_step
from backproof.gradcheck.report import ALONE, GradcheckReport, Section
from backproof.gradcheck.taylor import taylor_test

COMPLEX, CENTRAL, AUTO = "complex_step", "central_differences", "auto"


def check(
    f: Callable[[Any], tuple[Any, Any]],
    theta: Any,
    *,
    oracle: str = AUTO,
    options: CheckOptions | None = None,
    seed: int = 0,
) -> GradcheckReport:
    """Compare the gradient that `f(theta) -> (loss, gradient)` returns with the derivative of its loss.

    theta is an array or list of any shape, a number, or a dict of these by name; the gradient must be of the same
    form. `oracle` is complex_step (exact, `f` must take complex numbers), central_differences, or auto: the complex
    step where `f` takes complex numbers and agrees with central differences along a random direction. f is given
    float64 numbers, or complex128, in copies of its own.

        report = check(f, theta)
        assert report.passed, report.failure_message()

    Raises ValueError or TypeError where theta cannot be differentiated at, where what f returns has another form
    than (a number, a gradient like theta), and where f writes into its theta.
    """
    if oracle not in (COMPLEX, CENTRAL, AUTO):
        raise ValueError(f"oracle must be {COMPLEX}, {CENTRAL} or {AUTO}, got {oracle!r}")
    function = _Function(f, theta)
    flat, value = function.theta, function.value
    # What f cannot do is said here, before an oracle calls it.
    value(flat[None])
    function.gradient(flat)
    obstacle = None if oracle == CENTRAL else _no_complex(value, flat, seed)
    if oracle == COMPLEX and obstacle:
        raise ValueError(f"f cannot be checked by the complex step: {obstacle}; take oracle={CENTRAL!r}")
    exact = oracle != CENTRAL and not obstacle
    part = Part("loss", value, function.gradient, exact)
    section = check_parts([part], flat, function.tensors, options or CheckOptions(), moment="given", seed=seed)
    direction = np.random.default_rng(seed).normal(0, 1, flat.shape)
    direction *= np.where(flat == 0, smallest(flat), np.abs(flat))
    with np.errstate(all="ignore"):
        remainders = taylor_test(
            lambda at: float(value(at[None])[0]),
            function.gradient(flat),
            flat,
            direction,
            noise=measured_noise(value, flat),
        )
    return GradcheckReport((dataclasses.replace(section, taylor=remainders),))


def check_elementwise(
    f: Callable[[Array], Array], df: Callable[[Array], Array], at: Any, *, oracle: str = AUTO
) -> GradcheckReport:
    """Compare df(a) with the derivative of f(a), a function that works element by element, at the points `at`.

    check_elementwise(np.tanh, lambda a: 1 - np.tanh(a) ** 2, np.linspace(-3, 3, 61)).raise_if_failed()
    """
    return check(lambda a: (np.sum(f(a)), df(a)), at, oracle=oracle)


def check_hessian(
    f: Callable[[Any], tuple[Any, Any]], theta: Any, *, options: CheckOptions | None = None, seed: int = 0
) -> GradcheckReport:
    """Compare Hessian-vector products of the gradient that `f(theta) -> (loss, gradient)` returns with second
    derivatives of its loss, tensor by tensor, and look whether they are symmetric (`check_products`).

    theta and errors as in `check`. The products are taken by the complex step of the gradient, where f takes
    complex numbers, and by differences of it otherwise; the results say which.
    """
    function = _Function(f, theta)
    flat, value = function.theta, function.value
    value(flat[None])
    results = check_products(
        value,
        function.gradient,
        flat,
        function.tensors,
        options or CheckOptions(),
        complex_values=not _no_complex(value, flat, seed),
        seed=seed,
    )
    return GradcheckReport((Section(ALONE, tuple(results)),))


class _Function:
    """f as a function of one flat vector, with what it takes and returns looked at."""

    def __init__(self, f: Callable[[Any], tuple[Any, Any]], theta: Any) -> None:
        self.f, self.named = f, isinstance(theta, Mapping)
        given = dict(cast("Mapping[str, Any]", theta)) if self.named else {"theta": theta}
        arrays = {name: _real(each, name) for name, each in given.items()}
        self.tensors: dict[str, Array] = {}
        start = 0
        for name, each in arrays.items():
            self.tensors[name] = np.arange(start, start + each.size).reshape(each.shape)
            start += each.size
        if not start:
            raise ValueError("theta holds no number: there is nothing to differentiate by")
        #: (P,) float64
        self.theta = np.concatenate([each.ravel() for each in arrays.values()])

    def value(self, points: Array) -> Array:
        """(S,) losses at points (S, P)."""
        with warnings.catch_warnings():
            # f computes its gradient too, which may drop an imaginary part that nobody asks for.
            if points.dtype.kind == "c":
                warnings.simplefilter("ignore", np.exceptions.ComplexWarning)
            return np.array([self._loss(self._call(at)[0]) for at in points])

    def gradient(self, at: Array) -> Array:
        """(P,) of the dtype that f returns."""
        given = self._call(at)[1]
        if self.named != isinstance(given, Mapping):
            expected = f"a dict with {', '.join(self.tensors)}" if self.named else "an array, as theta is"
            raise ValueError(f"f must return as its gradient {expected}, got {type(given).__name__}")
        found = dict(cast("Mapping[str, Any]", given)) if self.named else {"theta": given}
        if set(found) != set(self.tensors):
            raise ValueError(
                f"the gradient must have the tensors {', '.join(self.tensors)}, got {', '.join(map(str, found))}"
            )
        flat: list[Array] = []
        for name, index in self.tensors.items():
            each = _array(found[name], f"the gradient of {name}")
            if each.shape != index.shape:
                raise ValueError(f"the gradient of {name} must have its shape {index.shape}, got {each.shape}")
            if each.dtype.kind == "c" and at.dtype.kind != "c":
                raise ValueError(f"the gradient of {name} must be real at real parameters, got {each.dtype}")
            flat.append(each.ravel())
        return np.concatenate(flat)

    def _call(self, at: Array) -> tuple[Any, Any]:
        """What f returns at a point, which it must leave as it is."""
        given = {name: np.array(at[index]) for name, index in self.tensors.items()}
        result: Any = self.f(dict(given) if self.named else given["theta"])
        for name, index in self.tensors.items():
            if not np.array_equal(given[name], at[index], equal_nan=True):
                place = np.argwhere(given[name] != at[index])[0].tolist()
                raise ValueError(
                    f"f wrote into its parameters, at {name}{place}: it must leave them as they are; "
                    f"let it work on a copy"
                )
        if not isinstance(result, tuple | list) or len(cast("tuple[Any, ...]", result)) != 2:
            raise TypeError(f"f must return (loss, gradient), got {_what(result)}")
        loss, gradient = cast("tuple[Any, Any]", result)
        return loss, gradient

    def _loss(self, loss: object) -> complex:
        number = _array(loss, "the loss")
        if number.size != 1:
            raise ValueError(
                f"the loss must be one number, got an array of shape {number.shape}: sum it, or take its mean"
            )
        return number.item()


def _real(given: Any, name: str) -> Array:
    """A tensor of theta in float64."""
    array = _array(given, name)
    if array.dtype.kind == "c":
        raise ValueError(
            f"{name} must be real, got {array.dtype}: pass its real and imaginary parts as two tensors"
        )
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        place = np.argwhere(~np.isfinite(array))[0].tolist()
        raise ValueError(f"{name}{place} is {array[tuple(place)]}: theta must be finite")
    return array


def _array(given: Any, what: str) -> Array:
    """Numbers as an array."""
    try:
        array: Array = np.asarray(given)
    except ValueError as error:
        raise ValueError(f"{what} must be numbers in a regular shape: {error}") from None
    if array.dtype.kind not in "biufc":
        raise TypeError(f"{what} must be numbers, got {_what(given)}")
    return array


def _what(given: Any) -> str:
    """`NoneType`, `a tuple of 3`, `an array of shape (3,)`."""
    if isinstance(given, np.ndarray):
        return f"an array of shape {cast('Array', given).shape}"
    if isinstance(given, tuple):
        return f"a tuple of {len(cast('tuple[Any, ...]', given))}"
    return type(given).__name__


def _no_complex(value: Values, theta: Array, seed: int) -> str:
    """Why the complex step does not work on the function; nothing where it does. One that drops the imaginary part,
    as `abs` does, gives a wrong slope without a word: the slope is compared with central differences."""
    along = Dense(np.arange(len(theta)), np.random.default_rng(seed).standard_normal((1, len(theta))))
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            # NumPy warns where an imaginary part is dropped; the slope shows it as well.
            warnings.simplefilter("ignore")
            exact = float(complex_step(value, theta, along)[0][0])
    # A function for real numbers may raise anything at all when it meets complex ones.
    except Exception as error:  # noqa: BLE001
        return f"with complex numbers it raises {type(error).__name__}: {error}"
    with np.errstate(all="ignore"):
        rough = differences(value, theta, along)
    slope, off = float(rough.values[0]), float(rough.errors[0])
    if abs(exact - slope) <= 10 * off + 1e-6 * abs(slope):
        return ""
    return f"it gives the slope {exact:.6g} along a direction in which central differences give {slope:.6g}"
