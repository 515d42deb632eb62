"""Points composed: by Hydra for each choice of plugins, and by setting values where only values differ.

Hydra takes 60 to 110 ms for a point, setting values in a composed one 0.1, and taking plain values from it 0.5.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException


class ConfigTemplate:
    """A composed config, in a copy of which values are set in place: a copy for each point would take ten times as
    long."""

    def __init__(self, config: DictConfig) -> None:
        self.config = config
        self._copy: DictConfig | None = None
        self._keys: set[str] = set()  # that are set in the copy

    def at(self, values: Sequence[str]) -> DictConfig:
        """The config, until the next call, with these overrides of the form key=value, as Hydra sets them.

        Raises OmegaConfBaseException for a key that is not there, or a value that is not of its type.
        """
        overrides = [_parsed(each) for each in values]
        keys = {each.key_or_group for each in overrides}
        # A mapping is merged with what is there.
        plain = not any(isinstance(each.value(), dict) for each in overrides)
        own = self._copy if self._keys <= keys and plain else None
        self._copy = None  # Unless all goes well.
        own = copy.deepcopy(self.config) if own is None else own
        for each in overrides:
            OmegaConf.update(own, each.key_or_group, each.value(), merge=True)
        if plain:
            self._copy, self._keys = own, keys
        return own


@functools.lru_cache(maxsize=4096)
def _parsed(override: str) -> Override:
    return OverridesParser.create().parse_override(override)


@dataclass
class Composer:
    """Composes the points of a sweep, whose own config is `config`."""

    config: DictConfig
    context: HydraContext
    _groups: dict[str, bool] = field(default_factory=dict[str, bool])
    _bases: dict[tuple[str, ...], ConfigTemplate] = field(default_factory=dict[tuple[str, ...], ConfigTemplate])

    def __call__(self, overrides: Sequence[str]) -> dict[str, Any]:
        """The config of a point as plain values, without Hydra's own part. Raises what Hydra raises."""
        choices, values = self.apart(overrides)
        if choices not in self._bases:
            self._bases[choices] = ConfigTemplate(self._composed(choices))
        try:
            return _plain(self._bases[choices].at(values))
        except OmegaConfBaseException:
            # Hydra's message names the override.
            return _plain(self._composed(overrides))

    def apart(self, overrides: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The overrides that Hydra must compose, and those that set values of what is composed. Where the order of
        the two matters, Hydra takes them all."""
        values = tuple(each for each in overrides if self._sets_a_value(each))
        choices = tuple(each for each in overrides if each not in values)
        if all(self._chooses(each) for each in choices):
            return choices, values
        return tuple(overrides), ()

    def _sets_a_value(self, override: str) -> bool:
        parsed = _parsed(override)
        key = parsed.key_or_group
        plain = not (parsed.is_add() or parsed.is_force_add() or parsed.is_delete() or parsed.package)
        return plain and not key.startswith("hydra.") and not self._is_group(key)

    def _chooses(self, override: str) -> bool:
        return self._is_group(_parsed(override).key_or_group)

    def _is_group(self, key: str) -> bool:
        if key not in self._groups:
            self._groups[key] = bool(self.context.config_loader.get_group_options(key))
        return self._groups[key]

    def _composed(self, overrides: Sequence[str]) -> DictConfig:
        composed = self.context.config_loader.load_sweep_config(self.config, list(overrides))
        keys = [key for key in cast("dict[str, Any]", composed) if key != "hydra"]
        return OmegaConf.masked_copy(composed, keys)


def _plain(config: DictConfig) -> dict[str, Any]:
    return cast("dict[str, Any]", OmegaConf.to_container(config, resolve=True))
