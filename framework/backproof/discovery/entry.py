"""One plugin file: its kind and name, and its class, imported on first use."""

from __future__ import annotations

import ast
import dataclasses
import functools
import hashlib
import importlib
import importlib.util
import inspect
import re
import sys
import traceback
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from backproof import contracts
from backproof.contracts import Plugin
from backproof.contracts.errors import DeclarationError, PluginError
from backproof.contracts.fields import declaration_problem
from backproof.discovery import guard

#: The suffixes of derivations that are index formulas.
SUFFIXES = (".yaml", ".yml")
_GRADIENTS = re.compile(rb"^gradients\s*:", re.MULTILINE)
_BASES = {
    name: base.kind
    for name, base in vars(contracts).items()
    if inspect.isclass(base) and issubclass(base, Plugin) and base.kind
}


@dataclasses.dataclass(eq=False)
class Entry:
    """An installed plugin, whose file may not have been imported yet."""

    kind: str  # "" if it is unknown until the file is imported
    name: str
    file: Path
    module: str | None = None  # its import name; None for a file that is not on the import path
    #: True if its class has a base that may or may not be that of a kind.
    ambiguous: bool = False

    @functools.cached_property
    def digest(self) -> str:
        """Digest of the file as it was when it was imported, or first asked for; empty if it cannot be read."""
        try:
            return hashlib.sha256(self.file.read_bytes()).hexdigest()[:8]
        except OSError:
            return ""

    @functools.cached_property
    def cls(self) -> type[Plugin]:
        """The plugin's class. Raise PluginError with file, line and reason if the file cannot be used."""
        _ = self.digest
        try:
            return self.load()
        # A plugin file may raise anything while it is imported.
        except BaseException as error:
            if guard.stopped_by_signal(error):
                raise
            line = _line(error, self.file)
            raise PluginError(
                f"the plugin {self.label} cannot be used: {self.file}{line}: {guard.reason(error)}"
            ) from error

    @property
    def label(self) -> str:
        """`activation=relu`, or the name alone while the kind is unknown."""
        return f"{self.kind}={self.name}" if self.kind else self.name

    def load(self) -> type[Plugin]:
        """Import the file and return its class.

        Raise what the import raises, and TypeError or ValueError for a file that does not define a plugin.
        """
        if self.file.suffix in SUFFIXES:
            from backproof.discovery.yaml_derivation import derivation_of

            cls = derivation_of(self.file)
        else:
            guard.remember(self.label, str(self.file))
            cls = _plugin_class(self._import(), self.file, self.kind)
            guard.remember(f"{cls.kind}={self.name}", str(self.file))
        cls.name = self.name
        return cls

    def mentions(self, attribute: str) -> bool:
        """Return whether the file's text contains a name, without importing it."""
        return attribute.encode() in self.file.read_bytes()

    def _import(self) -> types.ModuleType:
        if self.module is None:
            with guard.announced(self.file):
                return _import_file(self.file)
        if not self.module.startswith("backproof.plugins."):
            with guard.announced(self.file):
                return importlib.import_module(self.module)
        spec = importlib.util.find_spec(self.module)
        if spec is not None and spec.origin is not None and Path(spec.origin).resolve() == self.file.resolve():
            return importlib.import_module(self.module)
        # Another file of the same name comes first on the package's path.
        return _import_file(self.file)


def plugin_in(file: Path) -> Entry:
    """Return the plugin in a file, imported: for a test of that file.

    Raise what the import raises, and TypeError or ValueError for a file that does not define a plugin.
    """
    entry = Entry("", file.stem, file)
    cls = entry.load()
    entry.kind = cls.kind
    entry.__dict__["cls"] = cls
    return entry


def is_derivation(file: Path) -> bool:
    """Return whether a YAML file outside a folder of a kind is a derivation: it has a key `gradients`."""
    try:
        return _GRADIENTS.search(file.read_bytes()) is not None
    except OSError:
        return False


def kind_in_source(file: Path) -> tuple[str, bool]:
    """Return the kind that a module's source names ("" for none), and whether importing it could show more.

    The kind is that of the base of a class: `class Arctan(Activation)`.
    """
    if file.suffix != ".py" or not file.is_file():
        return "", True
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return "", False
    aliases = {
        alias.asname: alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname
    }
    bases = [base for node in ast.walk(tree) if isinstance(node, ast.ClassDef) for base in node.bases]
    names = [base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", "") for base in bases]
    kinds = {_BASES[name] for name in (aliases.get(name, name) for name in names) if name in _BASES}
    return (kinds.pop(), False) if len(kinds) == 1 else ("", bool(bases))


def _import_file(file: Path) -> types.ModuleType:
    """Import a file that is not on the import path, under a unique name."""
    name = f"backproof_plugin_{abs(hash(str(file)))}_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look up their module by name while they are created.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _plugin_class(module: types.ModuleType, file: Path, kind: str) -> type[Plugin]:
    """Return the one plugin class that a module defines. Raise TypeError if the module is not a plugin."""
    classes = [
        cls
        for cls in vars(module).values()
        if inspect.isclass(cls) and issubclass(cls, Plugin) and cls.__module__ == module.__name__
    ]
    if len(classes) != 1:
        names = ", ".join(cls.__name__ for cls in classes) or "none"
        raise TypeError(f"a plugin file must define one plugin class, found {names}")
    if not file.stem.isidentifier():
        raise TypeError(f"{file.name} cannot be a plugin's name: use letters, digits and _")
    cls = classes[0]
    for problem, member in _problems(cls, kind):
        raise DeclarationError(problem, _line_of(file, cls, member))
    return cls


def _problems(cls: type[Plugin], kind: str) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the declaration of a plugin, each with the name of the field or method, or ''."""
    if not cls.kind or (kind and cls.kind != kind):
        yield f"{cls.__name__} is of kind {cls.kind or 'none'!r}, but its folder is for {kind!r}", ""
    if inspect.isabstract(cls):
        yield f"{cls.__name__} lacks {', '.join(sorted(cls.__abstractmethods__))}", ""
    if "__dataclass_fields__" not in vars(cls) or not cls.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        yield f"{cls.__name__} must be a frozen dataclass: put @dataclass(frozen=True) above it", ""
    for method in _misdeclared(cls):
        names = ", ".join(_parameters(_contract(cls, method)))
        yield (
            f"{cls.__name__}.{method} must take ({names}), got ({', '.join(_parameters(getattr(cls, method)))})",
            method,
        )
    for field in dataclasses.fields(cls):
        if field.name in ("name", "kind"):
            yield (
                f"{cls.__name__} has a field {field.name!r}, which is reserved: choose another name",
                field.name,
            )
        problem = declaration_problem(cls, field)
        if problem is not None:
            yield f"the field {field.name}: {problem}", field.name


def _contract(cls: type[Plugin], method: str) -> Callable[..., Any]:
    """Return the method of the kind that a class implements."""
    return next(vars(base)[method] for base in reversed(cls.__mro__) if method in vars(base))


def _misdeclared(cls: type[Plugin]) -> Iterator[str]:
    """Yield the methods of a class that cannot be called as those of its kind are."""
    abstract = {method for base in cls.__mro__ for method in getattr(base, "__abstractmethods__", ())}
    for method in sorted(abstract):
        try:
            signature = inspect.signature(getattr(cls, method))
            signature.bind(*_parameters(_contract(cls, method)))
        except TypeError:
            yield method


def _parameters(method: Callable[..., Any]) -> list[str]:
    """Return the names of the parameters of a method."""
    return list(inspect.signature(method).parameters)


def _line_of(file: Path, cls: type[Plugin], member: str) -> int:
    """Return the line of a plugin's class, or of one of its fields or methods."""
    definitions = [
        node
        for node in ast.walk(ast.parse(file.read_bytes()))
        if isinstance(node, ast.ClassDef) and node.name == cls.__name__
    ]
    for node in definitions:
        for statement in node.body:
            name = getattr(statement, "name", getattr(getattr(statement, "target", None), "id", ""))
            if member and name == member:
                return statement.lineno
        return node.lineno
    return 1


def _line(error: BaseException, file: Path) -> str:
    """Return ', line N', the line of the file where an import failed, or '' if it failed elsewhere."""
    if (isinstance(error, SyntaxError) and error.filename == str(file)) or isinstance(error, DeclarationError):
        return f", line {error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
    return f", line {lines[-1]}" if lines else ""
