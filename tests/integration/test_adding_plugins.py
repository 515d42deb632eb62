"""Adding a plugin is one file: in a directory named by a variable, or in an installed distribution."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.command import backproof

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-m", "backproof"]
QUICK = ["dataset=iris", "train.epochs=2", "tracking=off"]

SQUASH = '''"""Arctangent."""

from dataclasses import dataclass

import numpy as np

from backproof.contracts import Activation, Array, hyper


@dataclass(frozen=True)
class Arctan(Activation):
    """φ(a) = arctan(s a)."""

    stretch: float = hyper(1.0, "s", gt=0)

    def forward(self, a: Array, out: Array) -> None:
        np.multiply(a, self.stretch, out)
        np.arctan(out, out)

    def backward(self, a: Array, h: Array, grad: Array, work: tuple[Array, Array]) -> None:
        """φ'(a) = s / (1 + (s a)²)."""
        grad *= self.stretch / (1 + (self.stretch * a) ** 2)
'''


def new_process(*args, env=None, code=0):
    """Run the command in a process of its own."""
    done = subprocess.run(
        [*COMMAND, *args], capture_output=True, text=True, env={**os.environ, **(env or {})}, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a plugin directory with one activation, and change to an empty working directory."""
    (tmp_path / "mine/activation").mkdir(parents=True)
    (tmp_path / "mine/activation/arctan.py").write_text(SQUASH)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("BACKPROOF_PLUGINS", str(tmp_path / "mine"))
    return tmp_path / "mine"


@pytest.fixture
def distribution(tmp_path, monkeypatch):
    """Return a folder with an installed distribution that has an entry point: its module and metadata."""
    site = tmp_path / "site"
    info = site / "backproof_arctan-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "their_arctan.py").write_text(SQUASH)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: backproof-arctan\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[backproof.plugins]\nanything = their_arctan\n")
    (info / "RECORD").write_text("")
    (tmp_path / "work").mkdir(exist_ok=True)
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("PYTHONPATH", f"{site}{os.pathsep}{Path(__file__).parents[2] / 'framework'}")
    return site


def test_a_file_in_a_directory_trains_and_is_listed(folder):
    output = new_process("train", "activation=arctan", "activation.stretch=2", *QUICK).stdout
    assert "arctan" in output
    assert "✓ passed" in output
    assert "arctan" in new_process("plugins").stdout
    assert "activation.stretch = 1.0" in new_process("plugins", "activation").stdout
    assert "arctan" in new_process("train", "--help").stdout
    # The request that the script of `backproof completion bash` sends.
    question = {"_BACKPROOF_COMPLETE": "bash_complete", "COMP_WORDS": "backproof train activation=arc"}
    assert new_process(env=question).stdout.split() == ["plain,activation=arctan"]
    assert "8 of 8 checks" in new_process("verify", "activation", "arctan").stdout
    assert "activation.stretch: got -1.0, expected > 0" in (
        new_process("train", "activation=arctan", "activation.stretch=-1", code=2).stderr
    )


def test_a_file_outside_the_kind_folders_works_too(folder):
    shutil.move(folder / "activation/arctan.py", folder / "flat.py")
    assert "4 → 32 flat" in new_process("train", "activation=flat", *QUICK).stdout


def test_an_installed_distribution_trains_and_is_listed(distribution):
    assert "4 → 32 their_arctan" in new_process("train", "activation=their_arctan", *QUICK).stdout
    assert str(distribution / "their_arctan.py") in new_process("plugins", "activation").stdout


def test_an_error_names_both_plugins_of_one_name(folder):
    shutil.copy(folder / "activation/arctan.py", folder / "activation/relu.py")
    errors = new_process("train", *QUICK, code=2).stderr
    assert "two plugins are called activation 'relu'" in errors
    assert str(folder / "activation/relu.py") in errors
    assert "plugins/activation/relu.py" in errors.replace(str(folder), "")
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("import nothing_of_the_kind\n", "ModuleNotFoundError"),
        ("def broken(:\n", "SyntaxError"),
        ("1 / 0\n", "ZeroDivisionError"),
        ("x = 1\n", "must define one plugin class, found none"),
        (SQUASH.replace("@dataclass(frozen=True)\n", ""), "must be a frozen dataclass"),
        (SQUASH.replace("def backward", "def backwards"), "lacks backward"),
        ("import sys\nsys.exit(3)\n", "SystemExit"),
    ],
)
def test_a_broken_file_is_an_error_only_when_it_is_used(folder, content, reason):
    file = folder / "activation/bad.py"
    file.write_text(content)
    done = backproof("train", "activation=arctan", *QUICK)
    assert done.stderr == ""
    done = backproof("train", "activation=bad", *QUICK, code=2)
    assert f"the plugin activation=bad cannot be used: {file}" in done.stderr
    assert reason in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1
    done = backproof("plugins")
    assert "arctan" in done.stdout
    assert f"warning: the plugin activation=bad cannot be used: {file}" in done.stderr


def test_a_broken_file_outside_the_kind_folders_is_an_error_only_when_it_is_used(folder):
    file = folder / "bad.py"
    file.write_text("def broken(:\n")
    assert backproof("train", "activation=arctan", *QUICK).stderr == ""
    done = backproof("train", "activation=bad", *QUICK, code=2)
    assert f"the plugin bad cannot be used: {file}, line 1: SyntaxError" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_wrong_derivative_is_stopped_before_training(folder):
    wrong = SQUASH.replace("self.stretch / (1 +", "self.stretch / (2 +")
    (folder / "activation/arctan.py").write_text(wrong)
    done = backproof("train", "activation=arctan", "dataset=iris", "train.epochs=2", code=1)
    assert "the gradient check failed" in done.stderr
    assert "W1[" in done.stderr
    assert "expected" in done.stderr
    assert "W2" not in done.stderr.partition("diagnosis")[0]
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{Path('outputs/mlflow.db').absolute()}")
    (run,) = client.search_runs([client.get_experiment_by_name("backproof").experiment_id])
    assert run.info.status == "FAILED"
    assert run.data.tags["backproof.gradcheck"] == "failed"
    assert "train/loss" not in run.data.metrics
    assert "gradcheck.json" in [artifact.path for artifact in client.list_artifacts(run.info.run_id)]
    warned = backproof("train", "activation=arctan", "gradcheck.on_failure=warn", *QUICK)
    assert "✗" in warned.stdout
    assert "7 of 8 checks" in backproof("verify", "activation", "arctan", code=1).stdout
    assert "✗" in backproof("check", "activation=arctan", "dataset=iris", code=1).stdout
