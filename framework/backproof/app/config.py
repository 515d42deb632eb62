"""Floor 5: the schemas that Hydra composes, made from the plugins' own fields, and experiments built from them."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, OmegaConf

import backproof.plugins
from backproof.app.sweep_options import SweepOptions
from backproof.contracts import Metric, hyper
from backproof.contracts.errors import InvalidValue, PluginError
from backproof.contracts.fields import bounds_description
from backproof.data import DataOptions
from backproof.discovery.registry import Registry, coerce, did_you_mean, type_description, type_hints
from backproof.experiment.experiment import SINGLE, Experiment, ModelOptions, RunOptions
from backproof.gradcheck import CheckOptions
from backproof.nn.training import TrainOptions
from backproof.tracking import TrackingOptions

PROVIDER = "backproof"
#: The options that are a section of the config, by its key.
SECTIONS: dict[str, type[Any]] = {
    "model": ModelOptions,
    "train": TrainOptions,
    "data": DataOptions,
    "gradcheck": CheckOptions,
    "tracking": TrackingOptions,
    "sweep": SweepOptions,
}
#: Sections that can be switched as a whole: gradcheck=off.
SWITCHED = ("gradcheck", "tracking")


@dataclass(frozen=True)
class OutputOptions:
    """Where a run writes."""

    outputs: str = hyper("outputs", "the folder for everything that runs write")


@dataclass(frozen=True)
class Settings:
    """A composed config as typed objects."""

    experiment: Experiment
    tracking: TrackingOptions
    outputs: str
    sweep: SweepOptions = dataclasses.field(default_factory=SweepOptions)


def conf_dir() -> Path:
    """Return the folder of the configs: inside the installed package, or at the top of the checkout."""
    checkout = backproof.plugins.checkout()
    return Path(backproof.__file__).parent / "conf" if checkout is None else checkout / "conf"


def register(plugins: Registry) -> None:
    """Put a schema for every plugin and for the options into Hydra's ConfigStore."""
    share_config_store()
    for kind in SINGLE:
        for entry in plugins.entries(kind):
            _store(mutable_copy(entry.cls, name=entry.name), entry.name, kind)
    for key in SWITCHED:
        for name, enabled in (("on", True), ("off", False)):
            _store({"enabled": enabled}, name, key)
    _store(_whole(), "backproof")


def _store(node: Any, name: str, group: str | None = None) -> None:
    """Store a config, also over an earlier one of that name: Hydra 1.4 warns unless `replace` is given."""
    replace: dict[str, Any] = {"replace": True} if _can_replace() else {}
    ConfigStore.instance().store(group=group, name=name, node=node, provider=PROVIDER, **replace)


@functools.cache
def _can_replace() -> bool:
    return "replace" in inspect.signature(ConfigStore.store).parameters


def share_config_store() -> None:
    """Have Hydra compose from the ConfigStore itself, not from a copy.

    Hydra 1.3 copies it, with a schema for every plugin, for each config: 30 ms of 100, and over a second of
    `train --help`. Hydra 1.4 no longer does.
    """
    ConfigStore.__deepcopy__ = _itself  # type: ignore[attr-defined]


def _itself(store: ConfigStore, memo: dict[int, Any]) -> ConfigStore:
    return store


@functools.lru_cache(maxsize=1)
def _whole() -> type[Any]:
    """The schema of the config as a whole."""
    # A plugin's schema comes with the choice of the plugin.
    fields: list[tuple[str, Any, Any]] = [(kind, Any, dataclasses.field(default=None)) for kind in SINGLE]
    fields.append(("metrics", Any, dataclasses.field(default=None)))
    for key, options in SECTIONS.items():
        node = mutable_copy(options)
        fields.append((key, node, dataclasses.field(default_factory=node)))
    for options in (RunOptions, OutputOptions):
        fields += _fields(options)
    return dataclasses.make_dataclass("Config", fields)


def mutable_copy(cls: type[Any], name: str | None = None) -> type[Any]:
    """A mutable dataclass of the same fields, which OmegaConf would make read-only if it were frozen; with a
    field `name` in front for a plugin."""
    fields: list[tuple[str, Any, Any]] = [("name", str, dataclasses.field(default=name))] if name else []
    fields += _fields(cls)
    return dataclasses.make_dataclass(cls.__name__, fields)


def _fields(cls: type[Any]) -> list[tuple[str, Any, Any]]:
    hints = type_hints(cls)
    return [(field.name, *_field(hints[field.name], field)) for field in dataclasses.fields(cls)]


def _field(hint: Any, field: dataclasses.Field[Any]) -> tuple[Any, Any]:
    """A field's type and default as OmegaConf wants them."""
    if dataclasses.is_dataclass(hint):
        node = mutable_copy(cast("type[Any]", hint))
        return node, dataclasses.field(default_factory=node)
    if field.default_factory is not dataclasses.MISSING:
        return hint, dataclasses.field(default_factory=field.default_factory)
    default = MISSING if field.default is dataclasses.MISSING else field.default
    if typing.get_origin(hint) is tuple:
        hint = list[typing.get_args(hint)[0]]  # type: ignore[misc]
        if isinstance(default, tuple):
            values = list(cast("tuple[Any, ...]", default))
            return hint, dataclasses.field(default_factory=lambda: list(values))
    return hint, dataclasses.field(default=default)


def settings(config: Any, plugins: Registry) -> Settings:
    """The typed objects of a composed config (a DictConfig or a plain dict).

    Raises InvalidValue and PluginError, whose messages name the key.
    """
    values = OmegaConf.to_container(config, resolve=True) if OmegaConf.is_config(config) else config
    return _settings(cast("dict[str, Any]", values), plugins)


def _settings(values: dict[str, Any], plugins: Registry) -> Settings:
    for key in values.keys() - {field.name for field in dataclasses.fields(_whole())}:
        raise PluginError(
            f"there is no key {key!r}{did_you_mean(key, keys(plugins))}\n`backproof train --help` shows all keys"
        )
    chosen = {kind: _plugin(plugins, kind, values[kind]) for kind in SINGLE}
    for kind in SINGLE:
        if chosen[kind] is None and kind != "loss":
            raise InvalidValue(kind, None, f"one of {', '.join(plugins.names(kind))}")
    sections = {key: construct(options, values[key], f"{key}.") for key, options in SECTIONS.items()}
    tracking, sweep = sections.pop("tracking"), sections.pop("sweep")
    for field in (*dataclasses.fields(RunOptions), *dataclasses.fields(OutputOptions)):
        if field.name not in values:
            raise InvalidValue(field.name, None, expected(plugins, field.name))
    seeds = construct(RunOptions, {f.name: values[f.name] for f in dataclasses.fields(RunOptions)}, "")
    experiment = Experiment(**chosen, metrics=_metrics(plugins, values["metrics"]), **sections, run=seeds)
    return Settings(experiment, tracking, values["outputs"], sweep)


def _plugin(plugins: Registry, kind: str, values: Any) -> Any:
    if values is None:
        return None
    given = _mapping(values)
    if "name" not in given:
        raise InvalidValue(kind, values, f"the name of a plugin: {', '.join(plugins.names(kind))}")
    params = {key: value for key, value in given.items() if key != "name" and value != MISSING}
    return plugins.build(kind, given["name"], params)


def _mapping(values: Any) -> dict[str, Any]:
    return dict(cast("Mapping[str, Any]", values)) if isinstance(values, Mapping) else {}


def _metrics(plugins: Registry, values: Any) -> tuple[Metric, ...] | None:
    """From a list of names, or of mappings with a name and hyperparameters; None where it is left open."""
    if values is None:
        return None
    if not isinstance(values, list):
        raise InvalidValue("metrics", values, f"a list such as [{', '.join(plugins.names('metric')[:2])}]")
    built: list[Metric] = []
    for each in cast("list[Any]", values):
        given = {"name": each} if isinstance(each, str) else each
        built.append(_plugin(plugins, "metric", given))
    names = [metric.name for metric in built]
    if len(set(names)) < len(names):
        raise InvalidValue("metrics", names, "a list that names each metric once")
    return tuple(built)


def construct(cls: type[Any], values: Mapping[str, Any], prefix: str) -> Any:
    """An options dataclass from plain values; `prefix` stands before the key in an InvalidValue."""
    hints = type_hints(cls)
    kwargs: dict[str, Any] = {}
    for key, value in values.items():
        hint = hints[key]
        if dataclasses.is_dataclass(hint):
            kwargs[key] = construct(cast("type[Any]", hint), value, f"{prefix}{key}.")
        else:
            kwargs[key] = coerce(f"{prefix}{key}", value, hint)
    try:
        return cls(**kwargs)
    except InvalidValue as error:
        raise InvalidValue(f"{prefix}{error.field}", error.given, error.expected) from None


def keys(plugins: Registry) -> list[str]:
    """Every key that an override may name, for errors that show what is close."""
    found: list[str] = [*SINGLE, "metrics", "experiment"]
    for kind in SINGLE:
        names = {field.name for entry in plugins.entries(kind) for field in dataclasses.fields(entry.cls)}
        found += [f"{kind}.{name}" for name in sorted(names)]
    for options, prefix in ((RunOptions, ""), (OutputOptions, "")):
        found += _keys(options, prefix)
    for key, options in SECTIONS.items():
        found += [key, *_keys(options, f"{key}.")]
    return found


def expected(plugins: Registry, key: str) -> str:
    """What the value of a key must be, in words: 'a number > 0'; '' for a key that is none."""
    group, _, last = key.rpartition(".")
    if group in SINGLE:
        classes: list[type[Any]] = [entry.cls for entry in plugins.entries(group)]
    elif group:
        cls = SECTIONS.get(group.partition(".")[0])
        for part in group.split(".")[1:]:
            cls = type_hints(cls).get(part) if cls is not None else None
        classes = [] if cls is None else [cls]
    else:
        classes = [RunOptions, OutputOptions]
    found: dict[str, None] = {}
    for cls in classes:
        for field in dataclasses.fields(cls):
            if field.name == last:
                found[_wanted(type_hints(cls)[last], field, key)] = None
    return ", or ".join(found)


def _wanted(hint: Any, field: dataclasses.Field[Any], key: str) -> str:
    """A field's type and bounds in words."""
    if dataclasses.is_dataclass(hint):
        return f"its keys one by one: {', '.join(_keys(cast('type[Any]', hint), f'{key}.'))}"
    bounds = bounds_description(field.metadata)
    if bounds.startswith("one of"):
        return bounds
    words = type_description(hint)
    null = " or null" * words.endswith(" or null")
    example = ", written [1,2]" * words.startswith("a list of")
    return f"{words.removesuffix(null)} {bounds}".strip() + example + null


def owners(plugins: Registry, kind: str, key: str) -> list[str]:
    """The plugins of a kind that have a hyperparameter of that name."""
    if kind not in SINGLE:
        return []
    return [e.name for e in plugins.entries(kind) if key in {field.name for field in dataclasses.fields(e.cls)}]


def _keys(cls: type[Any], prefix: str) -> list[str]:
    hints = type_hints(cls)
    found: list[str] = []
    for field in dataclasses.fields(cls):
        nested = dataclasses.is_dataclass(hints[field.name])
        found += _keys(hints[field.name], f"{prefix}{field.name}.") if nested else [prefix + field.name]
    return found
