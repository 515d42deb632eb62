"""Where `runs`, `report` and `ui` look for recorded runs: `--outputs`, `--uri` and `--experiment`."""

from __future__ import annotations

from pathlib import Path

from backproof.app.config import OutputOptions
from backproof.tracking import TrackingOptions


def location(
    outputs: str | None = None, uri: str | None = None, experiment: str | None = None
) -> tuple[TrackingOptions, Path]:
    """Return the tracking options and the folder for these options; None means the default."""
    options = (
        TrackingOptions(uri=uri) if experiment is None else TrackingOptions(uri=uri, experiment=experiment)
    )
    return options, Path(OutputOptions().outputs if outputs is None else outputs)
