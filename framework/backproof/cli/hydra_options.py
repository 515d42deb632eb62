"""Hydra's own options on the command line of `train`, which may stand anywhere among the overrides."""

from __future__ import annotations

import difflib
from argparse import Action, ArgumentParser
from collections import deque
from typing import NoReturn

from hydra._internal.utils import get_args_parser

from backproof.app.single_run import PrepareRun
from backproof.contracts.errors import UsageError

#: Keys whose values are ids of runs: in quotes, since Hydra would read 437367e5 as a number.
ID_KEYS = ("sweep.resume", "tracking.parent")

#: Options of Hydra with which it does something else than a single run.
NOT_A_RUN = ("multirun", "cfg", "info", "help", "hydra_help", "shell_completion", "experimental_rerun")
#: Adds the callback that finds bad input before Hydra creates the folder of a single run.
PREPARE = f"++hydra.callbacks.prepare_run._target_={PrepareRun.__module__}.{PrepareRun.__qualname__}"


def names() -> list[str]:
    """Return the names of all options."""
    return list(_options(get_args_parser()))


def arrange(args: list[str]) -> list[str]:
    """Return the arguments as Hydra wants them: overrides first, then its options with their values.

    A single run gets the callback PrepareRun.

    Raise UsageError for an option that Hydra does not have, and for a word that is not an override.
    """
    parser = get_args_parser()
    parser.error = _refuse  # type: ignore[method-assign, assignment]
    known = _options(parser)
    overrides: list[str] = []
    options: list[str] = []
    rest = deque(args)
    while rest:
        word = rest.popleft()
        if not word.startswith("-"):
            overrides.append(_checked(word))
            continue
        name, has_value, _ = word.partition("=")
        option = _find(name, known)
        options.append(word)
        takes_choice = option.nargs == "?" and rest and rest[0] in (option.choices or ())
        if rest and not has_value and (option.nargs is None or takes_choice):
            options.append(rest.popleft())
    parsed = parser.parse_args([word for word in overrides + options if word != "--version"])
    if not any(getattr(parsed, command) for command in NOT_A_RUN):
        overrides.append(PREPARE)
    return overrides + options


def _options(parser: ArgumentParser) -> dict[str, Action]:
    """Return Hydra's options by their names, such as `-m` and `--multirun`."""
    actions = parser._actions  # pyright: ignore[reportPrivateUsage]
    return {name: action for action in actions for name in action.option_strings}


def _find(name: str, known: dict[str, Action]) -> Action:
    """Return the option of that name, or the only one that begins so. Raise UsageError if there is none."""
    matches = [option for option in known if name.startswith("--") and option.startswith(name)]
    if name in known or len(matches) == 1:
        return known[name if name in known else matches[0]]
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.8)
    hint = f", did you mean {close[0]}?" if close else ""
    return _refuse(f"train has no option {name!r}{hint}\nValues are given without dashes: KEY=VALUE")


def _refuse(message: str) -> NoReturn:
    raise UsageError(f"{message}\n`backproof train --hydra-help` lists all options")


def _checked(override: str) -> str:
    key, equals, value = override.partition("=")
    if equals and not key:
        raise UsageError(
            f"{override!r} is not an override\nExpected KEY=VALUE without spaces, as optimizer.lr=0.1"
        )
    is_id = key in ID_KEYS and value and set(value) <= set("0123456789abcdef")
    return f"{key}='{value}'" if is_id else override
