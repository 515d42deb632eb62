"""Derivatives of functions with several outputs: Jacobians, their products with vectors, and Hessians."""

from __future__ import annotations

import copy
import dataclasses
import inspect
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np

from backproof.contracts import Array
from backproof.gradcheck.check import check_function
from backproof.gradcheck.claim import AUTO, Settings
from backproof.gradcheck.function import Function, OutputFormError
from backproof.gradcheck.report import GradcheckReport, Section, TensorResult
from backproof.gradcheck.trees import Tree, describe, numbers

#: Tangents of each input.
TANGENTS = 4
#: Up to this many rows of a Jacobian are all checked; of more, this many rows and as many random sums of rows.
MOST_ROWS, SAMPLED = 64, 16


def check_vjp(
    f: Callable[..., Any],
    vjp: Callable[..., Any],
    *inputs: Any,
    names: Sequence[str] | None = None,
    oracle: str = AUTO,
    tolerance: float | None = None,
    noise: float | None = None,
    nondet_tol: float = 0.0,
    seed: int = 0,
) -> GradcheckReport:
    """Compare `vjp(dout, *inputs)`, the gradient of Σ dout·f(*inputs) by each input, with its derivative.

    The vector comes first, as in `backward(dout, cache)`. `dout` has the form of the outputs: an array, or a tuple
    of arrays. The vjp returns one gradient, or a tuple with one for each input that is not integer.

        assert check_vjp(np.tanh, lambda dout, x: dout * (1 - np.tanh(x) ** 2), x)
        assert check_vjp(np.matmul, lambda dout, A, B: (dout @ B.T, A.T @ dout), A, B)
    """
    named = Inputs(f, inputs, names)
    outputs = Outputs(f(*named.build(named.theta)))
    settings = Settings(oracle, tolerance, noise)

    def section(vjp: Callable[..., Any], moment: str, weights: Array) -> Section:
        def loss(values: dict[str, Any]) -> complex:
            return outputs.weighted(f(*named.arguments(values)), weights)

        def gradient(values: dict[str, Any]) -> dict[str, Any]:
            return named.gradients(vjp(outputs.like(weights), *named.arguments(values)))

        function = Function(loss, named.theta, gradient)
        return check_function(function, settings, nondet_tol, seed=seed, moment=moment)

    return _vector_first(
        lambda vjp: GradcheckReport(tuple(section(vjp, *dout) for dout in douts(outputs.size, seed))),
        vjp,
        "vjp(dout, *inputs)",
    )


def check_jvp(
    f: Callable[..., Any],
    jvp: Callable[..., Any],
    *inputs: Any,
    names: Sequence[str] | None = None,
    oracle: str = AUTO,
    tolerance: float | None = None,
    noise: float | None = None,
    seed: int = 0,
) -> GradcheckReport:
    """Compare `jvp(tangents, *inputs)`, the derivative of f(*inputs) along a tangent of each input, with its own.

    The vector comes first. `tangents` is an array like the input or, for several inputs, a tuple of such arrays.

        assert check_jvp(np.tanh, lambda dx, x: (1 - np.tanh(x) ** 2) * dx, x)
        assert check_jvp(np.matmul, lambda d, A, B: d[0] @ B + A @ d[1], A, B)
    """
    named = Inputs(f, inputs, names)
    tree = Tree(named.theta)
    outputs = Outputs(f(*named.build(named.theta)))
    rng = generator(seed)
    weights = rng.standard_normal(outputs.size)
    sizes = np.where(tree.theta == 0, 1.0, np.abs(tree.theta))
    tangents = {name: np.zeros((TANGENTS, len(tree.theta))) for name in tree.tensors}
    for name, index in tree.tensors.items():
        flat = index.ravel()
        tangents[name][:, flat] = rng.standard_normal((TANGENTS, len(flat))) * sizes[flat]

    def loss(t: dict[str, Any]) -> complex:
        moved = tree.theta + sum((t[name] @ tangents[name] for name in tangents), np.zeros(len(tree.theta)))
        return outputs.weighted(f(*named.arguments(tree.build(moved))), weights)

    def gradient(jvp: Callable[..., Any]) -> dict[str, Any]:
        arguments = named.arguments(tree.build(tree.theta))
        slopes: dict[str, Any] = {}
        for name, vectors in tangents.items():
            along = [named.differentiated(tree.build(v)) for v in vectors]
            found = [jvp(v[0] if len(v) == 1 else v, *arguments) for v in along]
            slopes[name] = np.array([np.real(outputs.weighted(each, weights)) for each in found])
        return slopes

    start = {name: np.zeros(TANGENTS) for name in tangents}

    def report(jvp: Callable[..., Any]) -> GradcheckReport:
        def grad(_: dict[str, Any]) -> dict[str, Any]:
            return gradient(jvp)

        function = Function(loss, start, grad)
        return GradcheckReport((check_function(function, Settings(oracle, tolerance, noise), seed=seed),))

    return _vector_first(report, jvp, "jvp(tangents, *inputs)")


def _vector_first(
    report: Callable[[Callable[..., Any]], GradcheckReport], product: Callable[..., Any], form: str
) -> GradcheckReport:
    """Return the report on a product with a vector. One that takes the vector last is recognized as such."""

    def last(vector: Any, *inputs: Any) -> Any:
        return product(*inputs, vector)

    def passes_last() -> bool:
        try:
            return report(last).passed
        # It is a guess: what is raised in this order is no matter of the user's.
        except Exception:  # noqa: BLE001
            return False

    what = f"the vector comes first, {form}; this one takes it last"
    try:
        checked = report(product)
    except Exception as error:
        if passes_last():
            raise TypeError(what) from error
        raise
    if checked.failed and passes_last():
        return dataclasses.replace(checked, findings=(*checked.findings, what))
    return checked


def check_jacobian(
    f: Callable[[Any], Any],
    jacobian: Callable[[Any], Any] | Any,
    x: Any,
    *,
    oracle: str = AUTO,
    tolerance: float | None = None,
    noise: float | None = None,
    seed: int = 0,
) -> GradcheckReport:
    """Compare a Jacobian, a function of x or its value at x, with the derivatives of f(x), output by output.

    Its shape is that of the outputs followed by that of x, or (outputs, inputs).

        assert check_jacobian(lambda x: A @ np.sin(x), lambda x: A * np.cos(x), x)
    """
    outputs = Outputs(f(copy.deepcopy(x)))
    tree = Tree(x)
    size = tree.theta.size
    shapes: list[tuple[int, ...]] = [(outputs.size, size)]
    if len(outputs.shapes) == len(tree.tensors) == 1:
        (index,) = tree.tensors.values()
        shapes.append((*outputs.shapes[0], *index.shape))

    def matrix(at: Any) -> Array:
        found = numbers(jacobian(at) if callable(jacobian) else jacobian, "the Jacobian")
        if found.shape not in shapes:
            raise ValueError(
                f"the Jacobian must have {outputs.size} × {size} numbers, got shape {found.shape}, expected "
                + " or ".join(map(str, dict.fromkeys(shapes)))
            )
        return found.reshape(outputs.size, size)

    settings = Settings(oracle, tolerance, noise)
    results = [
        _row_result(f, matrix, x, outputs, weights, name, settings, seed)
        for name, weights in _rows(outputs, seed)
    ]
    return GradcheckReport((Section("given", tuple(results)),))


def hessian_rows(function: Function, hessian: Callable[[Any], Any] | Any, seed: int) -> GradcheckReport:
    """The check of a Hessian: of the gradient first, then of its derivatives row by row."""
    plain = function.tree

    def gradient(at: Any) -> Array:
        return function.gradient(plain.flat(at, "theta")) / function.scale

    def matrix(at: Any) -> Array:
        found = numbers(hessian(at) if callable(hessian) else hessian, "the Hessian")
        P = len(function.theta)
        return found.reshape(P, P) if found.size == P * P else found

    first = check_function(function, Settings(), seed=seed, moment="gradient")
    rows = check_jacobian(gradient, matrix, plain.build(plain.theta), seed=seed).sections[0]
    renamed = [dataclasses.replace(result, part="hessian") for result in rows.results]
    return GradcheckReport((first, dataclasses.replace(rows, moment="hessian", results=tuple(renamed))))


def generator(seed: int) -> np.random.Generator:
    """Return the generator of weights and tangents: not default_rng(seed), of which the inputs may be made."""
    return np.random.default_rng((seed, 0xBAC))


def douts(size: int, seed: int) -> list[tuple[str, Array]]:
    """Return the weights (size,) of the outputs that a backward pass is checked with, and their names.

    The second ones are positive: all kinks of a maximum then bend the same way, and a mistake at its ties shows.
    """
    rng = generator(seed)
    return [("dout 1", rng.standard_normal(size)), ("dout 2", np.abs(rng.standard_normal(size)))]


class Inputs:
    """The inputs of a function of several arguments. Arrays of integers, and whatever is not a number, are
    passed on and not differentiated.
    """

    def __init__(self, f: Callable[..., Any], inputs: Sequence[Any], names: Sequence[str] | None) -> None:
        if not inputs:
            raise ValueError("there are no inputs to differentiate with respect to")
        self.inputs = inputs
        self.names = list(names) if names is not None else _parameter_names(f, len(inputs))
        if len(self.names) != len(inputs):
            raise ValueError(f"names must name {len(inputs)} inputs, got {len(self.names)}")
        self.theta = {
            name: value for name, value in zip(self.names, inputs, strict=True) if _differentiable(value)
        }
        if not self.theta:
            raise ValueError("no input holds floating-point numbers to differentiate by")

    def arguments(self, values: dict[str, Any]) -> list[Any]:
        """Return all arguments, with the values of those that are differentiated by."""
        return [
            values[name] if name in self.theta else copy.deepcopy(value)
            for name, value in zip(self.names, self.inputs, strict=True)
        ]

    def all(self) -> list[tuple[str, Any]]:
        """Return all inputs with their names."""
        return list(zip(self.names, self.inputs, strict=True))

    def build(self, theta: dict[str, Any]) -> list[Any]:
        """Return all arguments in float64 copies."""
        tree = Tree(theta)
        return self.arguments(tree.build(tree.theta))

    def differentiated(self, values: dict[str, Any]) -> tuple[Any, ...]:
        """Return the values of the inputs that are differentiated by, in their order."""
        return tuple(values[name] for name in self.theta)

    def gradients(self, given: Any) -> dict[str, Any]:
        """Return gradients by name, from one, from a tuple, or from a dict."""
        if isinstance(given, dict):
            return cast("dict[str, Any]", given)
        parts: list[Any] = [given]
        if isinstance(given, tuple | list) and not (len(self.theta) == 1 and _same_form(given, self.theta)):
            parts = list(cast("Sequence[Any]", given))
        if len(parts) == len(self.names) != len(self.theta):
            parts = [part for name, part in zip(self.names, parts, strict=True) if name in self.theta]
        if len(parts) != len(self.theta):
            expected = ", ".join(f"d{name}" for name in self.theta)
            raise ValueError(f"backward must return {expected}, got {describe(given)}")
        return dict(zip(self.theta, parts, strict=True))


class Outputs:
    """The form of a function's outputs: one array, or several."""

    def __init__(self, given: Any) -> None:
        self.several = isinstance(given, tuple | list)
        parts = cast("Sequence[Any]", given) if self.several else [given]
        arrays = [numbers(part, "the output") for part in parts]
        self.shapes: list[tuple[int, ...]] = [array.shape for array in arrays]
        self.dtypes = [array.dtype for array in arrays]
        self.ends: list[int] = np.cumsum([int(np.prod(shape)) for shape in self.shapes]).tolist()
        self.size: int = self.ends[-1]

    def flat(self, given: Any) -> Array:
        """Return the numbers of outputs of this form."""
        parts = cast("Sequence[Any]", given) if self.several else [given]
        arrays = [numbers(part, "the output") for part in parts]
        if [array.shape for array in arrays] != self.shapes:
            raise OutputFormError(
                f"the outputs must have the same shapes wherever f is evaluated: {self.shapes} at theta, "
                f"{[array.shape for array in arrays]} elsewhere"
            )
        for array, dtype in zip(arrays, self.dtypes, strict=True):
            if array.dtype.kind == dtype.kind == "f" and array.dtype != dtype:
                raise OutputFormError(
                    f"the outputs must have the same dtype wherever f is evaluated: {dtype} at theta, "
                    f"{array.dtype} elsewhere"
                )
        return np.concatenate([array.ravel() for array in arrays])

    def weighted(self, given: Any, weights: Array) -> complex:
        """Return Σ weights · outputs."""
        return (self.flat(given) @ weights).item()

    def like(self, flat: Array) -> Any:
        """Return the numbers in the form of the outputs."""
        parts = self.arrays(flat)
        return tuple(parts) if self.several else parts[0]

    def arrays(self, flat: Array) -> list[Array]:
        """Return the numbers as one array for each output."""
        pieces = np.split(flat, self.ends[:-1])
        return [piece.reshape(shape).copy() for piece, shape in zip(pieces, self.shapes, strict=True)]


def _rows(outputs: Outputs, seed: int) -> list[tuple[str, Array]]:
    """The weights of the outputs to check with: one at a time, and random sums where they are many."""
    rng, size = generator(seed), outputs.size
    chosen: Array = np.arange(size) if size <= MOST_ROWS else np.sort(rng.choice(size, SAMPLED, replace=False))
    rows: list[tuple[str, Array]] = []
    for i in chosen.tolist():
        weights = np.zeros(size)
        weights[i] = 1
        place = (
            list(cast("tuple[int, ...]", np.unravel_index(i, outputs.shapes[0])))
            if len(outputs.shapes) == 1
            else [i]
        )
        at = ", ".join(map(str, place))
        rows.append((f"J[{at}]" if at else "J", weights))
    if size > MOST_ROWS:
        rows += [(f"sum {k + 1} of outputs", rng.standard_normal(size)) for k in range(SAMPLED)]
    return rows


def _row_result(
    f: Callable[[Any], Any],
    matrix: Callable[[Any], Array],
    x: Any,
    outputs: Outputs,
    weights: Array,
    name: str,
    settings: Settings,
    seed: int,
) -> TensorResult:
    tree = Tree(x)

    def gradient(at: Any) -> Any:
        return tree.build(weights @ matrix(at))

    def loss(at: Any) -> complex:
        return outputs.weighted(f(at), weights)

    function = Function(loss, x, gradient)
    results = check_function(function, settings, seed=seed).results
    result = next((each for each in results if each.status == "failed"), results[0])
    return dataclasses.replace(result, part="jacobian", tensor=name)


def _parameter_names(f: Callable[..., Any], count: int) -> list[str]:
    try:
        parameters = list(inspect.signature(f).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    names = [parameter.name for parameter in parameters if parameter.kind in kinds][:count]
    return names if len(names) == count else [f"input {i}" for i in range(count)]


def _differentiable(value: Any) -> bool:
    """Whether a value holds numbers to differentiate by: a number, or a nest of arrays that are not integer."""
    if isinstance(value, np.ndarray):
        return _is_float_array(cast("Array", value))
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value)
        return bool(items) and all(_is_float_array(part) for part in items.values())
    if isinstance(value, bool | str) or value is None:
        return False
    if isinstance(value, int):
        return False
    if isinstance(value, tuple | list):
        parts = cast("Sequence[Any]", value)
        return bool(parts) and all(_differentiable(part) for part in parts)
    return isinstance(value, float) or hasattr(value, "__array__") or hasattr(value, "dtype")


def _is_float_array(value: Any) -> bool:
    return isinstance(value, np.ndarray) and cast("Array", value).dtype.kind == "f"


def _same_form(given: Any, theta: dict[str, Any]) -> bool:
    """Whether a sequence is the gradient of the one input, which is a sequence itself."""
    (only,) = theta.values()
    return isinstance(only, tuple | list) and len(cast("Sequence[Any]", only)) == len(given)
