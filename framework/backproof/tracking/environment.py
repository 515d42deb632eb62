"""What a run was computed with: software, machine, and the state of the user's code."""

from __future__ import annotations

import functools
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, cast

PACKAGES = ("backproof", "numpy", "scipy", "scikit-learn", "hydra-core", "mlflow")


def environment() -> dict[str, Any]:
    """Versions, processor, BLAS threads and git state: what one needs to compute a run again."""
    from threadpoolctl import threadpool_info  # pyright: ignore  (no types)

    pools = cast("list[dict[str, Any]]", threadpool_info())
    blas = [pool for pool in pools if pool["user_api"] == "blas"]
    commit, dirty = git_state(os.getcwd())
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": _cpu(),
        "cpu_count": os.cpu_count(),
        "blas": [
            {
                "library": pool["internal_api"],
                "version": pool["version"],
                "architecture": pool.get("architecture"),
                "threads": pool["num_threads"],
            }
            for pool in blas
        ],
        "packages": versions(),
        "git": {"commit": commit, "dirty": dirty},
    }


@functools.cache
def versions() -> dict[str, str | None]:
    """The versions of the packages that decide the numbers; None for one that is not installed."""
    from backproof import __version__

    # This is the code that runs, whatever an older installation's metadata say.
    return {name: __version__ if name == "backproof" else _version(name) for name in PACKAGES}


@functools.cache
def git_state(folder: str) -> tuple[str | None, bool | None]:
    """The commit that `folder` is at and whether tracked files differ from it; (None, None) outside of git.

    Looked up once in a process: a call of git costs as much as the recording of a short run.
    """
    if not any((each / ".git").exists() for each in (Path(folder), *Path(folder).parents)):
        return None, None
    commit = _git(folder, "rev-parse", "HEAD")
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no") if commit else None
    return commit, None if changes is None else bool(changes)


def _git(folder: str, *args: str) -> str | None:
    # Without optional locks, so that a commit made meanwhile does not fail.
    command = ["git", "--no-optional-locks", *args]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=2, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


@functools.cache
def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass  # Not Linux: what Python knows will do.
    return platform.processor() or platform.machine()
