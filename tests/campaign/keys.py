"""Every key of the config with every kind of wrong value, and the rule that says which of them are acceptable.

The keys come from the schema: sections, options, and the hyperparameters of every plugin that is installed. The
rule is written here a second time, from the documentation of the keys, so that an error in the command's own
rule shows.
"""

from __future__ import annotations

import dataclasses
import math
import operator
import types
import typing
from collections.abc import Iterator
from typing import Any

from backproof.app.config import SECTIONS, OutputOptions
from backproof.contracts.fields import required, type_hints
from backproof.discovery.registry import registry
from backproof.experiment.experiment import SINGLE, RunOptions

from tests.campaign.case import EITHER, REFUSED, Case

MISSING = object()
REFERENCE = object()
#: How a value is written in an override, and what it is.
VALUES: dict[str, Any] = {
    "abc": "abc",
    "''": "",
    "'ünï©☃'": "ünï©☃",
    "'$(touch PWNED)`id`;<script>'": "$(touch PWNED)`id`;<script>",
    "'../x'": "../x",
    "'x[/red]y'": "x[/red]y",
    "-1": -1,
    "0": 0,
    "2": 2,
    "1.5": 1.5,
    "9223372036854775808": 2**63,
    "18446744073709551616": 2**64,
    "99999999999999999999": 10**20 - 1,
    "1e-400": 0.0,
    "1e400": math.inf,
    "-inf": -math.inf,
    "nan": math.nan,
    "true": True,
    "null": None,
    "": "",
    "[]": [],
    "[1,-2]": [1, -2],
    "[nan]": [math.nan],
    "[abc]": ["abc"],
    "[null]": [None],
    "[[1,2],[3]]": [[1, 2], [3]],
    "[99999999999999999999]": [10**20 - 1],
    "{}": {},
    "{a:1}": {"a": 1},
    "???": MISSING,
    "${nope}": REFERENCE,
    "${oc.env:NOPE}": REFERENCE,
    "${seed}x": REFERENCE,
}
#: What is tried in sweeps too, whose parser is another one, with the keys that belong to no plugin.
SWEPT = (
    "abc",
    "-1",
    "1e400",
    "nan",
    "99999999999999999999",
    "null",
    "[1,-2]",
    "[nan]",
    "{a:1}",
    "???",
    "${nope}",
)
BASE = ("dataset=iris", "train.epochs=1", "model.hidden=[5]", "tracking.plots=false")
#: A plugin's key may need other choices to be in use at all.
WITH = {"csv": ("dataset.path=none.csv",), "huber": ("dataset=diabetes",)}
#: Its values may be downloaded.
SKIPPED = ("openml",)


def acceptable(hint: Any, metadata: Any, value: Any) -> bool:
    """Return whether a key with this annotation and these bounds may take a value.

    A number counts as text where text is expected, 0 and 1 as false and true, and a whole number as a number. A
    bool is no number. Numbers must be finite. A reference to nothing and a missing value are never acceptable.
    """
    if value is MISSING or value is REFERENCE:
        return False
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(acceptable(option, metadata, value) for option in args)
    if hint is Any:
        return True
    if hint is type(None) or value is None:
        return hint is type(None) and value is None
    if origin in (list, tuple):
        items = args[0] if args else Any
        return isinstance(value, list) and all(acceptable(items, metadata, item) for item in value)
    if origin is dict:
        return isinstance(value, dict)
    if isinstance(value, list | dict):
        return False
    if hint is bool:
        return value in (0, 1) and isinstance(value, int)
    if hint is str:
        return "choices" not in metadata or value in metadata["choices"]
    if isinstance(value, bool | str) or (hint is int and isinstance(value, float)):
        return False
    return _within(value, metadata)


def _within(value: float, metadata: Any) -> bool:
    if not math.isfinite(value):
        return False
    if "choices" in metadata:
        return value in metadata["choices"]
    tests = {"gt": operator.gt, "ge": operator.ge, "lt": operator.lt, "le": operator.le}
    return all(test(value, metadata[key]) for key, test in tests.items() if key in metadata)


@dataclasses.dataclass(frozen=True)
class Key:
    """A key of the config: its name, annotation and bounds, and the overrides without which it does not exist."""

    name: str
    hint: Any
    metadata: Any
    needs: tuple[str, ...] = ()


def keys() -> Iterator[Key]:
    """Yield the keys of all sections and of all plugins; plugins that share a key and its bounds are tried once."""
    for options, prefix in ((RunOptions, ""), (OutputOptions, "")):
        yield from _fields(options, prefix, ())
    for section, options in SECTIONS.items():
        yield from _fields(options, f"{section}.", ())
    seen: set[str] = set()
    for kind in SINGLE:
        for name in registry().names(kind):
            if name in SKIPPED:
                continue
            needs = (f"{kind}={name}", *WITH.get(name, ()))
            for key in _fields(registry().get(kind, name), f"{kind}.", needs):
                bounds = {k: v for k, v in key.metadata.items() if k != "doc"}
                if (rule := f"{key.name} {key.hint} {bounds}") not in seen:
                    seen.add(rule)
                    yield key


def _fields(cls: type[Any], prefix: str, needs: tuple[str, ...]) -> Iterator[Key]:
    hints = type_hints(cls)
    for field in dataclasses.fields(cls):
        hint = hints[field.name]
        if dataclasses.is_dataclass(hint):
            yield Key(prefix + field.name, dict, {"section": True}, needs)
            yield from _fields(typing.cast("type[Any]", hint), f"{prefix}{field.name}.", needs)
        else:
            metadata = {**field.metadata, "required": required(field)}
            yield Key(prefix + field.name, hint, metadata, needs)


def cases() -> Iterator[Case]:
    """Yield a case for each key and value: of single runs, and of sweeps for some of the values."""
    for key in keys():
        for text, value in VALUES.items():
            if key.metadata.get("section"):
                expected = EITHER if value == {} else REFUSED
            else:
                expected = EITHER if acceptable(key.hint, key.metadata, value) else REFUSED
            yield _case("keys", key, text, value, expected, ())
            if text in SWEPT and not key.needs:
                yield _case("keys in sweeps", key, text, value, expected, ("-m", "seed=0,1"))
    for group in (*SINGLE, "metrics", *SECTIONS):
        for text, value in VALUES.items():
            key = Key(group, dict, {})
            yield _case("groups", key, text, value, _of_group(group, value), ())
            if text in SWEPT:
                yield _case("groups in sweeps", key, text, value, _of_group(group, value), ("-m", "seed=0,1"))


def _of_group(group: str, value: Any) -> str:
    """Return what may come of a value in the place of a plugin's name, of the metrics, or of a section."""
    if value == {}:
        return EITHER  # Nothing is changed.
    if group in SECTIONS:
        return REFUSED
    if group == "metrics":
        return EITHER if value is None or value == [] else REFUSED
    return EITHER if value is None and group in ("loss", "derivation") else REFUSED


def _case(block: str, key: Key, text: str, value: Any, expected: str, more: tuple[str, ...]) -> Case:
    # A value that must be refused is refused before the store is opened, so recording stays on; what is
    # accepted is not recorded, which takes ten times as long.
    recorded = () if expected == REFUSED or key.name.startswith("tracking") else ("tracking=off",)
    args = ("train", *more, *BASE, *key.needs, *recorded, f"{key.name}={text}")
    owner = f" with {key.needs[0]}" if key.needs else ""
    return Case(block, f"{key.name}={text}{owner}", args, expected)
