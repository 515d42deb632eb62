"""The package that a gradient checker comes from."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from importlib.metadata import version


@dataclass(frozen=True)
class Packaged:
    """A checker's name, how it was called, and the package it is from."""

    name: str
    how: str
    package: str

    @property
    def installed(self) -> bool:
        return importlib.util.find_spec(self.package) is not None

    @property
    def version(self) -> str:
        return "" if self.package == "backproof" else f"{self.package} {version(self.package)}"
