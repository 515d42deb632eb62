"""Values read from MLflow. Whoever can write to the store can set them, so nothing here trusts their form.

Text that is not of the expected form has a default, so that one wrong tag does not hide other runs. A path counts
only below a folder that this process was given.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from backproof.render.console import print_warning

#: An override of Hydra's grammar: a key, perhaps with a package, and a value; or a key to delete.
OVERRIDE = re.compile(r"(\+{0,2}[\w./@:$-]+=.*|~[\w./@:$-]+(=.*)?)")
MULTIRUN = ("-m", "--multirun")
#: Options of `backproof train` that take a value.
OPTIONS = ("--config-dir", "-cd", "--config-path", "-cp", "--config-name", "-cn")


def whole_number(text: str | None, default: int, least: int = 0, most: int = 2**63 - 1) -> int:
    """Return the number, or the default for text that is not a whole number from `least` to `most`."""
    try:
        number = int(text or "")
    except ValueError:
        return default
    return number if least <= number <= most else default


def count(text: str | None) -> int:
    """Return how many there are, at least 1 and at most a million; 1 for other text."""
    return whole_number(text, 1, 1, 10**6)


def json_object(text: str | None) -> dict[str, Any] | None:
    """Return the JSON object, or None for other text."""
    value = _json(text)
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def json_list(text: str | None) -> list[Any]:
    """Return the JSON list, or an empty one for other text."""
    value = _json(text)
    return cast("list[Any]", value) if isinstance(value, list) else []


def _json(text: str | None) -> object:
    try:
        return json.loads(text or "")
    except (ValueError, RecursionError):
        return None


def path_below(text: str | None, roots: Iterable[Path]) -> Path | None:
    """Return the path, or None unless it is absolute and, with symlinks resolved, below one of the roots."""
    if not text or not os.path.isabs(text):
        return None
    path, exists = Path(text), False
    try:
        resolved = path.resolve()
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            exists = bool(path.lstat())
    except (OSError, ValueError, RuntimeError):  # Too long, with a NUL, or a loop of symlinks.
        return None
    below = any(root != resolved and resolved.is_relative_to(root) for root in roots)
    if exists and not below:
        _warn_outside(text)
    return path if below else None


@functools.cache
def _warn_outside(text: str) -> None:
    print_warning(
        f"a tag in MLflow names {text}, which is outside of this command's outputs folder: ignored\n"
        "If it is yours, name its folder: outputs=DIR, or hydra.sweep.dir=DIR"
    )


def is_override(word: str) -> bool:
    """Return whether a word has the form of an override, as `optimizer.lr=0.1`."""
    return OVERRIDE.fullmatch(word) is not None


def own_command(text: str) -> list[str]:
    """Return the words of a `backproof train` command; [] for any other text, as `backproof train; rm x`."""
    try:
        words = shlex.split(text)
    except ValueError:
        return []
    if words[:2] != ["backproof", "train"] or not text.isprintable():
        return []
    arguments = iter(words[2:])
    for word in arguments:
        if word in OPTIONS:
            if next(arguments, None) is None:
                return []
        elif word not in MULTIRUN and not is_override(word) and not word.startswith(OPTIONS):
            return []
    return words
