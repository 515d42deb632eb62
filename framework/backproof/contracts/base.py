"""The base class of every plugin, and the arithmetic of hyperparameters."""

from __future__ import annotations

import dataclasses
import functools
import math
from abc import ABC
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from backproof.contracts.fields import check_fields

Array = NDArray[Any]


@dataclasses.dataclass(frozen=True)
class Plugin(ABC):
    """A plugin: the one class of its file, a frozen dataclass whose fields are the hyperparameters.

    Its kind is that of its base class; its name is that of its file, and set by the registry.
    A plugin holds no state: arrays are passed in, so one instance may serve many runs.
    """

    kind: ClassVar[str] = ""
    name: ClassVar[str] = ""

    @classmethod
    def examples(cls) -> tuple[dict[str, Any], ...]:
        """Return the hyperparameters to check it with: the defaults, and those that take another path."""
        return ({},)

    def __post_init__(self) -> None:
        check_fields(self)


@functools.lru_cache(maxsize=1024)
def cached_scalar(value: float, dtype: DTypeLike) -> Array:
    """Return a constant as a read-only 0-d array, which a ufunc takes in less time than a Python float.

    Measured on 2,410 float32 numbers: 0.9 µs against 1.5 µs. For constants only, since the arrays are cached.
    """
    scalar = np.asarray(value, dtype=dtype)
    scalar.flags.writeable = False
    return scalar


def is_complex(array: Array) -> bool:
    """Return whether the array is complex: the gradient check evaluates a plugin at theta + ih·e.

    A function that compares (max, abs, sign, a branch) must then compare real parts, and keep the imaginary
    part of the branch taken; NumPy's ordering of complex numbers would be wrong.
    """
    return array.dtype.kind == "c"


def as_dtype_of(value: float | Array, array: Array) -> Array:
    """Return a hyperparameter in `array`'s dtype, for arithmetic with it: a number as a 0-d array.

    NumPy rounds a Python number to the dtype of the other operand, but an array of float64 makes it compute in
    float64. In the array's dtype, (R, 1) numbers give each member the bits that its own number gives it alone. A
    0-d array saves a ufunc more time than creating it takes: 0.62 µs instead of 0.72 on 2,410 float32 numbers.
    """
    return np.asarray(value, array.dtype)


def pow_exact(base: float | Array, t: int) -> float | Array:
    """Return base^t, for (R, 1) arrays with the bits of Python's power, which differ from NumPy's."""
    if isinstance(base, np.ndarray):
        return np.array([[float(number) ** t] for number in base[:, 0]])
    return base**t


def sqrt_exact(value: float | Array) -> float | Array:
    """Return the square root; that of a number is a Python number, which NumPy's would not be."""
    return np.sqrt(value) if isinstance(value, np.ndarray) else math.sqrt(value)


def per_member(value: float | Array) -> float | Array:
    """Return a hyperparameter for arithmetic with (R,) arrays: a number unchanged, an (R, 1) array as (R,)."""
    return value[:, 0] if isinstance(value, np.ndarray) else value
