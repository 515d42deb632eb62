"""The environment of a run: software, machine, and the git state of the user's code."""

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
    """Return versions, processor, BLAS threads and git state: what is needed to reproduce a run."""
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
    """Return the versions of the packages that affect the numbers; None for a package that is not installed."""
    from backproof import __version__

    # Not from metadata, which may be those of an older installation.
    return {name: __version__ if name == "backproof" else _version(name) for name in PACKAGES}


@functools.cache
def git_state(folder: str) -> tuple[str | None, bool | None]:
    """Return the commit of `folder` and whether tracked files differ from it; (None, None) outside of git.

    Cached: a call of git takes as long as recording a short run.
    """
    if not any((parent / ".git").exists() for parent in (Path(folder), *Path(folder).parents)):
        return None, None
    commit = _git(folder, "rev-parse", "HEAD")
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no") if commit else None
    return commit, None if changes is None else bool(changes)


def _git(folder: str, *args: str) -> str | None:
    # Without optional locks, so that a commit made at the same time does not fail.
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
        pass  # Not Linux.
    return platform.processor() or platform.machine()
