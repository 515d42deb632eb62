"""Schemas for Hydra, made from the fields of the plugins and options, and the objects built from a config."""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import typing
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from hydra.core.config_store import ConfigNode, ConfigStore
from omegaconf import MISSING, OmegaConf

import backproof.plugins
from backproof.app.sweep_options import SweepOptions
from backproof.contracts import Metric, hyper
from backproof.contracts.errors import InvalidValue, PluginError, did_you_mean
from backproof.contracts.fields import construct, type_hints, value_description
from backproof.data import DataOptions
from backproof.discovery.registry import Registry, registry
from backproof.experiment.experiment import SINGLE, Experiment, ModelOptions, RunOptions
from backproof.gradcheck import CheckOptions
from backproof.nn.training import TrainOptions
from backproof.tracking import TrackingOptions

PROVIDER = "backproof"
#: Hydra 1.3 must be asked for its own defaults; Hydra 1.4 has no others, and warns about the argument.
VERSION_BASE: dict[str, Any] = (
    {"version_base": "1.3"} if importlib.metadata.version("hydra-core").startswith("1.3") else {}
)
#: The options of each section of the config, by key.
SECTIONS: dict[str, type[Any]] = {
    "model": ModelOptions,
    "train": TrainOptions,
    "data": DataOptions,
    "gradcheck": CheckOptions,
    "tracking": TrackingOptions,
    "sweep": SweepOptions,
}
#: Sections that can be switched off as a whole: gradcheck=off.
SWITCHED = ("gradcheck", "tracking")


@dataclass(frozen=True)
class OutputOptions:
    """Where runs write."""

    outputs: str = hyper("outputs", "the folder for all output")

    def __post_init__(self) -> None:
        if not self.outputs.strip():
            raise InvalidValue("outputs", self.outputs, "the name of a folder, as outputs=outputs")


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


def accept_own_callback() -> None:
    """Ignore Hydra 1.4's warning about the callback in our own config.

    It asks for a whitelist of what configs may instantiate, which would exclude callbacks of users.
    """
    warnings.filterwarnings("ignore", r"hydra\.utils\.instantiate\(\) resolved _target_='backproof\.")


def register(plugins: Registry) -> None:
    """Put the schemas of plugins and options into Hydra's ConfigStore, each created when it is loaded."""
    repo = ConfigStore.instance().repo
    for kind in SINGLE:
        repo[kind] = {f"{name}.yaml": _schema(kind, name, plugins) for name in plugins.names(kind)}
    for key in SWITCHED:
        repo[key] = {f"{name}.yaml": _schema(key, name) for name in ("on", "off")}
    repo["backproof.yaml"] = _schema(None, "backproof")


def _schema(group: str | None, name: str, plugins: Registry | None = None) -> _Schema:
    """Return the node of a plugin, of a switch, or of the whole config; plugins are those of this process."""
    if group in SINGLE:
        installed = plugins or registry()
        return _Schema(
            group, name, lambda: OmegaConf.structured(mutable_copy(installed.get(group, name), name))
        )
    if group in SWITCHED:
        return _Schema(group, name, functools.partial(OmegaConf.create, {"enabled": name == "on"}))
    return _Schema(group, name, lambda: OmegaConf.structured(_whole()))


class _Schema(ConfigNode):
    """A node of Hydra's ConfigStore that is created when it is loaded, so that listing plugins imports none."""

    def __init__(self, group: str | None, name: str, make: Callable[[], Any]) -> None:
        self._make = make
        self.name, self.group, self.package, self.provider = f"{name}.yaml", group, None, PROVIDER

    @property
    def node(self) -> Any:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The config of this node."""
        return self._make()

    def __copy__(self) -> ConfigNode:
        # Hydra copies a node when it loads it.
        return ConfigNode(self.name, self.node, self.group, self.package, self.provider)

    def __deepcopy__(self, memo: dict[int, Any]) -> _Schema:
        # Hydra 1.3 copies the whole store whenever it composes.
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        # The store travels to the workers of a sweep, which have the same plugins.
        return _schema, (self.group, self.name.removesuffix(".yaml"))


@functools.lru_cache(maxsize=1)
def _whole() -> type[Any]:
    """Return the schema of the whole config."""
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
    """Return a mutable dataclass with the same fields, for a plugin with a field `name` in front.

    OmegaConf would make a frozen one read-only.
    """
    fields: list[tuple[str, Any, Any]] = [("name", str, dataclasses.field(default=name))] if name else []
    fields += _fields(cls)
    return dataclasses.make_dataclass(cls.__name__, fields)


def _fields(cls: type[Any]) -> list[tuple[str, Any, Any]]:
    hints = type_hints(cls)
    return [(field.name, *_field(hints[field.name], field)) for field in dataclasses.fields(cls)]


def _field(hint: Any, field: dataclasses.Field[Any]) -> tuple[Any, Any]:
    """Return a field's type and default as OmegaConf accepts them."""
    if dataclasses.is_dataclass(hint):
        node = mutable_copy(cast("type[Any]", hint))
        return node, dataclasses.field(default_factory=node)
    if field.default_factory is not dataclasses.MISSING:
        return hint, dataclasses.field(default_factory=field.default_factory)
    default = MISSING if field.default is dataclasses.MISSING else field.default
    if hint in (bool, bool | None):
        # OmegaConf would take any whole number for true; `coerce` checks the value.
        hint = Any
    if typing.get_origin(hint) is tuple:
        hint = list[typing.get_args(hint)[0]]  # type: ignore[misc]
        if isinstance(default, tuple):
            values = list(cast("tuple[Any, ...]", default))
            return hint, dataclasses.field(default_factory=lambda: list(values))
    return hint, dataclasses.field(default=default)


def settings(config: Any, plugins: Registry) -> Settings:
    """Return the typed objects of a composed config (a DictConfig or a plain dict).

    Raise InvalidValue or PluginError, whose message names the key.
    """
    plain = OmegaConf.to_container(config, resolve=True) if OmegaConf.is_config(config) else config
    values = cast("dict[str, Any]", plain)
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
    output = construct(OutputOptions, {f.name: values[f.name] for f in dataclasses.fields(OutputOptions)}, "")
    return Settings(experiment, tracking, output.outputs, sweep)


def _plugin(plugins: Registry, kind: str, values: Any) -> Any:
    if values is None:
        return None
    plugin = _mapping(values)
    if not isinstance(plugin.get("name"), str):
        raise InvalidValue(kind, values, f"the name of a plugin: {', '.join(plugins.names(kind))}")
    params = {key: value for key, value in plugin.items() if key != "name"}
    return plugins.build(kind, plugin["name"], params)


def _mapping(values: Any) -> dict[str, Any]:
    return dict(cast("Mapping[str, Any]", values)) if isinstance(values, Mapping) else {}


def _metrics(plugins: Registry, values: Any) -> tuple[Metric, ...] | None:
    """Build a list of names, or of mappings with a name and hyperparameters; None means the default."""
    if values is None:
        return None
    listed = cast("list[Any]", values)
    if not isinstance(values, list) or not all(isinstance(value, str | Mapping) for value in listed):
        raise InvalidValue("metrics", listed, f"a list such as [{', '.join(plugins.names('metric')[:2])}]")
    built: list[Metric] = []
    for value in listed:
        built.append(_plugin(plugins, "metric", {"name": value} if isinstance(value, str) else value))
    names = [metric.name for metric in built]
    if len(set(names)) < len(names):
        raise InvalidValue("metrics", names, "a list that names each metric once")
    return tuple(built)


def keys(plugins: Registry) -> list[str]:
    """Return every key that an override may have, for errors that suggest one."""
    names: list[str] = [*SINGLE, "metrics", "experiment"]
    for kind in SINGLE:
        hyperparameters = {
            field.name for entry in plugins.usable(kind, warn=False) for field in dataclasses.fields(entry.cls)
        }
        names += [f"{kind}.{name}" for name in sorted(hyperparameters)]
    names += [*_keys(RunOptions, ""), *_keys(OutputOptions, "")]
    for key, options in SECTIONS.items():
        names += [key, *_keys(options, f"{key}.")]
    return names


def expected(plugins: Registry, key: str) -> str:
    """Return what the value of a key must be, as 'a number > 0'; '' for an unknown key."""
    group, _, last = key.rpartition(".")
    if group in SINGLE:
        classes: list[type[Any]] = [entry.cls for entry in plugins.usable(group, warn=False)]
    elif group:
        cls = SECTIONS.get(group.partition(".")[0])
        for part in group.split(".")[1:]:
            cls = type_hints(cls).get(part) if dataclasses.is_dataclass(cls) else None
        # A key below a mapping, such as tracking.tags.a, has no type.
        classes = [cls] if isinstance(cls, type) and dataclasses.is_dataclass(cls) else []
    else:
        classes = [RunOptions, OutputOptions]
    descriptions: dict[str, None] = {}
    for cls in classes:
        for field in dataclasses.fields(cls):
            if field.name == last:
                descriptions[_value_description(type_hints(cls)[last], field, key)] = None
    return ", or ".join(descriptions)


def _value_description(hint: Any, field: dataclasses.Field[Any], key: str) -> str:
    """Return what a field's value must be, in words."""
    if dataclasses.is_dataclass(hint):
        return f"its keys one by one: {', '.join(_keys(cast('type[Any]', hint), f'{key}.'))}"
    return value_description(hint, field.metadata)


def owners(plugins: Registry, kind: str, key: str) -> list[str]:
    """Return the names of the plugins of a kind that have this hyperparameter."""
    if kind not in SINGLE:
        return []
    return [
        e.name
        for e in plugins.usable(kind, warn=False)
        if key in {field.name for field in dataclasses.fields(e.cls)}
    ]


def _keys(cls: type[Any], prefix: str) -> list[str]:
    hints = type_hints(cls)
    names: list[str] = []
    for field in dataclasses.fields(cls):
        nested = dataclasses.is_dataclass(hints[field.name])
        names += _keys(hints[field.name], f"{prefix}{field.name}.") if nested else [prefix + field.name]
    return names
