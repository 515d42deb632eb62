"""What a person gets who installs the wheel into an empty environment and works elsewhere."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)],
        check=True,
        capture_output=True,
    )
    (file,) = out.glob("*.whl")
    return file


def test_the_wheel_holds_code_plugins_and_configs(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for name in ("framework/backproof/cli/main.py", "plugins/activation/relu.py", "framework/conf/config.yaml"):
        assert name in names
    assert "framework/conf/experiment/cs446.yaml" in names
    assert "plugins/derivation/cs446.yaml" in names
    # A namespace package, to which others add.
    assert not [name for name in names if name.startswith("plugins/") and name.endswith("__init__.py")]
    assert not [name for name in names if name.startswith(("tests/", "outputs/", "benchmarks/"))]


def test_it_trains_from_an_empty_directory(wheel, tmp_path):
    """The wheel alone in a new environment; what it depends on is lent by this one: no network is needed."""
    place, target = tmp_path / "place", tmp_path / "env"
    place.mkdir()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(target)], check=True)
    python = target / "bin/python"
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "--python",
            str(python),
            "install",
            "--no-deps",
            "--no-index",
            str(wheel),
        ],
        check=True,
        capture_output=True,
    )
    (site,) = target.glob("lib/python*/site-packages")
    # Packages of this environment, without the checkout that is installed here as editable.
    lent = next(Path(each) for each in sys.path if each.endswith("site-packages"))
    (site / "lent.pth").write_text(f"import site; site.__dict__['addpackage'] and None\n{lent}\n")
    env = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "BACKPROOF_PLUGINS")}
    where = subprocess.run(
        [python, "-c", "import framework; print(framework.__file__)"],
        capture_output=True,
        text=True,
        cwd=place,
        env=env,
        check=True,
    )
    assert str(site) in where.stdout
    done = subprocess.run(
        [target / "bin/backproof", "train", "dataset=iris", "train.epochs=2"],
        capture_output=True,
        text=True,
        cwd=place,
        env=env,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "✓ passed" in done.stdout
    assert (place / "outputs/mlflow.db").is_file()
