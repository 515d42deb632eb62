"""Reading recorded runs, and running code in a new process."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def read(run):
    return run.client.get_run(run.id)


def python(code, **kwargs):
    """Run code in a new process."""
    env = {**os.environ, "PYTHONPATH": str(ROOT / "framework"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", textwrap.dedent(code)]
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=120, **kwargs)
