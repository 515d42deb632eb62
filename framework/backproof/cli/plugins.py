"""`backproof plugins`, `backproof new` and `backproof verify`."""

from __future__ import annotations

import dataclasses
import inspect
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from backproof.contracts import KINDS
from backproof.contracts.fields import bounds_description, required
from backproof.discovery.entry import Entry
from backproof.discovery.registry import ENVIRONMENT, PluginWarning, Registry, registry
from backproof.render.console import warnings_as_lines
from backproof.render.terminal import console, styled

#: How a new plugin of a kind is first used.
FIRST_USE = {
    "metric": "train 'metrics=[{name}]'",
    "loss": "train loss={name} dataset=diabetes",
    "derivation": "check derivation={name}",
}


def list_plugins(kind: str | None) -> int:
    """List the plugins of all kinds by name, or those of one kind with hyperparameters, bounds and files."""
    entries = _usable(_registry(), kind)
    if kind is None:
        _overview(entries)
    for entry in entries if kind else ():
        _details(entry)
    return 0


def new_plugin(kind: str, name: str, folder: str | None, *, code: bool = False) -> int:
    """Write a plugin to start from, and print what to do next."""
    from backproof.discovery.scaffold import create

    searched = [path for path in os.environ.get(ENVIRONMENT, "").split(os.pathsep) if path]
    target = Path(folder or (searched[0] if searched else "mine")).expanduser()
    file, test = create(_registry(), kind, name, target, code=code)
    steps = [
        f"export {ENVIRONMENT}={shlex.quote(str(target.absolute()))}",
        f"backproof verify {kind} {name}",
        f"python -m pytest {shlex.quote(str(test))}    (pip install pytest)",
        f"backproof {FIRST_USE.get(kind, f'train {kind}={{name}}').format(name=name)}",
    ]
    if target.absolute() in [Path(path).expanduser().absolute() for path in searched]:
        steps = steps[1:]
    print(f"wrote {file}\n      {test}\n\nBoth work already: replace the formula with your own. Next:")
    print("".join(f"  {step}\n" for step in steps), end="")
    return 0


def verify_plugins(kind: str | None, name: str | None) -> int:
    """Run the conformance checks of one plugin or of many; return 1 if one fails."""
    from backproof.conformance.runner import outcomes

    plugins = _registry()
    entries = [plugins.entry(kind, name)] if kind and name else _usable(plugins, kind)
    for entry in entries:
        _ = entry.cls  # raises PluginError if it cannot be used
    out, failed = console(), 0
    for entry in entries:
        checks = list(outcomes(entry))
        wrong = [outcome for outcome in checks if not outcome.passed]
        failed += bool(wrong)
        mark = ("✗", "bold red") if wrong else ("✓", "green")
        passed = len(checks) - len(wrong)
        counts = f": {passed} of {len(checks)} checks"
        out.print(styled(mark, f" {entry.kind} ", (entry.name, "bold"), counts))
        for outcome in wrong:
            params = f" with {outcome.params}" if outcome.params else ""
            out.print(f"    {outcome.check}{params}: {outcome.error}")
    return 1 if failed or not entries else 0


def _registry() -> Registry:
    with warnings_as_lines(PluginWarning):
        return registry()


def _usable(plugins: Registry, kind: str | None) -> list[Entry]:
    """Return the plugins that work; each of the others is a warning."""
    with warnings_as_lines(PluginWarning):
        return plugins.usable(kind)


def _overview(entries: Sequence[Entry]) -> None:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("kind", style="bold")
    table.add_column("plugins")
    for kind in KINDS:
        table.add_row(kind, ", ".join(entry.name for entry in entries if entry.kind == kind))
    out = console()
    out.print(table)
    out.print("backproof plugins KIND shows hyperparameters, defaults and files.")


def _details(entry: Entry) -> None:
    out = console()
    doc = (inspect.getdoc(entry.cls) or "").strip().partition("\n\n")[0].replace("\n", " ")
    out.print(styled((entry.name, "bold"), f"  {doc}"))
    for field in dataclasses.fields(entry.cls):
        default = "required" if required(field) else f"= {_default(field)}"
        bounds = bounds_description(field.metadata)
        line = f"    {entry.kind}.{field.name} {default}"
        out.print(f"{line:<44} {field.metadata.get('doc', '')}{f' ({bounds})' if bounds else ''}")
    # A derivation that is not code is its formulas.
    for formula in getattr(entry.cls, "formulas", {}).values():
        out.print(f"    {formula}")
    out.print(f"    {entry.file}", style="dim")


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default if field.default is not dataclasses.MISSING else field.default_factory()  # type: ignore[misc]
