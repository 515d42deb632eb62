"""Find the installed plugins by the names of their files, and import each when it is used.

A plugin is found in one of three places:

    plugins/KIND/NAME.py   of backproof itself
    DIR/KIND/NAME.py       or DIR/NAME.py, for each DIR in the environment variable BACKPROOF_PLUGINS
    an entry point         of the group `backproof.plugins` of an installed distribution, naming a module

A derivation may also be index formulas in NAME.yaml (or .yml), in the first two places; see `backproof.formulas`.
In DIR itself, that is a YAML file with a key `gradients`.

Searching lists folders. A file in the folder of its kind is not opened; the kind of any other file is read from its
source. A file that cannot be imported, or two files of one name, are an error only if that name is used.
"""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Iterator, Mapping
from importlib.machinery import PathFinder
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import backproof.plugins
from backproof.contracts import KINDS, Derivation, Plugin
from backproof.contracts.errors import PluginError, did_you_mean
from backproof.contracts.fields import construct
from backproof.discovery.entry import SUFFIXES, Entry, is_derivation, kind_in_source

#: Directories with plugin files, separated as in PATH.
ENVIRONMENT = "BACKPROOF_PLUGINS"
ENTRY_POINTS = "backproof.plugins"


class PluginWarning(UserWarning):
    """A plugin file that cannot be used, or a directory that does not exist."""


class Registry:
    """The installed plugins by kind and name."""

    def __init__(self, entries: list[Entry]) -> None:
        self._entries: dict[str, dict[str, list[Entry]]] = {kind: {} for kind in KINDS}
        #: Files whose source does not name a kind; importing them may.
        self._unknown = [entry for entry in entries if not entry.kind]
        for entry in entries:
            if entry.kind:
                self._add(entry)

    def names(self, kind: str) -> list[str]:
        """Return the names of the plugins of a kind, sorted. Nothing is imported."""
        return sorted(self._of(kind))

    def entries(self, kind: str | None = None) -> list[Entry]:
        """Return the plugins of one kind, or of all, not yet imported."""
        kinds = [kind] if kind else [*KINDS]
        return [entry for kind in kinds for _, same in sorted(self._of(kind).items()) for entry in same]

    def usable(self, kind: str | None = None, *, warn: bool = True) -> list[Entry]:
        """Import the plugins of one kind, or of all, and return those that work.

        Each of the others is a PluginWarning, unless `warn` is false.
        """
        usable: list[Entry] = []
        for key in dict.fromkeys((entry.kind, entry.name) for entry in self.entries(kind)):
            try:
                entry = self.entry(*key)
                _ = entry.cls
            except PluginError as error:
                if warn:
                    warnings.warn(str(error), PluginWarning, stacklevel=2)
            else:
                usable.append(entry)
        return usable

    def declaring(self, kind: str, attribute: str) -> list[type[Plugin]]:
        """Return the classes of a kind whose file sets a class attribute; only their files are imported."""
        return [self.get(kind, entry.name) for entry in self.entries(kind) if entry.mentions(attribute)]

    def entry(self, kind: str, name: str) -> Entry:
        """Return one plugin, not yet imported.

        Raise PluginError if there is none of that name, with similar names, or more than one.
        """
        same = self._of(kind).get(name, [])
        if len(same) > 1:
            files = "".join(f"\n  {entry.file}" for entry in same)
            raise PluginError(
                f"two plugins are called {kind} {name!r}:{files}\n"
                "Rename one of the files: a plugin's name is its file's"
            )
        if same:
            return same[0]
        for entry in self._unknown:
            if entry.name == name:
                _ = entry.cls  # raises PluginError, which says why this file is not a plugin
        names = self.names(kind)
        raise PluginError(
            f"no {kind} is called {name!r}{did_you_mean(name, names)}\nInstalled: {', '.join(names)}"
        )

    def get(self, kind: str, name: str) -> type[Plugin]:
        """Import one plugin and return its class. Raise PluginError if it cannot be used."""
        return self.entry(kind, name).cls

    def build(self, kind: str, name: str, params: Mapping[str, Any] | None = None) -> Any:
        """Return an instance with these hyperparameters, and the defaults for the others.

        Raise PluginError for an unknown name or hyperparameter, InvalidValue for a value that is missing, of the
        wrong type or out of bounds; its `field` is the key in the config, such as `optimizer.lr`.
        """
        cls, params = self.get(kind, name), params or {}
        fields = list(cls.__dataclass_fields__)
        for key in params:
            if key not in fields:
                raise PluginError(
                    f"{kind} {name!r} has no hyperparameter {key!r}{did_you_mean(key, fields)}\n"
                    f"It has: {', '.join(fields) or 'none'}"
                )
        return construct(cls, params, f"{kind}.")

    def _of(self, kind: str) -> dict[str, list[Entry]]:
        if kind not in self._entries:
            raise PluginError(
                f"no kind of plugin is called {kind!r}{did_you_mean(kind, KINDS)}\nKinds: {', '.join(KINDS)}"
            )
        self._resolve()
        return self._entries[kind]

    def _resolve(self) -> None:
        """Import the files that define a class of a base that is not named in their source, to learn their kind."""
        for entry in [entry for entry in self._unknown if entry.ambiguous]:
            try:
                cls = entry.cls
            except PluginError:
                entry.ambiguous = False  # reported if it is requested by name
            else:
                self._unknown.remove(entry)
                entry.kind = cls.kind
                self._add(entry)

    def _add(self, entry: Entry) -> None:
        self._entries[entry.kind].setdefault(entry.name, []).append(entry)


@functools.lru_cache(maxsize=1)
def registry() -> Registry:
    """Return all installed plugins, found once. `registry.cache_clear()` makes the next call search again."""
    entries: dict[Path, Entry] = {}
    for entry in _search():
        # The same file may be found in more than one way.
        entries.setdefault(entry.file.resolve(), entry)
    return Registry(list(entries.values()))


def _search() -> Iterator[Entry]:
    for portion in backproof.plugins.__path__:
        for kind in KINDS:
            for file in _files(Path(portion) / kind, kind):
                yield Entry(kind, file.stem, file, f"backproof.plugins.{kind}.{file.stem}")
    for folder in _environment():
        for kind in KINDS:
            for file in _files(folder / kind, kind):
                yield Entry(kind, file.stem, file)
        for file in _files(folder, None):
            yield _classified(Entry("", file.stem, file))
    for point in sorted(entry_points(group=ENTRY_POINTS), key=lambda point: point.value):
        file = _file_of(point)
        yield _classified(Entry("", file.stem, file, point.module))


def _files(folder: Path, kind: str | None) -> Iterator[Path]:
    """Yield the plugin files of a folder; `kind` is None for a folder that is not that of a kind."""
    for file in sorted(folder.glob("*.py")):
        if not file.stem.startswith(("_", "test_")) and file.stem != "conftest":
            yield file
    if kind in (Derivation.kind, None):
        for file in sorted(file for suffix in SUFFIXES for file in folder.glob(f"*{suffix}")):
            if not file.stem.startswith("_") and (kind or is_derivation(file)):
                yield file


def _classified(entry: Entry) -> Entry:
    """Set the kind of an entry if its source names one, and return the entry."""
    if entry.file.suffix in SUFFIXES:
        entry.kind = Derivation.kind
    else:
        entry.kind, entry.ambiguous = kind_in_source(entry.file)
    return entry


def _environment() -> Iterator[Path]:
    for text in filter(None, os.environ.get(ENVIRONMENT, "").split(os.pathsep)):
        folder = Path(text).expanduser().absolute()
        if folder.is_dir():
            yield folder
        else:
            warnings.warn(
                f"{ENVIRONMENT} names {folder}, which is not a directory", PluginWarning, stacklevel=2
            )


def _file_of(point: EntryPoint) -> Path:
    """Return the file of an entry point's module; its packages are not imported."""
    top, *names = point.module.split(".")
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):
        spec = None
    for i in range(len(names)):
        if spec is None:
            break
        spec = PathFinder.find_spec(".".join([top, *names[: i + 1]]), spec.submodule_search_locations)
    # A module that does not exist has no file; the error when it is imported says so.
    return Path(spec.origin) if spec and spec.origin else Path(f"{point.module.rpartition('.')[2]}.py")
