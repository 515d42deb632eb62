"""The runs that a sweep plans: their overrides, names and digests."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from backproof.tracking.run import param_values
from backproof.tracking.schema import Tag

#: Longest name of a run; MLflow's columns are far narrower.
NAME_LENGTH = 120
SEED = "seed"


@dataclass(frozen=True)
class PlannedRun:
    """A run that is to be done: a point of the sweep with one of its seeds (or several, with `repeats`)."""

    overrides: list[str]
    hash: str  # of the config
    params: dict[str, Any] | None = None  # of the Optuna trial, where a sampler chose the point
    trial: int | None = None
    #: Runs with the same number can be trained as one stack; None for a run that is trained alone.
    stack: int | None = None
    values: list[str] = field(default_factory=list[str])  # the overrides in which runs of one stack may differ
    point: str = ""  # the key of its point: a hash of the config without the seed
    seed: int = 0
    repeats: int = 1
    index: int = 0  # position among the runs of the sweep
    seeds: int = 1  # how many seeds its point has
    code: dict[str, str] = field(default_factory=dict[str, str])  # digests of the files of its plugins
    data: str = ""  # digest of its dataset

    @property
    def all_seeds(self) -> range:
        return range(self.seed, self.seed + self.repeats)

    @property
    def digest(self) -> str:
        """Digest of the overrides; it differs between runs whose configs are equal."""
        return digest(self.overrides)

    @property
    def tags(self) -> dict[str, str]:
        """The tags that identify the run under its parent."""
        return {
            Tag.POINT: self.digest,
            Tag.INDEX: str(self.index),
            Tag.CODE: json.dumps(self.code),
            **({Tag.SEEDS: str(self.seeds)} if self.seeds > 1 else {}),
            **({} if self.params is None else {Tag.TRIAL: json.dumps(self.params)}),
        }


#: The runs of one job.
Batch = list[PlannedRun]


def point_key(parameters: Mapping[str, Any]) -> str:
    """Return the key of the point that a config belongs to: a hash of all parameters but the seed.

    The values are hashed as MLflow stores them, so a run read back from MLflow has the same key.
    """
    values = param_values(parameters)
    return digest(sorted(f"{key}={value}" for key, value in values.items() if key != SEED))


def name_of(overrides: list[str], swept: list[str]) -> str:
    """Return the name of a run: its values of the swept keys, as `tanh-adam-lr0.01`.

    The last part of a key stands before a number, or the whole key where another swept key ends alike.
    """
    parts: list[str] = []
    for override in overrides:
        key, _, value = override.lstrip("+").partition("=")
        if key not in swept:
            continue
        value = value.replace("\\", "").strip("'\"")
        with contextlib.suppress(ValueError):
            value = f"{float(value):.4g}" if any(character in value for character in ".e") else value
        last = key.rpartition(".")[2]
        alike = [other for other in swept if other.rpartition(".")[2] == last]
        word = "" if "." not in key and value[:1].isalpha() else last if len(alike) == 1 else key
        parts.append(word + value.replace("[", "").replace("]", "").replace(",", "x"))
    name = "-".join(parts)
    return name if len(name) <= NAME_LENGTH else f"{name[: NAME_LENGTH - 1]}…"


def error_line(error: object) -> str:
    """Return the type of an error and the first line of its message."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


def digest(texts: list[str], digits: int = 12) -> str:
    """Return hexadecimal digits of a hash over texts, in their order."""
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:digits]
