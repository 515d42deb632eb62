"""A single run: prepared before Hydra creates its folder, then trained and recorded with live terminal output."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from backproof.app.session import Session, get_session
from backproof.app.ui_command import ui_command
from backproof.experiment.run import run
from backproof.render.terminal import Terminal, console, labelled
from backproof.tracking import environment
from backproof.tracking.recorder import Recording
from backproof.tracking.secret import shown_uri


class Rejected(BaseException):
    """Carries an error out of a callback: Hydra turns an Exception into a warning and continues."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


class PrepareRun(Callback):
    """Prepares a single run as soon as Hydra has composed its config, and before it creates the run's folder.

    So a config is composed once and built once, and bad input leaves nothing behind.
    """

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Prepare the run. Hydra calls this for single runs only."""
        try:
            folder = Path(config.hydra.run.dir).absolute()
            # Hydra sets HydraConfig, which `${hydra:...}` reads, only later; `config` is read-only from 1.4 on.
            known = copy.deepcopy(config)
            with read_write(known), open_dict(known):
                known.hydra.runtime.output_dir = str(folder)
            HydraConfig.instance().set_config(known)
            session = get_session()
            session.single_run = session.prepare_run(without_hydra(known), folder)
        except Exception as error:
            raise Rejected(error) from error


def run_single(session: Session, config: Any) -> None:
    """Run what `PrepareRun` has prepared, and show it; prepare it now if the config has no such callback."""
    hydra, out = HydraConfig.get(), console()
    folder = Path(hydra.runtime.output_dir)
    single, session.single_run = session.single_run or session.prepare_run(config, folder), None
    tracking = single.settings.tracking
    terminal, surroundings = Terminal(out), environment()
    with Recording(
        single.prepared, tracking, single.store, folder, hydra.overrides.task, terminal, surroundings
    ) as recording:
        result = run(single.prepared, recording)
    terminal.results(result)
    out.print(labelled("files", _relative(folder)))
    if recording.run is not None and single.store is not None:
        name = f"{single.store.experiment} / {recording.run.name}"
        out.print(labelled("recorded", f"{name} in {_relative_uri(single.store.uri)}"))
        out.print(labelled("compare", ui_command(tracking, single.settings.outputs)))


def without_hydra(composed: DictConfig) -> dict[str, Any]:
    """Return a composed config without Hydra's part, as plain values."""
    values: dict[str, Any] = {}
    for key in map(str, composed):
        if key != "hydra":
            value = "???" if OmegaConf.is_missing(composed, key) else composed[key]
            values[key] = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
    return values


def _relative(folder: Path) -> str:
    return os.path.relpath(folder) if folder.is_relative_to(Path.cwd()) else str(folder)


def _relative_uri(uri: str) -> str:
    return _relative(Path(uri.removeprefix("sqlite:///"))) if uri.startswith("sqlite:///") else shown_uri(uri)
