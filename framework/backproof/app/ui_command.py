"""The command that opens the MLflow UI on recorded runs."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

from backproof.app.config import OutputOptions
from backproof.tracking import TrackingOptions
from backproof.tracking.secret import has_secret


def ui_command(tracking: TrackingOptions, outputs: str) -> str:
    """Return the command that opens the MLflow UI on the recorded runs, as it can be typed in this directory."""
    script = Path(sys.executable).with_name("backproof")
    # After `make run` the command is not on the PATH: show its path.
    on_path = shutil.which("backproof") is not None or not script.exists()
    words = ["backproof" if on_path else os.path.relpath(script), "ui"]
    if tracking.uri and not has_secret(tracking.uri):
        words += ["--uri", tracking.uri]
    elif outputs != OutputOptions().outputs:
        words += ["--outputs", outputs]
    if tracking.experiment != TrackingOptions().experiment:
        words += ["--experiment", tracking.experiment]
    return shlex.join(words)
