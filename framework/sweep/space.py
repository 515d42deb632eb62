"""The space of a sweep: what is fixed, and the axes along which points differ."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep

from framework.kinds.base import InvalidValue
from framework.registry import near

LOG = "log"


@dataclass(frozen=True)
class Interval:
    """Numbers from `low` to `high`, both included."""

    low: float
    high: float
    log: bool = False
    step: float | None = None
    integer: bool = False


@dataclass(frozen=True)
class Axis:
    """One direction of the space: overrides to choose from, of one key or of several that are walked together; or
    an interval for one key. A range is both."""

    keys: tuple[str, ...]
    text: str  # as it was written
    choices: tuple[tuple[str, ...], ...] | None
    interval: Interval | None = None

    @property
    def name(self) -> str:
        """`optimizer.lr`, or `optimizer.lr,train.batch_size` for a zip."""
        return ",".join(self.keys)

    def labels(self) -> list[str]:
        """What the choices are called in a study: the values, without their keys."""
        return [" ".join(each.partition("=")[2] for each in choice) for choice in self.choices or ()]

    def overrides(self, value: Any) -> list[str]:
        """The overrides for a value: a number of the interval, or the label of a choice."""
        if self.interval is not None:
            return [f"{self.keys[0]}={int(value) if self.interval.integer else float(value)!r}"]
        return list((self.choices or ())[self.labels().index(value)])


@dataclass(frozen=True)
class Space:
    """Overrides in the order they were given: those that every point has, and the axes."""

    parts: tuple[str | Axis, ...]

    @property
    def axes(self) -> list[Axis]:
        return [each for each in self.parts if isinstance(each, Axis)]

    @property
    def swept(self) -> list[str]:
        """The keys that differ."""
        return [key for axis in self.axes for key in axis.keys]

    def grid(self) -> list[list[str]]:
        """Every combination, the last axis running fastest. Raises InvalidValue for an interval."""
        lists: list[list[tuple[str, ...]]] = []
        for part in self.parts:
            if isinstance(part, str):
                lists.append([(part,)])
                continue
            if part.choices is None:
                raise InvalidValue(
                    part.name,
                    part.text,
                    "a list or a range, since a grid takes every value\n"
                    "Intervals are for the samplers: sweep.sampler=tpe sweep.n_trials=50",
                )
            lists.append(list(part.choices))
        return [list(itertools.chain(*each)) for each in itertools.product(*lists)]

    def at(self, params: dict[str, Any]) -> list[str]:
        """The overrides of the point with these values, by the names of the axes."""
        found: list[str] = []
        for part in self.parts:
            found += [part] if isinstance(part, str) else part.overrides(params[part.name])
        return found

    def probes(self) -> list[list[str]]:
        """Points that touch every choice and both ends of every interval: what is wrong with one of them shows."""
        ends = {
            axis.name: [axis.interval.low, axis.interval.high] if axis.interval else axis.labels()
            for axis in self.axes
        }
        first: dict[str, Any] = {name: values[0] for name, values in ends.items()}
        others = [first | {name: value} for name, values in ends.items() for value in values[1:]]
        return [self.at(each) for each in (first, *others)]


def parse(parsed: Sequence[Override], groups: list[list[str]], integer: Callable[[str], bool]) -> Space:
    """The space of parsed overrides; `groups` are the keys that are walked together, and `integer` tells whether a
    key's value is a whole number. The options of the sweep itself are not part of its points.

    Raises InvalidValue for what is no space.
    """
    by_key: dict[str, str | Axis] = {}
    for override in parsed:
        key = override.get_key_element()
        if key.lstrip("+~").startswith("sweep."):
            if override.is_sweep_override():
                raise InvalidValue(key, override.input_line, "one value: a sweep has one way to be run")
            continue
        if override.is_sweep_override():
            by_key[key] = _axis(override, integer)
        else:
            # Deleting an entry has no value.
            value = override.get_value_element_as_str()
            by_key[key] = key if override.is_delete() and not value else f"{key}={value}"
    for group in groups:
        zipped = _zipped(group, by_key)
        by_key = {
            key: zipped if key == group[0] else part for key, part in by_key.items() if key not in group[1:]
        }
    return Space(tuple(by_key.values()))


def _zipped(group: list[str], by_key: dict[str, str | Axis]) -> Axis:
    """The axes of a group as one."""
    axes: list[Axis] = []
    swept = [key for key, part in by_key.items() if isinstance(part, Axis)]
    if len(set(group)) < max(2, len(group)):
        raise InvalidValue("sweep.zip", group, "two or more different keys, each in one group")
    for key in group:
        axis = by_key.get(key)
        if not isinstance(axis, Axis) or axis.keys != (key,) or axis.choices is None:
            raise InvalidValue(
                "sweep.zip",
                key,
                f"a key that is given a list, in one group: {', '.join(swept) or 'none is'}{near(key, swept)}",
            )
        axes.append(axis)
    lengths = {axis.name: len(axis.choices or ()) for axis in axes}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise InvalidValue("sweep.zip", shown, "lists of one length")
    choices: tuple[tuple[str, ...], ...] = tuple(
        tuple(each for axis in axes for each in (axis.choices or ())[i])
        for i in range(len(axes[0].choices or ()))
    )
    return Axis(tuple(group), " with ".join(axis.text for axis in axes), choices)


def _axis(override: Override, integer: Callable[[str], bool]) -> Axis:
    key = override.get_key_element()
    text = (override.input_line or "").partition("=")[2]
    given = override.value()
    tags: set[str] = getattr(given, "tags", set())
    for tag in tags - {LOG}:
        raise InvalidValue(key, text, f"the tag log, or none{near(tag, [LOG])}")
    if isinstance(given, IntervalSweep):
        return Axis((key,), text, None, _interval(key, text, given, integer(key)))
    values = list(override.sweep_iterator())
    if not values:
        raise InvalidValue(key, text, "one value or more")
    choices = tuple((f"{key}={each}",) for each in override.sweep_string_iterator())
    if isinstance(given, RangeSweep) and not given.shuffle and len(values) > 1 and given.step > 0:
        numbers = cast("list[float]", values)
        if LOG in tags and (given.step != 1 or numbers[0] <= 0):
            raise InvalidValue(key, text, "a range from 1 or more in steps of 1, where it is tagged log")
        whole = all(isinstance(each, int) for each in numbers)
        between = Interval(numbers[0], numbers[-1], LOG in tags, None if LOG in tags else given.step, whole)
        return Axis((key,), text, choices, between)
    return Axis((key,), text, choices)


def _interval(key: str, text: str, given: IntervalSweep, integer: bool) -> Interval:
    low, high = given.start, given.end
    if low is None or high is None or not low < high:
        raise InvalidValue(key, text, "an interval whose first end is the lower one")
    if LOG in given.tags and low <= 0:
        raise InvalidValue(key, text, "an interval above 0, where it is tagged log")
    # Hydra makes both ends floats, unless `int(interval(1, 10))` says otherwise.
    whole = (integer and low == int(low) and high == int(high)) or isinstance(low, int)
    return Interval(low, high, LOG in given.tags, None, whole)
