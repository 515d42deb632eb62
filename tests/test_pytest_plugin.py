"""The pytest plugin imports nothing until it is used, and shows the table of a failed check."""

import subprocess
import sys

import pytest

TEST = """
import numpy as np
from backproof import check

def test_right(gradcheck):
    assert gradcheck(lambda t: (t @ t, 2 * t), np.ones(2))

def test_wrong(gradcheck):
    assert gradcheck(lambda t: (t @ t, 3 * t), np.ones(2))

def test_function():
    assert check(lambda t: (t @ t, 4 * t), np.ones(2))

def test_layer(gradcheck):
    assert gradcheck.layer(lambda x: (3 * x, None), lambda dout, cache: dout, np.ones(2))
"""


def run(folder, *options):
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "backproof.pytest_plugin",
        "-p",
        "no:cacheprovider",
        *options,
    ]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_loading_the_plugin_does_not_import_numpy():
    code = (
        "import sys, backproof.pytest_plugin as p; print([m for m in sys.modules if m in ('numpy', 'scipy')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_a_session_without_checks_does_not_import_numpy(tmp_path):
    (tmp_path / "test_it.py").write_text("import sys\ndef test_it():\n    assert 'numpy' not in sys.modules\n")
    done = run(tmp_path, "-p", "no:hypothesispytest")
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_a_failed_assertion_shows_the_table(tmp_path):
    (tmp_path / "test_it.py").write_text(TEST)
    done = run(tmp_path)
    assert "3 failed, 1 passed" in done.stdout, done.stdout
    lines = [line.removeprefix("E").strip() for line in done.stdout.splitlines() if line.startswith("E")]
    assert lines.count("gradient check: failed: theta of 1 tensors") == 2
    assert any(line.startswith("theta   2") and "failed" in line for line in lines)
    assert "theta[0]: got 3, expected 2" in done.stdout
    assert "dx is 1/3 of the right one" in done.stdout


@pytest.mark.parametrize("name", ["layer", "vjp", "jvp", "jacobian", "hessian", "elementwise"])
def test_the_other_checks_are_attributes_of_the_fixture(name):
    import backproof
    from backproof.pytest_plugin import Gradcheck

    assert getattr(Gradcheck(), name) is getattr(backproof, f"check_{name}")
    with pytest.raises(AttributeError, match="no check 'nothing'"):
        _ = Gradcheck().nothing
