"""Parameters in any nest of dicts, lists, tuples and named tuples as one flat vector."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from backproof.contracts import Array


@dataclass(frozen=True)
class Leaf:
    """One array of a nest: its name, shape and indices in the flat vector, and how f wants to receive it."""

    name: str
    index: Array
    start: int
    build: Callable[[Array], Any]


class Tree:
    """A nest of numbers as a flat vector (P,) float64 with `tensors` by name."""

    def __init__(self, theta: Any, name: str = "theta") -> None:
        self._leaves: list[Leaf] = []
        self._values: list[Array] = []
        self._count, self._given, self._name = 0, theta, name
        self._template = self._read(theta, "")
        if not self._count:
            raise ValueError(f"{name} holds no number: there is nothing to differentiate by")
        self.theta = np.concatenate([value.ravel() for value in self._values])
        self.tensors = {leaf.name: leaf.index for leaf in self._leaves}

    def build(self, flat: Array) -> Any:
        """Return the nest with the numbers of a flat vector, each array a copy."""
        return self._build(self._template, flat)

    def flat(self, given: Any, what: str = "the gradient") -> Array:
        """Return the numbers (P,) of a nest of the same form. Raises ValueError or TypeError if it has another."""
        found: list[Array] = []
        self._collect(self._template, given, what, found)
        return np.concatenate(found)

    def _read(self, node: Any, path: str) -> Any:
        if isinstance(node, Mapping):
            items = cast("Mapping[str, Any]", node)
            return {
                key: self._read(value, f"{path}.{key}" if path else str(key)) for key, value in items.items()
            }
        if _is_nest(node):
            parts = [self._read(value, f"{path or self._name}[{i}]") for i, value in enumerate(node)]
            return _like(node, parts)
        name = path or self._name
        array = _real(node, name)
        index = np.arange(self._count, self._count + array.size).reshape(array.shape)
        leaf = Leaf(name, index, self._count, _builder(node))
        self._count += array.size
        self._leaves.append(leaf)
        self._values.append(array)
        return leaf

    def _build(self, node: Any, flat: Array) -> Any:
        if isinstance(node, Leaf):
            part = flat[node.start : node.start + node.index.size]
            return node.build(part.reshape(node.index.shape).copy())
        if isinstance(node, dict):
            return {key: self._build(value, flat) for key, value in cast("dict[str, Any]", node).items()}
        return _like(node, [self._build(value, flat) for value in node])

    def _collect(self, node: Any, given: Any, what: str, found: list[Array]) -> None:
        if isinstance(node, Leaf):
            if isinstance(given, Mapping):
                raise ValueError(f"f must return as its gradient an array, as theta is, got {describe(given)}")
            found.append(_leaf_gradient(node, given, f"{what} of {node.name}").ravel())
        elif isinstance(node, dict):
            self._collect_mapping(cast("dict[str, Any]", node), given, what, found)
        else:
            parts = cast("Sequence[Any]", node)
            if isinstance(given, Mapping) or not hasattr(given, "__len__") or len(given) != len(parts):
                raise ValueError(
                    f"f must return as its gradient a {type(parts).__name__} of {len(parts)}, got {describe(given)}"
                )
            for part, value in zip(parts, given, strict=True):
                self._collect(part, value, what, found)

    def _collect_mapping(self, node: dict[str, Any], given: Any, what: str, found: list[Array]) -> None:
        expected = ", ".join(map(str, node))
        if not isinstance(given, Mapping):
            raise ValueError(
                f"f must return as its gradient a dict with {expected}, got {type(given).__name__}"
            )
        items = cast("Mapping[str, Any]", given)
        missing = [str(key) for key in node if key not in items]
        unknown = [str(key) for key in items if key not in node]
        if missing or unknown:
            detail = f"missing {', '.join(missing)}" if missing and not unknown else ""
            got = ", ".join(map(str, items)) or "none"
            raise ValueError(
                f"the gradient must have the tensors {expected}, got {got}" + (f" ({detail})" if detail else "")
            )
        for key, part in node.items():
            self._collect(part, items[key], what, found)


def _is_nest(node: Any) -> bool:
    """Whether a list or tuple holds arrays or dicts. One of plain numbers is an array itself."""
    if not isinstance(node, list | tuple):
        return False
    parts = cast("Sequence[Any]", node)
    return hasattr(parts, "_fields") or any(
        isinstance(part, (np.ndarray, Mapping)) or _library(part) or _is_nest(part) for part in parts
    )


def _like(node: Any, parts: list[Any]) -> Any:
    if hasattr(node, "_fields"):
        return type(node)(*parts)
    return tuple(parts) if isinstance(node, tuple) else parts


def _library(node: Any) -> str:
    """`torch` or `jax` for an array of theirs. They are not imported for that."""
    for name, kind in (("torch", "Tensor"), ("jax", "Array")):
        module = sys.modules.get(name)
        if module is not None and isinstance(node, getattr(module, kind)):
            return name
    return ""


def _builder(node: Any) -> Callable[[Array], Any]:
    library = _library(node)
    if library == "torch":
        return cast("Callable[[Array], Any]", sys.modules["torch"].from_numpy)
    if library == "jax":
        import importlib

        return cast("Callable[[Array], Any]", importlib.import_module("jax.numpy").asarray)
    return lambda array: array


def numbers(given: Any, what: str) -> Array:
    """Return numbers as a NumPy array. Raises ValueError or TypeError if they are none."""
    if _library(given) == "torch":
        given = given.detach().resolve_conj().cpu().numpy()
    try:
        array: Array = np.asarray(given)
    except ValueError as error:
        raise ValueError(f"{what} must be numbers in a regular shape: {error}") from None
    if array.dtype.kind not in "biufc":
        raise TypeError(f"{what} must be numbers, got {describe(given)}")
    return array


def _real(given: Any, name: str) -> Array:
    array = numbers(given, name)
    if array.dtype.kind == "c":
        raise ValueError(
            f"{name} must be real, got {array.dtype}: pass its real and imaginary parts as two tensors"
        )
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        at = np.argwhere(~np.isfinite(array))[0].tolist()
        raise ValueError(f"{name}{at} is {array[tuple(at)]}: theta must be finite")
    return array


def _leaf_gradient(leaf: Leaf, given: Any, what: str) -> Array:
    if isinstance(given, list | tuple) and len(cast("Sequence[Any]", given)) == leaf.index.size == 1:
        given = np.reshape(numbers(given, what), leaf.index.shape)
    array = numbers(given, what)
    if array.shape != leaf.index.shape:
        raise ValueError(f"{what} must have its shape {leaf.index.shape}, got {array.shape}")
    return array


def describe(given: Any) -> str:
    """Return what a value is: `NoneType`, `a tuple of 3`, `an array of shape (3,)`."""
    if isinstance(given, np.ndarray):
        return f"an array of shape {cast('Array', given).shape}"
    if isinstance(given, tuple):
        return f"a tuple of {len(cast('tuple[Any, ...]', given))}"
    return type(given).__name__
