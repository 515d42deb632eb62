"""Run backproof with other versions of Python and of its dependencies, each in an empty environment.

    python tests/matrix.py                  all combinations
    python tests/matrix.py --list           their names
    python tests/matrix.py py3.11-minimum   some of them
    python tests/matrix.py --no-tests ...   the commands alone, without the quick tests

For each combination it makes a new virtual environment, installs the wheel with its dependencies by pip, and runs
in an empty directory: cs446, a small tpe sweep, a Dask sweep, `backproof ui`, then the tests that are not marked
slow. The exit code is 1 if anything failed. A Python that is not on this machine is skipped; in CI it is an error.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SMALL = ["dataset=iris", "train.epochs=2", "model.hidden=[4]", "tracking.plots=false"]
#: Seconds that one step may take.
TIMEOUT = 1800
#: Development packages that no step needs.
LINTERS = ("import-linter", "pyright", "ruff")
#: Packages whose versions the table shows.
SHOWN = ("hydra-core", "omegaconf", "optuna", "mlflow", "numpy")


@dataclass(frozen=True)
class Combination:
    """A Python and the versions that pip is held to."""

    python: str
    constraints: tuple[str, ...]


def pyproject() -> dict[str, Any]:
    """Return the project's metadata."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def minimum_versions() -> tuple[str, ...]:
    """Return the lower bound of every dependency in pyproject.toml as a constraint."""
    project = pyproject()["project"]
    bounds = [*project["dependencies"], *project["optional-dependencies"]["dask"]]
    return tuple(re.sub(r">=([^,]+).*", r"==\1", bound) for bound in bounds)


HYDRA_1_4 = ("hydra-core==1.4.0rc3", "omegaconf>=2.4.1rc1,<2.5")
COMBINATIONS = {
    "py3.11-minimum": Combination("3.11", minimum_versions()),
    "py3.11-newest": Combination("3.11", ("optuna>=5",)),
    "py3.12-optuna-4.5": Combination("3.12", ("optuna==4.5.*",)),
    "py3.12-hydra-1.4": Combination("3.12", HYDRA_1_4),
    "py3.13-newest": Combination("3.13", ("optuna>=5",)),
    "py3.13-hydra-1.4": Combination("3.13", (*HYDRA_1_4, "optuna>=5")),
}


def interpreter(version: str) -> str | None:
    """Return the command of a Python of that version, None where this machine has none."""
    names = [f"python{version}", "python3", sys.executable]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    names += [str(folder / "bin/python") for folder in sorted(pyenv.glob(f"{version}.*"), reverse=True)]
    for name in names:
        path = shutil.which(name)
        code = "import sys; print('%d.%d' % sys.version_info[:2])"
        if path and _output([path, "-c", code]) == version:
            return path
    return None


def _output(command: list[str]) -> str | None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


class StepFailed(Exception):
    """A command of a step failed; the message is its output."""


class Environment:
    """A new virtual environment, and an empty working directory for the commands that run in it."""

    def __init__(self, folder: Path, python: str) -> None:
        self.bin, self.workdir = folder / "env/bin", folder / "work"
        self.workdir.mkdir(parents=True)
        ours = ("PYTHONPATH", "BACKPROOF_PLUGINS", "MLFLOW_TRACKING_URI", "VIRTUAL_ENV", "PYENV_VERSION")
        self.variables = {key: value for key, value in os.environ.items() if key not in ours}
        self.variables |= {"PYTHONNOUSERSITE": "1", "OMP_NUM_THREADS": "1", "COLUMNS": "80"}
        self.variables["HYPOTHESIS_STORAGE_DIRECTORY"] = str(folder / "hypothesis")
        self.run([python, "-m", "venv", str(folder / "env")])

    def run(self, command: list[str], cwd: Path | None = None) -> str:
        """Run a command and return its output. Raise StepFailed with all of it if it fails."""
        program = self.bin / command[0]
        done = subprocess.run(
            [str(program) if program.exists() else command[0], *command[1:]],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=cwd or self.workdir,
            env=self.variables,
            timeout=TIMEOUT,
            check=False,
        )
        if done.returncode:
            raise StepFailed(f"$ {' '.join(command)}\n{done.stdout}")
        return done.stdout

    def train(self, *args: str, expected: str) -> None:
        """Run `backproof train` without tracebacks or deprecations; its output must have what is expected."""
        output = self.run(["backproof", "train", *args])
        if expected not in output or re.search("deprecat|traceback", output, re.IGNORECASE):
            raise StepFailed(
                f"$ backproof train {' '.join(args)}\nexpected {expected!r} and no traceback\n{output}"
            )

    def serve(self) -> None:
        """Start `backproof ui` and ask it whether it is up."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        with (self.workdir / "ui.log").open("w+") as log:
            command = [str(self.bin / "backproof"), "ui", "--port", str(port)]
            server = subprocess.Popen(command, cwd=self.workdir, env=self.variables, stdout=log, stderr=log)
            try:
                until = time.monotonic() + 120
                while not _answers(port):
                    if server.poll() is not None or time.monotonic() > until:
                        log.seek(0)
                        raise StepFailed(f"$ {' '.join(command)}\n{log.read()}")
                    time.sleep(0.5)
            finally:
                server.terminate()
                server.wait(30)


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError):
        return urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).status == 200
    return False


def snapshot(folder: Path) -> Path:
    """Copy the checkout, so that the tests fit the wheel even if files change, and write nothing into it."""
    ignored = shutil.ignore_patterns(".[!g]*", ".git", "__pycache__", "mlflow.db", "dist", "htmlcov", "2*-*-*")
    return Path(shutil.copytree(ROOT, folder / "checkout", ignore=ignored))


def build_wheel(checkout: Path) -> Path:
    """Build the wheel of a checkout beside it."""
    folder = checkout.parent
    options = ["-qq", "--no-deps", "--wheel-dir", str(folder)]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, str(checkout)], check=True)
    (wheel,) = folder.glob("backproof-*.whl")
    return wheel


def steps(environment: Environment, combination: Combination, wheel: Path) -> dict[str, Callable[[], object]]:
    """Return the steps of a combination, by name, in their order."""
    constraints = environment.workdir.parent / "constraints.txt"
    constraints.write_text("\n".join(combination.constraints) + "\n")
    pip = ["python", "-m", "pip", "install", "-qq", "--disable-pip-version-check", "-c", str(constraints)]
    search = ["optimizer.lr=interval(0.01,1)", "sweep.sampler=tpe", "sweep.n_trials=6", "sweep.pruner=median"]
    # Pre-releases are taken where a requirement itself names one, of the packages named here alone.
    named = [line for line in combination.constraints if "rc" in line]
    development = [
        requirement
        for requirement in pyproject()["dependency-groups"]["dev"]
        if not requirement.startswith(LINTERS)
    ]

    # The tests come from the checkout, what they test from the wheel. Old versions may warn of newer ones.
    tests = ["-q", "-n", str(os.cpu_count() or 1), "-m", "not slow", "-p", "no:cacheprovider"]
    tests += [f"--ignore=tests/{name}" for name in ("test_docs.py", "test_house.py")]  # Of the source alone.
    tests += ["-W", "default"] if combination.constraints == minimum_versions() else []
    return {
        "install": lambda: environment.run([*pip, f"backproof[dask] @ {wheel.as_uri()}", *named, *development]),
        "cs446": lambda: environment.train("experiment=cs446", expected="✓"),
        "tpe": lambda: environment.train("-m", *SMALL, *search, expected="best"),
        "dask": lambda: environment.train(
            "-m", *SMALL, "seed=0,1,2,3", "hydra/launcher=dask", "hydra.launcher.n_workers=2", expected="best"
        ),
        "ui": environment.serve,
        "tests": lambda: environment.run(["python", "-m", "pytest", *tests], cwd=wheel.parent / "checkout"),
    }


def run(name: str, wheel: Path, folder: Path, skipped: set[str]) -> dict[str, str]:
    """Run a combination; return `ok`, `FAILED` or `-` by step, and the versions that pip took."""
    combination = COMBINATIONS[name]
    python = interpreter(combination.python)
    if python is None:
        return {"python": "FAILED" if os.environ.get("CI") else "none here"}
    environment = Environment(folder / name, python)
    results: dict[str, str] = {}
    for step, action in steps(environment, combination, wheel).items():
        if step in skipped:
            continue
        started = time.monotonic()
        try:
            action()
        except (StepFailed, subprocess.TimeoutExpired) as error:
            results[step] = "FAILED"
            print(f"--- {name}: {step} failed\n{error}", flush=True)
            if step == "install":
                break
        else:
            results[step] = "ok"
            print(f"{name}: {step} ok, {time.monotonic() - started:.0f} s", flush=True)
    listed = _output([str(environment.bin / "python"), "-m", "pip", "list", "--format=freeze"]) or ""
    versions = dict(line.split("==") for line in listed.splitlines() if "==" in line)
    results["versions"] = " ".join(f"{key} {versions.get(key, 'none')}" for key in SHOWN)
    return results


def main() -> int:
    """Run the combinations that are named and print a table of results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="combinations; all of them by default")
    parser.add_argument("--list", action="store_true", help="print the names")
    parser.add_argument("--no-tests", action="store_true", help="run the commands alone, not the quick tests")
    args = parser.parse_args()
    if args.list:
        print("\n".join(COMBINATIONS))
        return 0
    if unknown := set(args.names) - COMBINATIONS.keys():
        parser.error(f"no combination is called {', '.join(unknown)}; there are {', '.join(COMBINATIONS)}")
    skipped = {"tests"} if args.no_tests else set()
    table: dict[str, dict[str, str]] = {}
    with tempfile.TemporaryDirectory(prefix="backproof-matrix-") as temporary:
        wheel = build_wheel(snapshot(Path(temporary)))
        for name in args.names or COMBINATIONS:
            table[name] = run(name, wheel, Path(temporary), skipped)
            shutil.rmtree(Path(temporary, name), ignore_errors=True)
    print()
    for name, results in table.items():
        print(f"{name:20}", *(f"{step} {result}" for step, result in results.items()), sep="  ")
    return int(any("FAILED" in results.values() for results in table.values()))


if __name__ == "__main__":
    sys.exit(main())
