"""The recorded environment: versions and the commit."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from backproof.tracking import (
    environment,
)
from backproof.tracking.environment import git_state

# The settings that `Store.open` makes for MLflow also apply to the imports of these tests.
pytestmark = pytest.mark.filterwarnings("ignore:Any type hint is inferred")


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_the_environment_says_what_a_run_was_computed_with():
    info = environment()
    assert info["python"] == sys.version.split()[0]
    assert info["packages"]["numpy"] == np.__version__
    assert info["cpu_count"] == os.cpu_count()
    assert info["cpu"]
    assert all(pool["threads"] >= 1 for pool in info["blas"])
    json.dumps(info)


def test_the_commit_and_whether_files_were_changed(tmp_path):
    def git(*args):
        identity = ["-c", "user.name=n", "-c", "user.email=e@x"]
        done = subprocess.run(
            ["git", *identity, *args], cwd=tmp_path, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    assert git_state(str(tmp_path)) == (None, None)
    git("init")
    (tmp_path / "file").write_text("a")
    git("add", ".")
    git("commit", "-m", "m")
    (tmp_path / "new").mkdir()
    git_state.cache_clear()
    assert git_state(str(tmp_path / "new")) == (git("rev-parse", "HEAD"), False)
    (tmp_path / "file").write_text("b")
    assert git_state(str(tmp_path)) == (git("rev-parse", "HEAD"), True)
    git_state.cache_clear()
