"""Floor 1: `check(f, theta)`, the gradient check of any function, for tests and notebooks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np

from framework.gradcheck.compare import Part, check_parts
from framework.gradcheck.options import CheckOptions
from framework.gradcheck.oracles import Dense, Values, central_differences, complex_step
from framework.gradcheck.report import GradcheckReport
from framework.kinds import Array

Params = Array | Mapping[str, Array]
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

    theta is an array of any shape, or a dict of arrays by name; the gradient must be of the same form. `oracle`
    is complex_step (exact, `f` must take complex numbers), central_differences, or auto: the complex step where
    `f` takes complex numbers and agrees with central differences along a random direction.

        report = check(f, theta)
        assert report.passed, report.failure_message()

    Raises ValueError where what f returns has another form than theta.
    """
    shapes = _shapes(theta)
    flat = _pack(theta, shapes, "theta").astype(np.float64)
    tensors: dict[str, Array] = {}
    start = 0
    for name, shape in shapes.items():
        size = int(np.prod(shape, dtype=int))
        tensors[name] = np.arange(start, start + size).reshape(shape)
        start += size

    def call(at: Array) -> tuple[Any, Any]:
        given = {name: at[index] for name, index in tensors.items()}
        return f(given if isinstance(theta, Mapping) else given["theta"])

    def value(points: Array) -> Array:
        return np.array([np.asarray(call(at)[0]).item() for at in points])

    def gradient(at: Array) -> Array:
        return _pack(call(at)[1], shapes, "the gradient")

    if oracle not in (COMPLEX, CENTRAL, AUTO):
        raise ValueError(f"oracle must be {COMPLEX}, {CENTRAL} or {AUTO}, got {oracle!r}")
    exact = oracle == COMPLEX or (oracle == AUTO and _takes_complex(value, flat, seed))
    part = Part("loss", value, gradient, exact)
    section = check_parts([part], flat, tensors, options or CheckOptions(), moment="given", seed=seed)
    return GradcheckReport((section,))


def _shapes(theta: Any) -> dict[str, tuple[int, ...]]:
    if isinstance(theta, Mapping):
        named = cast("Mapping[str, Array]", theta)
        return {name: np.shape(each) for name, each in named.items()}
    return {"theta": np.shape(theta)}


def _pack(params: Any, shapes: dict[str, tuple[int, ...]], what: str) -> Array:
    """One flat vector from arrays by name."""
    named = dict(cast("Mapping[str, Any]", params)) if isinstance(params, Mapping) else {"theta": params}
    if set(named) != set(shapes):
        raise ValueError(f"{what} must have the tensors {', '.join(shapes)}, got {', '.join(named)}")
    for name, shape in shapes.items():
        if np.shape(named[name]) != shape:
            raise ValueError(f"{what} of {name} must have its shape {shape}, got {np.shape(named[name])}")
    return np.concatenate([np.ravel(np.asarray(named[name])) for name in shapes])


def _takes_complex(value: Values, theta: Array, seed: int) -> bool:
    """Whether the complex step works on the function. One that drops the imaginary part, as `abs` does, gives a
    wrong slope without a word, so that the slope is compared with central differences."""
    along = Dense(np.arange(len(theta)), np.random.default_rng(seed).standard_normal((1, len(theta))))
    try:
        with np.errstate(all="ignore"):
            exact, _ = complex_step(value, theta, along)
    # A function for real numbers may raise anything at all when it meets complex ones.
    except Exception:  # noqa: BLE001
        return False
    rough, error = central_differences(value, theta, along)
    return bool(np.abs(exact - rough)[0] <= 10 * error[0] + 1e-6 * np.abs(rough)[0])
