"""backproof installed by pip into empty environments: the wheel, the sdist, and `pip install --target`.

The only tests that need a package index (or pip's cache) for the dependencies. Without one they fail in CI, and are
skipped elsewhere.
"""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.helpers.environment import CommandFailed, Environment

ROOT = Path(__file__).parents[2]
QUICK = ["dataset=iris", "train.epochs=2", "model.hidden=[4]"]
#: Parts of pip's messages when no index answers.
UNREACHABLE = ("Could not find a version", "Failed to establish", "No matching distribution", "ConnectionError")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    """Build the sdist, and the wheel from the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, sdist


def pip(environment, *args):
    """Run pip. If it reaches no index, skip the test, or fail in CI."""
    try:
        return environment.run("python", "-m", "pip", "--disable-pip-version-check", *args)
    except CommandFailed as error:
        if any(sign in str(error) for sign in UNREACHABLE):
            message = f"pip cannot get the dependencies; these tests need a package index:\n{error}"
            (pytest.fail if os.environ.get("CI") else pytest.skip)(message)
        raise


def test_the_distributions_contain_only_code_plugins_and_configs(distributions):
    wheel, sdist = distributions
    names = set(zipfile.ZipFile(wheel).namelist())
    for name in (
        "cli/main.py",
        "plugins/activation/relu.py",
        "plugins/derivation/cs446.yaml",
        "cli/shell_scripts/zsh.txt",
        "py.typed",
    ):
        assert f"backproof/{name}" in names
    assert {"backproof/conf/config.yaml", "backproof/conf/experiment/cs446.yaml"} <= names
    # A namespace package, to which other distributions add.
    assert "hydra_plugins/backproof.py" in names
    assert "hydra_plugins/__init__.py" not in names
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"backproof", "hydra_plugins"}
    with tarfile.open(sdist) as archive:
        files = {name.partition("/")[2] for name in archive.getnames()}
    assert {"README.md", "plugins/activation/relu.py", "tests/conftest.py", "outputs/.gitignore"} <= files
    assert [name for name in files if name.startswith(("outputs/", ".venv"))] == ["outputs/.gitignore"]


def test_the_checkout_and_the_sdist_give_the_same_wheel(distributions, tmp_path):
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(command, capture_output=True, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert sorted(zipfile.ZipFile(wheel).namelist()) == sorted(zipfile.ZipFile(distributions[0]).namelist())


def test_every_command_works_in_an_empty_environment(distributions, tmp_path):
    """One environment for all three ways to install, since its dependencies take most of the time."""
    wheel, sdist = distributions
    environment = Environment(tmp_path / "environment")
    run, workdir = environment.run, environment.workdir

    pip(environment, "install", wheel)
    assert str(tmp_path / "environment") in run("python", "-c", "import backproof; print(backproof.__file__)")
    assert "✓ passed" in run("backproof", "train", *QUICK)
    assert (workdir / "outputs/mlflow.db").is_file()
    run("backproof", "train", "-m", *QUICK, "activation=relu,tanh", "seed=0,1")
    run("backproof", "check", *QUICK)
    run("backproof", "check", *QUICK, "derivation=cs446_as_written", code=1)
    assert "relu" in run("backproof", "plugins")
    assert "iris" in run("backproof", "runs")
    run("backproof", "report", "last", "--out", "sweep.html")
    assert "<html" in (workdir / "sweep.html").read_text()
    run("backproof", "new", "activation", "mine")
    run("backproof", "verify", "activation", "mine", BACKPROOF_PLUGINS=str(workdir / "mine"))
    assert "complete -" in run("backproof", "completion", "bash")
    environment.serve()

    pip(environment, "uninstall", "--yes", "backproof")
    pip(environment, "install", "--no-deps", sdist)
    assert "✓ passed" in run("backproof", "train", *QUICK)

    # In another project, whose plugins/ are not ours.
    pip(environment, "uninstall", "--yes", "backproof")
    project = tmp_path / "project"
    (project / "plugins").mkdir(parents=True)
    (project / "plugins/__init__.py").write_text("raise RuntimeError('not of backproof')\n")
    (project / "pyproject.toml").write_text('[project]\nname = "project"\n')
    pip(environment, "install", "--no-deps", "--target", project / "library", wheel)
    environment.workdir = project
    paths = {"PYTHONPATH": os.pathsep.join([str(project), str(project / "library")])}
    assert "✓ passed" in run("python", "-m", "backproof", "train", *QUICK, **paths)
