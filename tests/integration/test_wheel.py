"""backproof installed by pip into empty environments: the wheel, the sdist, and `pip install --target`.

The only tests that need a package index (or pip's cache) for the dependencies. Without one they fail in CI, and are
skipped elsewhere.
"""

import os
import signal
import socket
import subprocess
import sys
import tarfile
import urllib.request
import zipfile
from pathlib import Path

import pytest

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


class Environment:
    """A new virtual environment; commands run in a working directory outside the checkout."""

    def __init__(self, folder: Path, workdir: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        self.bin, self.workdir = folder / "bin", workdir
        ours = ("PYTHONPATH", "BACKPROOF_PLUGINS", "MLFLOW_TRACKING_URI", "VIRTUAL_ENV")
        self.variables = {key: value for key, value in os.environ.items() if key not in ours}
        self.variables |= {"PYTHONNOUSERSITE": "1", "COLUMNS": "80"}

    def run(self, program, *args, code=0, **variables):
        """Run a program of the environment and return what it prints."""
        done = subprocess.run(
            [self.bin / program, *map(str, args)],
            capture_output=True,
            text=True,
            cwd=self.workdir,
            env=self.variables | variables,
            timeout=900,
            check=False,
        )
        assert done.returncode == code, f"{program} {args}\n{done.stdout}{done.stderr}"
        return done.stdout

    def pip(self, *args):
        """Run pip. If it reaches no index, skip the test, or fail in CI."""
        try:
            return self.run("python", "-m", "pip", "--disable-pip-version-check", *args)
        except AssertionError as error:
            if any(sign in str(error) for sign in UNREACHABLE):
                message = f"pip cannot get the dependencies; these tests need a package index:\n{error}"
                (pytest.fail if os.environ.get("CI") else pytest.skip)(message)
            raise


def test_the_distributions_contain_only_code_plugins_and_configs(distributions):
    wheel, sdist = distributions
    names = set(zipfile.ZipFile(wheel).namelist())
    for name in ("cli/main.py", "plugins/activation/relu.py", "plugins/derivation/cs446.yaml", "py.typed"):
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
    workdir = tmp_path / "work"
    workdir.mkdir()
    environment = Environment(tmp_path / "environment", workdir)
    run = environment.run

    environment.pip("install", wheel)
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
    serve(environment)

    environment.pip("uninstall", "--yes", "backproof")
    environment.pip("install", "--no-deps", sdist)
    assert "✓ passed" in run("backproof", "train", *QUICK)

    # In another project, whose plugins/ are not ours.
    environment.pip("uninstall", "--yes", "backproof")
    project = tmp_path / "project"
    (project / "plugins").mkdir(parents=True)
    (project / "plugins/__init__.py").write_text("raise RuntimeError('not of backproof')\n")
    (project / "pyproject.toml").write_text('[project]\nname = "project"\n')
    environment.pip("install", "--no-deps", "--target", project / "library", wheel)
    environment.workdir = project
    paths = {"PYTHONPATH": os.pathsep.join([str(project), str(project / "library")])}
    assert "✓ passed" in run("python", "-m", "backproof", "train", *QUICK, **paths)


def serve(environment):
    """Start `backproof ui`, ask it for its page on loopback, and stop it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [environment.bin / "backproof", "ui", "--port", str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=environment.workdir,
        env=environment.variables,
    )
    try:
        line = server.stdout.readline()
        assert f"http://127.0.0.1:{port}" in line, line + server.stderr.read()
        with urllib.request.urlopen(line.split()[-1], timeout=60) as page:
            assert b"<title>MLflow" in page.read()
        server.send_signal(signal.SIGINT)
        server.communicate(timeout=60)
        assert server.returncode == 0
    finally:
        server.kill()
