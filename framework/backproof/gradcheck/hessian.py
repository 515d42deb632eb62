"""Second derivatives: Hessian-vector products of a hand-derived gradient, and their check."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from backproof.contracts import Array
from backproof.gradcheck.differences import EPS, differences
from backproof.gradcheck.directions import Dense
from backproof.gradcheck.norms import MOST_TOLERANCE, ROUNDINGS, ratio, rms
from backproof.gradcheck.options import CheckOptions
from backproof.gradcheck.oracles import STEP, Values, central_differences, complex_step
from backproof.gradcheck.report import FAILED, NOTHING, PASSED, UNTESTED, TensorResult

#: The relative difference from which two products cannot both be derivatives of the same gradient.
AGREE = 1e-5
#: The most by which the estimated errors of differences are too small, relative to the product.
SMALLEST = 1e-9
EXACT, ROUGH = "complex step of the gradient", "differences of the gradient"


@dataclass(frozen=True)
class Product:
    """H u, the derivative of a gradient along u."""

    values: Array  # (P,)
    oracle: str  # the method
    errors: Array  # (P,) estimated for differences; zero for the complex step
    note: str = ""  # why the complex step was not used


def hessian_vector_product(gradient: Callable[[Array], Array], theta: Array, u: Array) -> Product:
    """Return H u (P,) of a hand-derived gradient (P,) -> (P,) at theta (P,).

    It is Im ∇f(θ + i h u) / h with h = 1e-30, exact to rounding, if the gradient is written for complex numbers.
    Otherwise, or if the gradient drops imaginary parts (seen by comparison), central differences are used.
    """
    rough, errors = _differences(gradient, theta, u)
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exact = np.imag(gradient(theta + 1j * STEP * u)) / STEP
    # Code for real numbers may raise any exception when it gets complex ones.
    except Exception as error:  # noqa: BLE001
        return Product(
            rough,
            ROUGH,
            errors,
            f"the gradient does not accept complex numbers: {type(error).__name__}: {error}",
        )
    size = max(float(np.linalg.norm(rough)), float(np.linalg.norm(exact)))
    off = np.abs(exact - rough)
    # A small term that drops the imaginary part causes a small error, but larger than that of the differences.
    if not (np.linalg.norm(off) <= AGREE * size and (off <= errors + SMALLEST * size).all()):
        return Product(rough, ROUGH, errors, "the gradient gives a different derivative with complex numbers")
    return Product(exact, EXACT, np.zeros_like(exact))


def _differences(gradient: Callable[[Array], Array], theta: Array, u: Array) -> tuple[Array, Array]:
    """Return H u by extrapolated central differences, and its estimated errors.

    Each entry comes from the step at which it changes least. Its error is ten times that change, since the smallest
    of several changes may be small by chance.
    """
    size = float(np.linalg.norm(theta) / np.linalg.norm(u)) or 1.0
    steps = size * 10.0 ** np.arange(-2.0, -5.6, -0.5)
    slopes = np.array(
        [(_real(gradient, theta + h * u) - _real(gradient, theta - h * u)) / (2 * h) for h in steps]
    )
    better = (10 * slopes[1:] - slopes[:-1]) / 9
    change = np.abs(np.diff(better, axis=0))
    best = np.nan_to_num(change, nan=np.inf).argmin(axis=0)[None]
    return np.take_along_axis(better[1:], best, axis=0)[0], 10 * np.take_along_axis(change, best, axis=0)[0]


def _real(gradient: Callable[[Array], Array], theta: Array) -> Array:
    return np.array(gradient(theta), dtype=np.float64)


def check_products(
    value: Values,
    gradient: Callable[[Array], Array],
    theta: Array,
    tensors: Mapping[str, Array],
    options: CheckOptions,
    *,
    complex_values: bool,
    seed: int = 0,
) -> list[TensorResult]:
    """Compare H u of a hand-derived gradient with second derivatives of the values, tensor by tensor.

    Along Gaussian directions w in one tensor, w·(H u) is compared with the derivative along u of the slope of the
    loss along w. The slope comes from the complex step if `complex_values`, and its derivative from central
    differences, whose errors widen the tolerance. In addition, u·(H w) must equal w·(H u), since H is symmetric:
    this needs no values and is exact to rounding. A right gradient passes both.
    """
    rng = np.random.default_rng((seed, 2))
    u = rng.standard_normal(len(theta))
    with np.errstate(all="ignore"):
        product = hessian_vector_product(gradient, theta, u)
        slope = complex_step if complex_values else central_differences
        results: list[TensorResult] = []
        for name, index in tensors.items():
            flat = index.ravel()
            vectors = rng.standard_normal((options.directions, len(flat)))
            mixed = [_mixed(value, slope, theta, u, flat, w) for w in vectors]
            expected, errors = (np.array(column) for column in zip(*mixed, strict=True))
            errors += float(np.linalg.norm(product.errors[flat]))
            results.append(
                _compared(name, index.shape, product, vectors @ product.values[flat], expected, errors, options)
            )
        vectors = rng.standard_normal((min(4, options.directions), len(theta)))
        products = [hessian_vector_product(gradient, theta, w) for w in vectors]
        pairs = np.array([[w @ product.values, u @ Hw.values] for w, Hw in zip(vectors, products, strict=True)])
    errors = np.array([float(np.linalg.norm(product.errors) + np.linalg.norm(Hw.errors)) for Hw in products])
    results.append(_compared("w·Hu = u·Hw", theta.shape, product, pairs[:, 0], pairs[:, 1], errors, options))
    return results


def _mixed(
    value: Values,
    slope: Callable[[Values, Array, Dense], tuple[Array, Array]],
    theta: Array,
    u: Array,
    index: Array,
    w: Array,
) -> tuple[float, float]:
    """Return the derivative along u of the slope of the values along w, and its error."""
    along = Dense(index, w[None])

    def slopes(points: Array) -> Array:
        return np.array([slope(value, point, along)[0][0] for point in points])

    # A slope jumps at a kink: differences across the jump grow as the step shrinks, until it lies on one side.
    second = differences(slopes, theta, Dense(np.arange(len(theta)), u[None]), all_steps=True)
    return float(second.values[0]), float(second.errors[0])


def _compared(
    name: str,
    shape: Sequence[int],
    product: Product,
    got: Array,
    expected: Array,
    errors: Array,
    options: CheckOptions,
) -> TensorResult:
    norm, size = rms(expected), float(np.linalg.norm(product.values)) / np.sqrt(len(product.values))
    largest = max(norm, rms(got))
    error = ratio(rms(got - expected), largest)
    # The rounding of Hu is that of its largest entries.
    terms = max(1.0, ratio(size * np.sqrt(np.prod(shape)), largest))
    rounding = ROUNDINGS * EPS * terms + 2 * ratio(rms(errors), largest)
    tolerance, status, note = options.tolerance + rounding, PASSED, product.note
    if not np.isfinite(error):
        status, note = FAILED, "a number is not finite"
    elif largest == 0:
        # The slopes of the loss are the same, bit for bit, along the line.
        tolerance, status, note = options.tolerance, NOTHING, "the second derivative is zero here"
    elif error > tolerance:
        status = FAILED
    elif rounding > MOST_TOLERANCE:
        status, note = UNTESTED, "the second derivative is no larger than the error of the differences"
    return TensorResult(
        part="hessian",
        tensor=name,
        shape=tuple(shape),
        oracle=product.oracle,
        checked=0,
        directions=len(got),
        relative_error=error,
        tolerance=tolerance,
        status=status,
        norm=norm,
        scale=size,
        note=note,
    )
