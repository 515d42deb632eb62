"""Floor 1: finds the plugins and builds them from plain values. The only place where plugin code is imported.

A plugin is found in one of three places:

    plugins/KIND/NAME.py   of this project, or of any other directory on the import path (a namespace package)
    DIR/KIND/NAME.py       or DIR/NAME.py, for each DIR in the environment variable BACKPROOF_PLUGINS
    an entry point         of the group `backproof.plugins` of an installed distribution, naming a module

A derivation may also be index formulas in NAME.yaml (or .yml), in the first two places; see `backproof.formulas`.
In DIR itself, that is a YAML file with a key `gradients`.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import importlib
import importlib.util
import inspect
import os
import sys
import types
import typing
import warnings
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, cast

import backproof.plugins
from backproof.contracts import KINDS, Derivation, Plugin
from backproof.contracts.errors import InvalidValue, PluginError
from backproof.discovery.yaml_derivation import SUFFIXES, derivation_of, is_derivation

#: Directories with plugin files, separated as PATH is.
ENVIRONMENT = "BACKPROOF_PLUGINS"
ENTRY_POINTS = "backproof.plugins"


class PluginWarning(UserWarning):
    """A third party's plugin file that cannot be used; the others are not touched by it."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """One plugin that was found."""

    kind: str
    name: str
    cls: type[Plugin]
    file: Path


def did_you_mean(name: str, names: list[str]) -> str:
    """', did you mean ...?' where some of `names` are close to `name`."""
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    return f", did you mean {' or '.join(close)}?" if close else ""


class Registry:
    """The plugins that are installed, by kind and name."""

    def __init__(self, entries: list[Entry], broken: list[tuple[Path, str]]) -> None:
        self._entries: dict[str, dict[str, Entry]] = {kind: {} for kind in KINDS}
        self.broken = broken
        for entry in sorted(entries, key=lambda entry: entry.name):
            other = self._entries[entry.kind].setdefault(entry.name, entry)
            if other is not entry:
                raise PluginError(
                    f"two plugins are called {entry.kind} {entry.name!r}:\n  {other.file}\n  {entry.file}\n"
                    "Rename one of the files: a plugin's name is its file's"
                )

    def names(self, kind: str) -> list[str]:
        """The names of a kind's plugins, sorted."""
        return list(self._of(kind))

    def entries(self, kind: str | None = None) -> list[Entry]:
        """The plugins of one kind, or of all."""
        return [entry for each in ([kind] if kind else KINDS) for entry in self._of(each).values()]

    def entry(self, kind: str, name: str) -> Entry:
        """One plugin. Raises PluginError with the nearest names where there is none."""
        entries = self._of(kind)
        if name not in entries:
            raise PluginError(
                f"no {kind} is called {name!r}{did_you_mean(name, [*entries])}\nInstalled: {', '.join(entries)}"
            )
        return entries[name]

    def get(self, kind: str, name: str) -> type[Plugin]:
        """The class of one plugin."""
        return self.entry(kind, name).cls

    def build(self, kind: str, name: str, params: Mapping[str, Any] | None = None) -> Any:
        """An instance with these hyperparameters and its own defaults for the others.

        Raises PluginError for an unknown name or hyperparameter, InvalidValue for a value that is missing, of
        the wrong type or out of bounds; its `field` is the key in the config, as `optimizer.lr`.
        """
        cls, params = self.get(kind, name), dict(params or {})
        fields = {field.name: field for field in dataclasses.fields(cls)}
        hints = type_hints(cls)
        for key, value in params.items():
            if key not in fields:
                raise PluginError(
                    f"{kind} {name!r} has no hyperparameter {key!r}{did_you_mean(key, [*fields])}\n"
                    f"It has: {', '.join(fields) or 'none'}"
                )
            params[key] = coerce(f"{kind}.{key}", value, hints[key])
        for key, field in fields.items():
            if key not in params and required(field):
                raise InvalidValue(f"{kind}.{key}", None, f"a value: {field.metadata['doc']}")
        try:
            return cls(**params)
        except InvalidValue as error:
            raise InvalidValue(f"{kind}.{error.field}", error.given, error.expected) from None

    def _of(self, kind: str) -> dict[str, Entry]:
        if kind not in self._entries:
            raise PluginError(
                f"no kind of plugin is called {kind!r}{did_you_mean(kind, [*KINDS])}\nKinds: {', '.join(KINDS)}"
            )
        return self._entries[kind]


@functools.cache
def type_hints(cls: type[Any]) -> dict[str, Any]:
    """The annotations of a dataclass's fields. Resolving them is most of what building a plugin costs."""
    return typing.get_type_hints(cls)


def required(field: dataclasses.Field[Any]) -> bool:
    """Whether the user must give a value: it has no default."""
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def coerce(key: str, value: Any, hint: Any) -> Any:
    """`value` as its annotation has it (a list becomes a tuple, an int a float), or InvalidValue."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        for option in typing.get_args(hint):
            try:
                return coerce(key, value, option)
            except InvalidValue:
                continue
        raise InvalidValue(key, value, type_description(hint))
    if typing.get_origin(hint) is tuple:
        if not isinstance(value, list | tuple):
            raise InvalidValue(key, value, type_description(hint))
        return tuple(coerce(key, each, typing.get_args(hint)[0]) for each in cast("list[Any]", value))
    if (
        hint is Any
        or (hint is type(None) and value is None)
        or isinstance(value, typing.get_origin(hint) or ())
    ):
        return value
    if hint is float and type(value) is int:
        return float(value)
    # An (R, 1) array stands for one number per member of a stack.
    if hint in (int, float) and hasattr(value, "shape") and not isinstance(value, bool):
        return value
    if isinstance(hint, type) and isinstance(value, hint) and (hint is bool or type(value) is not bool):
        return value
    raise InvalidValue(key, value, type_description(hint))


def type_description(hint: Any) -> str:
    """A field's annotation in words: `float | None` is 'a number or null'."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return " or ".join(type_description(option) for option in typing.get_args(hint))
    if typing.get_origin(hint) is tuple:
        many = type_description(typing.get_args(hint)[0]).removeprefix("a ")
        return f"a list of {many}{'s' * many.endswith('number')}"
    words = {float: "a number", int: "a whole number", bool: "true or false", str: "text", type(None): "null"}
    return words.get(hint, getattr(hint, "__name__", str(hint)))


def plugin_in(file: Path) -> Entry:
    """The plugin of one file, wherever it lies, as a test of it wants it. Raises what its import raises, and
    TypeError or ValueError where it is not what a plugin must be."""
    cls = derivation_of(file) if file.suffix in SUFFIXES else _plugin_class(_load(file), file, None)
    cls.name = file.stem
    return Entry(cls.kind, file.stem, cls, file)


@functools.lru_cache(maxsize=1)
def registry() -> Registry:
    """All plugins that are installed, found once. `registry.cache_clear()` makes the next call look again."""
    found = _Found()
    for folder, ours in _namespace():
        for kind, file in _files(folder, flat=False):
            found.add(
                file, kind, functools.partial(_import, f"backproof.plugins.{kind}.{file.stem}", file), ours=ours
            )
    for folder in _environment():
        for kind, file in _files(folder, flat=True):
            found.add(file, kind, functools.partial(_load, file))
    for point in sorted(entry_points(group=ENTRY_POINTS), key=lambda point: point.value):
        found.add(_file_of(point), None, functools.partial(importlib.import_module, point.module))
    return Registry(found.entries, found.broken)


class _Found:
    """What a search has come upon so far."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.broken: list[tuple[Path, str]] = []
        self.seen: set[Path] = set()

    def add(
        self, file: Path, kind: str | None, module: Callable[[], types.ModuleType], *, ours: bool = False
    ) -> None:
        """Import a plugin file. One that is broken is a warning, unless it is our own."""
        if file.resolve() in self.seen:
            return
        self.seen.add(file.resolve())
        try:
            cls = derivation_of(file) if file.suffix in SUFFIXES else _plugin_class(module(), file, kind)
        # Whatever a stranger's file raises while it is imported must not stop the others.
        except (Exception, SystemExit) as error:
            if ours:
                raise
            reason = f"{type(error).__name__}: {error}"
            self.broken.append((file, reason))
            warnings.warn(f"plugin file {file} is left out: {reason}", PluginWarning, stacklevel=3)
            return
        cls.name = file.stem
        self.entries.append(Entry(cls.kind, file.stem, cls, file))


def _namespace() -> Iterator[tuple[Path, bool]]:
    """The portions of the namespace package `plugins`, this project's own first."""
    for portion in backproof.plugins.__path__:
        yield Path(portion), True


def _environment() -> Iterator[Path]:
    for text in filter(None, os.environ.get(ENVIRONMENT, "").split(os.pathsep)):
        folder = Path(text).expanduser().absolute()
        if folder.is_dir():
            yield folder
        else:
            warnings.warn(f"{ENVIRONMENT} names {folder}, which is no directory", PluginWarning, stacklevel=3)


def _files(folder: Path, *, flat: bool) -> Iterator[tuple[str | None, Path]]:
    """(kind, file) of each plugin file; the kind is None for one that lies in no folder of a kind."""
    for kind in (*KINDS, None) if flat else KINDS:
        for file in sorted((folder / kind if kind else folder).glob("*.py")):
            if not file.stem.startswith(("_", "test_")) and file.stem != "conftest":
                yield kind, file
    for place, kind in ((folder / Derivation.kind, Derivation.kind), (folder, None))[: 2 if flat else 1]:
        for file in sorted(each for suffix in SUFFIXES for each in place.glob(f"*{suffix}")):
            if not file.stem.startswith("_") and (kind or is_derivation(file)):
                yield kind, file


def _import(module: str, file: Path) -> types.ModuleType:
    """The module of the namespace package, unless another file of the same name would be found in its place."""
    spec = importlib.util.find_spec(module)
    if spec is not None and spec.origin is not None and Path(spec.origin).resolve() == file.resolve():
        return importlib.import_module(module)
    return _load(file)


def _load(file: Path) -> types.ModuleType:
    """Import a file that is not on the import path, under a name of its own."""
    name = f"backproof_plugin_{abs(hash(str(file)))}_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their own module up by name while they are being made.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _file_of(point: EntryPoint) -> Path:
    try:
        spec = importlib.util.find_spec(point.module)
    except ImportError:
        spec = None
    # A module that is not there has no file; its import then says what is wrong.
    return Path(spec.origin) if spec and spec.origin else Path(f"{point.module.rpartition('.')[2]}.py")


def _plugin_class(module: types.ModuleType, file: Path, kind: str | None) -> type[Plugin]:
    """The one plugin class defined in the module. Raises TypeError where it is not what a plugin must be."""
    classes = [
        each
        for each in vars(module).values()
        if inspect.isclass(each) and issubclass(each, Plugin) and each.__module__ == module.__name__
    ]
    if len(classes) != 1:
        found = ", ".join(each.__name__ for each in classes) or "none"
        raise TypeError(f"a plugin file must define one plugin class, found {found}")
    cls = classes[0]
    if not cls.kind or (kind and cls.kind != kind):
        raise TypeError(f"{cls.__name__} is of kind {cls.kind or 'none'!r}, but its folder is for {kind!r}")
    if inspect.isabstract(cls):
        raise TypeError(f"{cls.__name__} lacks {', '.join(sorted(cls.__abstractmethods__))}")
    if "__dataclass_fields__" not in vars(cls) or not cls.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        raise TypeError(f"{cls.__name__} must be a frozen dataclass: put @dataclass(frozen=True) above it")
    for field in dataclasses.fields(cls):
        if field.name in ("name", "kind"):
            raise TypeError(f"{cls.__name__} has a field {field.name!r}: that name is taken, choose another")
    if not file.stem.isidentifier():
        raise TypeError(f"{file.name} cannot be a plugin's name: use letters, digits and _")
    return cls
