"""backproof works next to other code with the same folder names: `framework/`, `plugins/`, another checkout."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
TRAIN = ["train", "dataset=iris", "train.epochs=1", "tracking=off"]


def run(*args, path=(), cwd=None):
    """Run the command with these folders first on the import path."""
    paths = os.pathsep.join(map(str, [*path, ROOT / "framework"]))
    return subprocess.run(
        [sys.executable, "-m", "backproof", *args],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": paths},
    )


@pytest.fixture
def theirs(workdir):
    """Return a folder with a package `framework` and a package `plugins` that cannot be imported."""
    for name in ("framework", "plugins"):
        (workdir / name).mkdir()
        (workdir / name / "__init__.py").write_text("raise ImportError('another project')\n")
    (workdir / "plugins/activation").mkdir()
    (workdir / "plugins/activation/relu.py").write_text("raise ImportError('another project')\n")
    return workdir


def test_other_packages_of_these_names_come_first_on_the_path(theirs):
    for args in (TRAIN, ["plugins"]):
        done = run(*args, path=[theirs], cwd=theirs)
        assert (done.returncode, done.stderr) == (0, "")


def test_working_in_another_checkout(workdir):
    for name in ("framework", "plugins", "conf"):
        shutil.copytree(ROOT / name, workdir / "other" / name)
    shutil.copy(ROOT / "pyproject.toml", workdir / "other")
    done = run("plugins", "activation", cwd=workdir / "other")
    assert (done.returncode, done.stderr) == (0, "")
    assert str(ROOT / "plugins/activation/relu.py") in done.stdout.replace("\n", "")
    assert "other" not in done.stdout
    assert run(*TRAIN, cwd=workdir / "other").returncode == 0
