"""What the Tab key offers for the arguments of the subcommands; `shells` has what each shell needs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import click

#: The environment variable by which a shell asks for completions.
VARIABLE = "_BACKPROOF_COMPLETE"
SHELLS = ("bash", "zsh", "fish")


def _starting(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def kinds(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Complete the kind of a plugin."""
    from backproof.contracts import KINDS

    return _starting(KINDS, incomplete)


def plugins(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Complete the name of a plugin of the kind before it."""
    from backproof.contracts import KINDS

    kind = ctx.params.get("kind")
    return _starting(_registry().names(kind), incomplete) if kind in KINDS else []


def parts(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Complete a list of parts, separated by commas."""
    from backproof.netcheck.points import CHOICES

    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in (*CHOICES, "all") if name.startswith(last)]


def sweeps(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Complete `last`, and the names and ids of the recorded sweeps."""
    from backproof.cli.store_options import location
    from backproof.contracts.errors import TrackingError
    from backproof.tracking import Store
    from backproof.tracking.query import runs

    try:
        store = Store.find(
            *location(**{name: ctx.params.get(name) for name in ("outputs", "uri", "experiment")})
        )
        recorded = [run for run in runs(store) if run.is_sweep]
    except TrackingError:
        return _starting(["last"], incomplete)  # nothing is recorded yet
    known = ["last", *(run.name for run in recorded), *(run.id[:8] for run in recorded)]
    return _starting(dict.fromkeys(known), incomplete)


def hydra_options(incomplete: str) -> list[str]:
    """Complete one of Hydra's own options."""
    from backproof.cli.hydra_options import names

    return _starting(names(), incomplete)


def overrides(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Complete an override by what Hydra composes: config groups, their choices, keys."""
    from pathlib import Path

    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.plugins.completion_plugin import DefaultCompletionPlugin

    from backproof.app import config

    config.register(_registry())
    words = [str(word) for word in ctx.params.get("overrides") or ()]
    folder = ctx.params.get("config_dir") or _value_of(words, ("--config-dir", "-cd"))
    if folder:
        words.append(f"hydra.searchpath=[file://{Path(folder).absolute()}]")
    with initialize_config_dir(str(config.conf_dir()), **config.VERSION_BASE):
        loader = GlobalHydra.instance().config_loader()
        line = " ".join([*(word for word in words if "=" in word), incomplete])
        matches: list[str] = DefaultCompletionPlugin(loader)._query("config", line)  # pyright: ignore[reportPrivateUsage]
    return [match for match in matches if not match.startswith("hydra")]


def _value_of(words: list[str], names: tuple[str, ...]) -> str | None:
    """Return the value of an option of Hydra."""
    for index, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name in names:
            return value if equals else next(iter(words[index + 1 :]), None)
    return None


def _registry() -> Any:
    import warnings

    from backproof.discovery.registry import PluginWarning, registry

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PluginWarning)
        return registry()
