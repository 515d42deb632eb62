"""Floor 5: `backproof plugins`, `backproof new` and `backproof verify`."""

from __future__ import annotations

import dataclasses
import inspect
import os
import shlex
import sys
import warnings
from pathlib import Path
from typing import Any

from backproof.cli.main import complain
from backproof.contracts import KINDS
from backproof.contracts.errors import PluginError
from backproof.contracts.fields import bounds_description, required
from backproof.discovery.entry import Entry
from backproof.discovery.registry import ENVIRONMENT, PluginWarning, Registry, registry
from backproof.render.terminal import console


def list_plugins(kind: str | None) -> int:
    """Names and one line each; with a kind also hyperparameters, defaults, bounds and files."""
    plugins = _found()
    if plugins is None:
        return 2
    try:
        entries = _usable(plugins, kind)
    except PluginError as error:
        return complain(str(error))
    out = console()
    if kind is None:
        _overview(out, entries)
        return 0
    for entry in entries:
        _details(out, entry)
    return 0


#: How a new plugin of a kind is first used.
FIRST_USE = {
    "metric": "train 'metrics=[{name}]'",
    "loss": "train loss={name} dataset=diabetes",
    "derivation": "check derivation={name}",
}


def new_plugin(kind: str, name: str, folder: str | None, *, code: bool = False) -> int:
    """Write a plugin to start from, and say what to do next."""
    from backproof.discovery.scaffold import create

    plugins = _found()
    if plugins is None:
        return 2
    searched = [each for each in os.environ.get(ENVIRONMENT, "").split(os.pathsep) if each]
    place = Path(folder or (searched[0] if searched else "mine")).expanduser()
    try:
        file, test = create(plugins, kind, name, place, code=code)
    except (PluginError, OSError) as error:
        return complain(str(error))
    steps = [
        f"export {ENVIRONMENT}={shlex.quote(str(place.absolute()))}",
        f"backproof verify {kind} {name}",
        f"python -m pytest {shlex.quote(str(test))}    (pip install pytest)",
        f"backproof {FIRST_USE.get(kind, f'train {kind}={{name}}').format(name=name)}",
    ]
    if place.absolute() in [Path(each).expanduser().absolute() for each in searched]:
        steps = steps[1:]
    print(f"wrote {file}\n      {test}\n\nBoth work as they are: put your own formula into each. Next:")
    print("".join(f"  {step}\n" for step in steps), end="")
    return 0


def verify_plugins(kind: str | None, name: str | None) -> int:
    """Run the conformance checks of one plugin or of many; 1 if one fails."""
    from backproof.conformance.runner import outcomes

    plugins = _found()
    if plugins is None:
        return 2
    try:
        entries = [plugins.entry(kind, name)] if kind and name else _usable(plugins, kind)
        for entry in entries:
            _ = entry.cls  # raises PluginError if it cannot be used
    except PluginError as error:
        return complain(str(error))
    out, failed = console(), 0
    for entry in entries:
        found = list(outcomes(entry))
        wrong = [each for each in found if not each.passed]
        failed += bool(wrong)
        mark = "[bold red]✗[/]" if wrong else "[green]✓[/]"
        out.print(
            f"{mark} {entry.kind} [bold]{entry.name}[/]: {len(found) - len(wrong)} of {len(found)} checks"
        )
        for each in wrong:
            given = f" with {each.params}" if each.params else ""
            out.print(f"    {each.check}{given}: {each.error}", markup=False)
    return 1 if failed or not entries else 0


def _found() -> Registry | None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", PluginWarning)
        try:
            plugins = registry()
        except PluginError as error:
            complain(str(error))
            return None
    for each in caught:
        print(f"backproof: warning: {each.message}", file=sys.stderr)
    return plugins


def _usable(plugins: Registry, kind: str | None) -> list[Entry]:
    """The plugins that work; each of the others is a line on stderr."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", PluginWarning)
        entries = plugins.usable(kind)
    for warning in caught:
        print(f"backproof: warning: {warning.message}", file=sys.stderr)
    return entries


def _overview(out: Any, entries: list[Entry]) -> None:
    from rich import box
    from rich.table import Table

    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    shown.add_column("kind", style="bold")
    shown.add_column("plugins")
    for kind in KINDS:
        shown.add_row(kind, ", ".join(entry.name for entry in entries if entry.kind == kind))
    out.print(shown)
    out.print("backproof plugins KIND shows hyperparameters, defaults and files.")


def _details(out: Any, entry: Entry) -> None:
    doc = (inspect.getdoc(entry.cls) or "").strip().partition("\n\n")[0].replace("\n", " ")
    out.print(f"[bold]{entry.name}[/]  {_escaped(doc)}")
    for field in dataclasses.fields(entry.cls):
        default = "required" if required(field) else f"= {_default(field)}"
        bounds = bounds_description(field.metadata)
        line = f"    {entry.kind}.{field.name} {default}"
        out.print(_escaped(f"{line:<44} {field.metadata.get('doc', '')}{f' ({bounds})' if bounds else ''}"))
    # A derivation that is not code shows what it is.
    for formula in getattr(entry.cls, "formulas", {}).values():
        out.print(_escaped(f"    {formula}"))
    out.print(f"[dim]    {entry.file}[/]")


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default if field.default is not dataclasses.MISSING else field.default_factory()  # type: ignore[misc]


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)
