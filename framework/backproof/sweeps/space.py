"""The space of a sweep: fixed overrides, and the axes along which points differ."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep

from backproof.contracts import Space as SpacePlugin
from backproof.contracts.errors import InvalidValue, PluginError, did_you_mean
from backproof.discovery.registry import Registry
from backproof.sweeps.suggest import Domain, Interval, Suggestions, explore, point

LOG = "log"
#: Points of a grid; each is composed and built before the first one runs.
MOST = 100_000


@dataclass(frozen=True)
class Axis:
    """One direction of the space: overrides to choose from, for one key or for several that advance together; or an
    interval for one key. A range is both."""

    keys: tuple[str, ...]
    text: str  # as it was written
    choices: tuple[tuple[str, ...], ...] | None
    interval: Interval | None = None

    @property
    def name(self) -> str:
        """`optimizer.lr`, or `optimizer.lr,train.batch_size` for a zip."""
        return ",".join(self.keys)

    def labels(self) -> list[str]:
        """Return the names of the choices in a study: the values without their keys."""
        return [" ".join(override.partition("=")[2] for override in choice) for choice in self.choices or ()]

    def overrides(self, value: Any) -> list[str]:
        """Return the overrides for a number of the interval, or for the label of a choice."""
        if self.interval is not None:
            return [f"{self.keys[0]}={int(value) if self.interval.integer else float(value)!r}"]
        return list((self.choices or ())[self.labels().index(value)])


@dataclass(frozen=True)
class Conditional:
    """A space that a plugin describes, after its exploration. Values are identified by the plugin's names."""

    plugin: SpacePlugin
    text: str  # the plugin with its hyperparameters
    explored: tuple[
        tuple[tuple[str, ...], dict[str, Domain]], ...
    ]  # overrides and domains of the points looked at

    @property
    def keys(self) -> list[str]:
        """The keys of the config that any of its points sets."""
        return list(
            dict.fromkeys(text.partition("=")[0] for overrides, _ in self.explored for text in overrides)
        )

    @property
    def texts(self) -> dict[str, str]:
        """The choices and ranges, by name."""
        return {
            name: str(domain) if isinstance(domain, Interval) else ", ".join(map(str, domain))
            for _, domains in self.explored
            for name, domain in domains.items()
        }

    def again(self, params: dict[str, Any]) -> tuple[list[str], Suggestions]:
        """Return the point of these values. Raise PluginError if the plugin now asks for other values."""

        def take(name: str, domain: Domain) -> Any:
            if name not in params or not _contains(domain, params[name]):
                raise InvalidValue(name, None, "a value that the sweep has recorded: the file has changed")
            return params[name]

        return point(self.plugin, take)


def conditional(option: Any, plugins: Registry) -> Conditional:
    """Build the space that `sweep.space` names. Raise PluginError or InvalidValue if it is wrong."""
    values: dict[str, Any] = {"name": option}
    if isinstance(option, Mapping):
        values = dict(cast("Mapping[str, Any]", option))
    name = values.pop("name", None)
    if not isinstance(name, str):
        known = ", ".join(plugins.names(SpacePlugin.kind))
        raise InvalidValue(
            "sweep.space",
            cast("object", option),
            f"the name of a space, or {{name: NAME, KEY: VALUE}}: {known}",
        )
    built: SpacePlugin = plugins.build(SpacePlugin.kind, name, values)
    explored = tuple((tuple(overrides), asked.domains) for overrides, asked in explore(built))
    text = name + "".join(f", {key} {value}" for key, value in values.items())
    return Conditional(built, text, explored)


@dataclass(frozen=True)
class Space:
    """The fixed overrides and the axes, in the order of the command line, and the space of a plugin."""

    parts: tuple[str | Axis, ...]
    conditional: Conditional | None = None

    @property
    def axes(self) -> list[Axis]:
        return [part for part in self.parts if isinstance(part, Axis)]

    @property
    def swept(self) -> list[str]:
        """The keys in which points differ."""
        more = self.conditional.keys if self.conditional else []
        return [*(key for axis in self.axes for key in axis.keys), *more]

    @property
    def title(self) -> str:
        """A short name: the keys of the axes and the name of the plugin."""
        keys = [key for axis in self.axes for key in axis.keys]
        return "-".join([*keys, *([self.conditional.plugin.name] if self.conditional else [])]) or "one"

    @property
    def texts(self) -> dict[str, str]:
        """The choices and ranges, by the name of the axis or of the suggestion."""
        return {axis.name: axis.text for axis in self.axes} | (
            self.conditional.texts if self.conditional else {}
        )

    def with_plugin(self, added: Conditional) -> Space:
        """Return the space with a plugin's space added. Raise InvalidValue for a key or name used twice."""
        for part in self.parts:
            keys = (part.lstrip("+~").partition("=")[0],) if isinstance(part, str) else part.keys
            for key in set(keys) & set(added.keys):
                raise InvalidValue(
                    "sweep.space", added.text, f"a space without {key}, which is also given on the command line"
                )
        for name in {axis.name for axis in self.axes} & added.texts.keys():
            raise InvalidValue(
                "sweep.space", added.text, f"a space that calls nothing {name!r}: that is an axis"
            )
        return dataclasses.replace(self, conditional=added)

    def grid(self) -> list[list[str]]:
        """Return every combination, the last axis varying fastest. Raise InvalidValue for an interval."""
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
        if (count := math.prod(map(len, lists))) > MOST:
            name = max(self.axes, key=lambda axis: len(axis.choices or ())).name
            expected = f"at most {MOST:,} in a grid\nSome of them: sweep.sampler=random sweep.n_trials=200"
            raise InvalidValue(name, f"a space of {count:,} points", expected)
        return [list(itertools.chain(*choices)) for choices in itertools.product(*lists)]

    def at(self, params: dict[str, Any]) -> list[str]:
        """Return the overrides of the point with these values by axis name."""
        overrides: list[str] = []
        for part in self.parts:
            overrides += [part] if isinstance(part, str) else part.overrides(params[part.name])
        return [*overrides, *(self.conditional.again(params)[0] if self.conditional else [])]

    def accepts(self, params: dict[str, Any]) -> bool:
        """Return whether these values, which were read from MLflow, are a point of the space."""
        domains: dict[str, Domain] = {axis.name: axis.interval or tuple(axis.labels()) for axis in self.axes}
        names = set(domains)
        if self.conditional is not None:
            try:
                names |= self.conditional.again(params)[1].values.keys()
            except PluginError:
                return False
        return names == params.keys() and all(
            _contains(domain, params[name]) for name, domain in domains.items()
        )

    def probes(self) -> list[list[str]]:
        """Return points that cover every choice and both ends of every interval, so that an error in one shows."""
        ends = {
            axis.name: [axis.interval.low, axis.interval.high] if axis.interval else axis.labels()
            for axis in self.axes
        }
        first: dict[str, Any] = {name: values[0] for name, values in ends.items()}
        others = [first | {name: value} for name, values in ends.items() for value in values[1:]]
        alone = dataclasses.replace(self, conditional=None)
        points = [alone.at(params) for params in (first, *others)]
        if self.conditional is None:
            return points
        added = [list(overrides) for overrides, _ in self.conditional.explored]
        return [
            *([*points[0], *overrides] for overrides in added),
            *([*point, *added[0]] for point in points[1:]),
        ]


def _contains(domain: Domain, value: Any) -> bool:
    """Return whether a value, which was read from MLflow, is in the domain."""
    if not isinstance(domain, Interval):
        return value in domain
    return isinstance(value, int | float) and domain.low <= value <= domain.high


def parse(parsed: Sequence[Override], groups: list[list[str]], integer: Callable[[str], bool]) -> Space:
    """Return the space of parsed overrides, without the options of the sweep itself.

    `groups` are the keys that advance together; `integer` returns whether a key's value is an integer. Raise
    InvalidValue for an invalid space.
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
            by_key[key] = cast("str", override.input_line)  # as it was typed
    for group in groups:
        zipped = _zipped(group, by_key)
        by_key = {
            key: zipped if key == group[0] else part for key, part in by_key.items() if key not in group[1:]
        }
    return Space(tuple(by_key.values()))


def _zipped(group: list[str], by_key: dict[str, str | Axis]) -> Axis:
    """Return the axes of a group as one axis."""
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
                f"a key that is given a list, in one group: {', '.join(swept) or 'none is'}"
                + did_you_mean(key, swept),
            )
        axes.append(axis)
    lengths = {axis.name: len(axis.choices or ()) for axis in axes}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise InvalidValue("sweep.zip", shown, "lists of one length")
    choices: tuple[tuple[str, ...], ...] = tuple(
        tuple(override for axis in axes for override in (axis.choices or ())[i])
        for i in range(len(axes[0].choices or ()))
    )
    return Axis(tuple(group), " with ".join(axis.text for axis in axes), choices)


def _axis(override: Override, integer: Callable[[str], bool]) -> Axis:
    key = override.get_key_element()
    text = (override.input_line or "").partition("=")[2]
    swept = override.value()
    tags: set[str] = getattr(swept, "tags", set())
    for tag in tags - {LOG}:
        raise InvalidValue(key, text, f"the tag log, or none{did_you_mean(tag, [LOG])}")
    if isinstance(swept, IntervalSweep):
        return Axis((key,), text, None, _interval(key, text, swept, integer(key)))
    if isinstance(swept, RangeSweep) and swept.step == 0:
        raise InvalidValue(key, text, "a range whose step is not 0")
    if isinstance(swept, RangeSweep) and (swept.stop - swept.start) / swept.step > MOST:  # type: ignore[operator]
        raise InvalidValue(key, text, f"a range of at most {MOST:,} values")
    values = list(override.sweep_iterator())
    if not values:
        raise InvalidValue(key, text, "one value or more")
    choices = tuple((f"{key}={choice}",) for choice in override.sweep_string_iterator())
    if isinstance(swept, RangeSweep) and not swept.shuffle and len(values) > 1 and swept.step > 0:
        numbers = cast("list[float]", values)
        if LOG in tags and (swept.step != 1 or numbers[0] <= 0):
            raise InvalidValue(key, text, "a range from 1 or more in steps of 1, where it is tagged log")
        whole = all(isinstance(number, int) for number in numbers)
        between = Interval(numbers[0], numbers[-1], LOG in tags, None if LOG in tags else swept.step, whole)
        return Axis((key,), text, choices, between)
    return Axis((key,), text, choices)


def _interval(key: str, text: str, interval: IntervalSweep, integer: bool) -> Interval:
    low, high = interval.start, interval.end
    if low is None or high is None or not low < high:
        raise InvalidValue(key, text, "an interval whose first end is the lower one")
    if LOG in interval.tags and low <= 0:
        raise InvalidValue(key, text, "an interval above 0, where it is tagged log")
    # Hydra makes both ends floats, unless `int(interval(1, 10))` says otherwise.
    whole = (integer and low == int(low) and high == int(high)) or isinstance(low, int)
    return Interval(low, high, LOG in interval.tags, None, whole)
