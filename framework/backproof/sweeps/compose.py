"""Compose the points of a sweep: Hydra composes each choice of plugins once, other values are set in its result.

Hydra takes 60 to 110 ms for a point; setting values in a composed config takes 0.1 ms, and converting it 0.5 ms.
"""

from __future__ import annotations

import contextlib
import copy
import functools
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.types import HydraContext, RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from backproof.app.single_run import without_hydra


class ConfigTemplate:
    """A composed config with values to be set. They are set in one copy: a copy for each point is slower."""

    def __init__(self, config: DictConfig) -> None:
        self.config = config
        self._copy: DictConfig | None = None
        self._keys: set[str] = set()  # that are set in the copy

    def at(self, values: Sequence[str]) -> DictConfig:
        """Return the config with these overrides of the form key=value. It is valid until the next call.

        Raise OmegaConfBaseException for an unknown key, or a value of the wrong type.
        """
        overrides = [_parsed(text) for text in values]
        keys = {override.key_or_group for override in overrides}
        # A mapping is merged into the config, so the copy cannot be used again.
        reusable = not any(isinstance(override.value(), dict) for override in overrides)
        config = self._copy if self._keys <= keys and reusable else None
        self._copy = None  # Unless every value can be set.
        config = copy.deepcopy(self.config) if config is None else config
        for override in overrides:
            OmegaConf.update(config, override.key_or_group, override.value(), merge=True)
        if reusable:
            self._copy, self._keys = config, keys
        return config


@functools.lru_cache(maxsize=4096)
def _parsed(override: str) -> Override:
    return OverridesParser.create().parse_override(override)


@dataclass
class Composer:
    """Composes the points of the sweep with this config."""

    config: DictConfig
    context: HydraContext
    _groups: dict[str, bool] = field(default_factory=dict[str, bool])
    _templates: dict[tuple[str, ...], ConfigTemplate] = field(
        default_factory=dict[tuple[str, ...], ConfigTemplate]
    )

    def __call__(self, overrides: Sequence[str], number: int = 0) -> dict[str, Any]:
        """Return the config of a point as plain values, without Hydra's section. Raise what Hydra raises.

        `number` is that of its job, which `${hydra:job.num}` refers to.
        """
        with self._composed(overrides, number) as config:
            return without_hydra(config)

    def folder(self, overrides: Sequence[str], number: int) -> tuple[Path, str]:
        """Return the sweep's folder and a job's folder below it, as Hydra will resolve them."""
        with self._composed(overrides, number) as config:
            return Path(config.hydra.sweep.dir).absolute(), str(config.hydra.sweep.subdir)

    @contextlib.contextmanager
    def _composed(self, overrides: Sequence[str], number: int) -> Generator[DictConfig, None, None]:
        """Compose a job's config, to which `${hydra:...}` refers meanwhile."""
        choices, values = self.split(overrides)
        if choices not in self._templates:
            self._templates[choices] = ConfigTemplate(self._compose(choices))
        try:
            config = self._templates[choices].at(values)
        except OmegaConfBaseException:
            config = self._compose(overrides)  # Hydra's message names the override.
        config.hydra.job.num = config.hydra.job.id = number
        instance = HydraConfig.instance()
        before, instance.cfg = instance.cfg, cast("Any", config)
        try:
            yield config
        finally:
            instance.cfg = before

    def split(self, overrides: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Split overrides into those that Hydra must compose and those that only set values.

        Where other overrides than these occur, their order may matter, and Hydra composes all of them.
        """
        values = tuple(text for text in overrides if self._sets_a_value(text))
        choices = tuple(text for text in overrides if text not in values)
        if not self._listed and all(self._is_group(_parsed(text).key_or_group) for text in choices):
            return choices, values
        return tuple(overrides), ()

    def _sets_a_value(self, override: str) -> bool:
        parsed = _parsed(override)
        key = parsed.key_or_group
        plain = not (parsed.is_add() or parsed.is_force_add() or parsed.is_delete() or parsed.package)
        return plain and not key.startswith("hydra.") and not self._is_group(key)

    def _is_group(self, key: str) -> bool:
        if key not in self._groups:
            self._groups[key] = bool(self.context.config_loader.get_group_options(key))
        return self._groups[key]

    def _compose(self, overrides: Sequence[str]) -> DictConfig:
        composed = self.context.config_loader.load_sweep_config(self.config, list(overrides))
        OmegaConf.set_struct(composed.hydra, False)
        composed.hydra.mode = RunMode.MULTIRUN
        return composed

    @functools.cached_property
    def _listed(self) -> bool:
        """Whether the config refers to the list of a job's overrides, which depends on all of them."""
        text = OmegaConf.to_yaml(self.config)
        return any(f"{name}}}" in text for name in ("override_dirname", "overrides.task"))
