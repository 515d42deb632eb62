"""Fields of plugins and options: declared with their bounds, and checked when an instance is made."""

from __future__ import annotations

import dataclasses
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from backproof.contracts.errors import InvalidValue


def hyper(
    default: Any,
    doc: str = "",
    *,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
    choices: tuple[Any, ...] | None = None,
) -> Any:
    """Declare a hyperparameter: its default, one line on what it is, and the values it may take.

    The default may be `dataclasses.MISSING` for a value that the user must give. A number may also be an
    (R, 1) array, one value per member of a stack; a bound holds for each of them.
    """
    bounds = {"ge": ge, "gt": gt, "le": le, "lt": lt, "choices": choices}
    metadata = {"doc": doc, **{key: bound for key, bound in bounds.items() if bound is not None}}
    return dataclasses.field(default=default, metadata=metadata)


def bounds_description(metadata: Any) -> str:
    """What a field's bounds ask for, in words: '> 0 and < 1', or '' where it has none."""
    if "choices" in metadata:
        return "one of " + ", ".join(map(str, metadata["choices"]))
    signs = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
    return " and ".join(f"{sign} {metadata[key]}" for key, sign in signs.items() if key in metadata)


def _within(value: Any, metadata: Any) -> bool:
    if "choices" in metadata:
        return value in metadata["choices"]
    values = cast("list[Any]", value) if isinstance(value, list | tuple) else [value]
    for each in values:
        if isinstance(each, str):
            if metadata.keys() - {"doc"}:
                return False
            continue
        number: NDArray[Any] = np.asarray(each)
        signs = {"gt": np.greater, "ge": np.greater_equal, "lt": np.less, "le": np.less_equal}
        if not np.isfinite(number).all() or not all(
            sign(number, metadata[key]).all() for key, sign in signs.items() if key in metadata
        ):
            return False
    return True


def check_fields(instance: Any) -> None:
    """Raise InvalidValue for the first field of a dataclass instance that is outside its `hyper` bounds."""
    for field in dataclasses.fields(instance):
        value: Any = getattr(instance, field.name)
        if value is not None and field.metadata and not _within(value, field.metadata):
            expected = bounds_description(field.metadata)
            if type(value) in (list, tuple):
                expected = f"a list of numbers {expected}"
            elif not isinstance(value, str) and not np.isfinite(value).all():
                expected = f"a finite number {expected}"
            raise InvalidValue(field.name, value, expected.strip())
