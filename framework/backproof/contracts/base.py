"""The base class of every plugin, and the arithmetic that its hyperparameters need."""

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
    """A plugin is one file with one class: a frozen dataclass whose fields are its hyperparameters.

    Its kind is that of its base class; its name is that of its file, which the registry writes into `name`.
    A plugin holds no state: arrays are passed in, so the same instance may serve many runs.
    """

    kind: ClassVar[str] = ""
    name: ClassVar[str] = ""

    @classmethod
    def examples(cls) -> tuple[dict[str, Any], ...]:
        """Hyperparameters with which the conformance suite checks it: the defaults, and whatever takes
        another path through the code."""
        return ({},)

    def __post_init__(self) -> None:
        check_fields(self)


@functools.lru_cache(maxsize=1024)
def cached_scalar(value: float, dtype: DTypeLike) -> Array:
    """A read-only 0-d array of a constant: a ufunc takes it in half the time of a Python float.

    Measured on 2,410 float32 numbers: 0.9 µs against 1.5 µs. For constants only, since it is cached.
    """
    scalar = np.asarray(value, dtype=dtype)
    scalar.flags.writeable = False
    return scalar


def is_complex(array: Array) -> bool:
    """Whether the array holds complex numbers: the gradient check evaluates a plugin at theta + ih·e.

    A function that compares (max, abs, sign, a branch) must then compare real parts, and keep the imaginary
    part of the branch taken; ordering complex numbers as NumPy does would be wrong.
    """
    return array.dtype.kind == "c"


def as_dtype_of(value: float | Array, array: Array) -> Array:
    """A hyperparameter in `array`'s dtype, for arithmetic with it: a number as a 0-d array, (R, 1) as (R, 1).

    NumPy rounds a Python number to the dtype of the array beside it, but computes in float64 beside an array of
    float64; so a stack's (R, 1) numbers give each member the bits that its own number gives it alone. The 0-d array
    saves a ufunc more than its making costs: 0.62 µs together instead of 0.72 on 2,410 float32 numbers.
    """
    return np.asarray(value, array.dtype)


def pow_exact(base: float | Array, t: int) -> float | Array:
    """base^t, for (R, 1) arrays with the bits of Python's own power, which are not NumPy's."""
    if isinstance(base, np.ndarray):
        return np.array([[float(each) ** t] for each in base[:, 0]])
    return base**t


def sqrt_exact(value: float | Array) -> float | Array:
    """The square root; of a number as a Python number, which NumPy's would not be."""
    return np.sqrt(value) if isinstance(value, np.ndarray) else math.sqrt(value)


def per_member(value: float | Array) -> float | Array:
    """A hyperparameter for arithmetic with (R,) arrays: a number as it is, an (R, 1) array as (R,)."""
    return value[:, 0] if isinstance(value, np.ndarray) else value
