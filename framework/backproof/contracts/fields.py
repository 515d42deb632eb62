"""Fields of plugins and options: declare them, describe them in words, convert plain values, and check bounds.

A plugin or a section of options is a frozen dataclass. `hyper` declares a field with its bounds, `check_fields`
checks an instance, and `construct` builds an instance from the plain values of a config or a file.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import math
import operator
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np

from backproof.contracts.errors import InvalidValue, UsageError, did_you_mean

#: The bounds of a number: how each is written, and its test.
_BOUNDS = {
    "gt": (">", operator.gt),
    "ge": (">=", operator.ge),
    "lt": ("<", operator.lt),
    "le": ("<=", operator.le),
}
#: A value that must be given, as in Hydra's configs.
MISSING = "???"
#: Whole numbers are below it, so that NumPy can hold them.
WHOLE_LIMIT = 2**63
_TYPES = {float: "a number", int: "a whole number", bool: "true or false", str: "text", type(None): "null"}


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
    """Declare a hyperparameter: its default, one line of documentation, and the values it may take.

    The default is `dataclasses.MISSING` for a value that the user must give. A number may also be an (R, 1) array,
    one value for each member of a stack; the bounds then hold for every value.
    """
    bounds = {"ge": ge, "gt": gt, "le": le, "lt": lt, "choices": choices}
    metadata = {"doc": doc, **{key: bound for key, bound in bounds.items() if bound is not None}}
    return dataclasses.field(default=default, metadata=metadata)


@functools.cache
def type_hints(cls: type[Any]) -> dict[str, Any]:
    """Return the resolved annotations of a dataclass. Resolving them is most of the cost of building a plugin."""
    return typing.get_type_hints(cls)


def required(field: dataclasses.Field[Any]) -> bool:
    """Return whether a field has no default, so that the user must give a value."""
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def bounds_description(metadata: Any) -> str:
    """Return a field's bounds in words, such as '> 0 and < 1', or '' if it has none."""
    if "choices" in metadata:
        return "one of " + ", ".join(map(str, metadata["choices"]))
    return " and ".join(f"{sign} {metadata[key]}" for key, (sign, _) in _BOUNDS.items() if key in metadata)


def type_description(hint: Any) -> str:
    """Return an annotation in words: `float | None` is 'a number or null'."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return " or ".join(map(type_description, typing.get_args(hint)))
    if typing.get_origin(hint) is tuple:
        item = type_description(typing.get_args(hint)[0]).removeprefix("a ")
        return f"a list of {item}{'s' * item.endswith('number')}"
    return _TYPES.get(hint, getattr(hint, "__name__", str(hint)))


def value_description(hint: Any, metadata: Any) -> str:
    """Return what a value must be, by type and bounds: 'a number > 0', 'a list of numbers, written [1,2]'."""
    bounds = bounds_description(metadata)
    if bounds.startswith("one of"):
        return bounds
    words = type_description(hint)
    null = " or null" * words.endswith(" or null")
    example = ", written [1,2]" * words.startswith("a list of")
    return f"{words.removesuffix(null)} {bounds}".strip() + example + null


def construct(cls: type[Any], values: Mapping[str, Any], prefix: str = "") -> Any:
    """Return an instance of a dataclass, built from plain values; keys that are left out keep their defaults.

    Raise InvalidValue for a value that is missing, of the wrong type, or out of bounds. Its field is the key with
    `prefix` in front, such as `optimizer.lr`.
    """
    fields = {field.name: field for field in dataclasses.fields(cls)}
    if not isinstance(cast("object", values), Mapping):
        raise InvalidValue(prefix.removesuffix("."), values, f"its keys one by one: {', '.join(fields)}")
    hints = type_hints(cls)
    arguments: dict[str, Any] = {}
    for key, value in values.items():
        if key not in fields:
            near = did_you_mean(f"{prefix}{key}", [f"{prefix}{name}" for name in fields])
            raise UsageError(f"there is no key {f'{prefix}{key}'!r}{near}")
        if isinstance(value, str) and value == MISSING and not dataclasses.is_dataclass(hints[key]):
            expected = fields[key].metadata.get("doc") or value_description(hints[key], fields[key].metadata)
            raise InvalidValue(prefix + key, None, f"a value: {expected}")
        if dataclasses.is_dataclass(hints[key]):
            arguments[key] = construct(cast("type[Any]", hints[key]), cast("Any", value), f"{prefix}{key}.")
        else:
            arguments[key] = coerce(prefix + key, value, hints[key])
    for field in fields.values():
        if field.name not in arguments and required(field):
            raise InvalidValue(prefix + field.name, None, f"a value: {field.metadata['doc']}")
    try:
        return cls(**arguments)
    except InvalidValue as error:
        raise InvalidValue(prefix + error.field, error.given, error.expected) from None


def coerce(key: str, value: Any, hint: Any) -> Any:
    """Return `value` as its annotation has it (a list as a tuple, an int as a float), or raise InvalidValue."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        for option in args:
            try:
                return coerce(key, value, option)
            except InvalidValue:
                continue
    elif origin is tuple:
        if isinstance(value, list | tuple):
            return tuple(coerce(key, item, args[0]) for item in cast("list[Any]", value))
    elif hint is bool and type(value) is int and value in (0, 1):
        return bool(value)
    elif _fits(value, hint):
        if type(value) is int and abs(value) >= WHOLE_LIMIT:
            raise InvalidValue(key, value, f"{type_description(hint)} of at most 64 bits")
        return float(value) if hint is float and type(value) is int else value
    raise InvalidValue(key, value, type_description(hint))


def _fits(value: Any, hint: Any) -> bool:
    """Return whether a value is of a type that is neither a union nor a tuple. A bool is not a number."""
    if hint is Any:
        return True
    if isinstance(value, bool):
        return hint is bool
    # An (R, 1) array is one number for each member of a stack.
    if hint in (int, float) and hasattr(value, "shape"):
        return True
    return isinstance(value, (int, float) if hint is float else typing.get_origin(hint) or hint)


def declaration_problem(cls: type[Any], field: dataclasses.Field[Any]) -> str | None:
    """Return why a config cannot hold a field of a dataclass as it is declared, None if it can."""
    try:
        hint = type_hints(cls)[field.name]
    except Exception as error:  # noqa: BLE001 - an annotation is code of the plugin.
        return f"its annotation {field.type!r} or that of another field cannot be resolved: {error}"
    if not _holds(hint):
        name = field.type if isinstance(field.type, str) else type_description(hint)
        return (
            f"a config cannot hold {name}; expected "
            "bool, int, float or str, one of these or None, or a tuple, list or dict of them"
        )
    if required(field):
        return None
    try:
        factory = field.default_factory
        default = field.default if factory is dataclasses.MISSING else factory()
        coerce(field.name, default, hint)
    except InvalidValue as error:
        return f"its default must be {error.expected}, got {error.given!r}"
    return None


def _holds(hint: Any) -> bool:
    """Return whether a config can hold values of a type: OmegaConf has no unions of lists, and no other classes."""
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        options = [option for option in args if option is not type(None)]
        return _holds(options[0]) if len(options) == 1 else all(map(_is_single, options))
    if origin is tuple:
        # Its items are read as those of a list are.
        return len(set(args) - {Ellipsis}) == 1 and _holds_items(args[0])
    if origin is list:
        return _holds_items(args[0])
    if origin is dict:
        return _is_single(args[0]) and args[0] is not Path and _holds_items(args[1])
    return hint in (Any, list, dict, tuple) or dataclasses.is_dataclass(hint) or _is_single(hint)


def _holds_items(hint: Any) -> bool:
    return tuple not in (hint, typing.get_origin(hint)) and _holds(hint)


def _is_single(hint: Any) -> bool:
    """Return whether a type is that of a single value, of which a config consists."""
    return isinstance(hint, type) and (
        hint in (bool, int, float, str, bytes, Path) or issubclass(hint, enum.Enum)
    )


def check_fields(instance: Any) -> None:
    """Raise InvalidValue for the first field of a dataclass instance that is outside its `hyper` bounds."""
    for field in dataclasses.fields(instance):
        value: Any = getattr(instance, field.name)
        if value is not None and field.metadata and not _within(value, field.metadata):
            expected = bounds_description(field.metadata)
            if type(value) in (list, tuple):
                expected = f"a list of numbers {expected}"
            elif not isinstance(value, str) and not _finite(value):
                expected = f"a finite number {expected}"
            raise InvalidValue(field.name, value, expected.strip())


def _within(value: Any, metadata: Any) -> bool:
    """Return whether a value, or every item of a list, is finite and inside the bounds."""
    if "choices" in metadata:
        return value in metadata["choices"]
    numbers = _numbers(value)
    if numbers is None:  # text has no bounds
        return not metadata.keys() - {"doc"}
    tests = [(test, metadata[key]) for key, (_, test) in _BOUNDS.items() if key in metadata]
    return _finite(value) and all(test(number, bound) for number in numbers for test, bound in tests)


def _numbers(value: Any) -> list[Any] | None:
    """Return a number, or those of a list or an array; None for anything else.

    They remain Python's, which compares whole numbers of any size, as NumPy does not.
    """
    if hasattr(value, "shape"):
        array = np.asarray(value)
        return array.ravel().tolist() if array.dtype.kind in "biuf" else None
    if isinstance(value, list | tuple):
        parts = [_numbers(item) for item in cast("list[Any]", value)]
        return None if None in parts else [number for part in parts for number in part or ()]
    return [value] if isinstance(value, bool | int | float) else None


def _finite(value: Any) -> bool:
    """Return whether numbers are finite, and whole ones fit into 64 bits."""
    return all(
        abs(number) < WHOLE_LIMIT if isinstance(number, int) else math.isfinite(number)
        for number in _numbers(value) or ()
    )
