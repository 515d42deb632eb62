"""Where `runs`, `report` and `ui` look for recorded runs: `--outputs`, `--uri` and `--experiment`."""

from __future__ import annotations

from pathlib import Path

from backproof.app.config import OutputOptions
from backproof.tracking import TrackingOptions


def outputs_folder(outputs: str | None) -> Path:
    """Return the folder of `--outputs`, or the default."""
    return Path(OutputOptions().outputs if outputs is None else outputs)


def tracking_options(uri: str | None, experiment: str | None) -> TrackingOptions:
    """Return the options of `--uri` and `--experiment`, or the defaults."""
    return TrackingOptions(uri=uri) if experiment is None else TrackingOptions(uri=uri, experiment=experiment)
