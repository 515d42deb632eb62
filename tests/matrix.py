"""Run backproof with other versions of Python and of its dependencies, each in an empty environment.

    python -m tests.matrix                  all combinations
    python -m tests.matrix --list           their names
    python -m tests.matrix py3.11-minimum   some of them
    python -m tests.matrix --no-tests ...   the commands alone, without the quick tests

For each combination it makes a new virtual environment, installs the wheel with its dependencies by pip, and runs
in an empty directory: cs446, a small tpe sweep, a Dask sweep, `backproof ui`, then the tests that are not marked
slow. The exit code is 1 if anything failed. A Python that is not on this machine is skipped; in CI it is an error.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.helpers.environment import CommandFailed, Environment

ROOT = Path(__file__).parents[1]
SMALL = ["dataset=iris", "train.epochs=2", "model.hidden=[4]", "tracking.plots=false"]
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


def train(environment: Environment, *args: str, expected: str) -> None:
    """Run `backproof train` without tracebacks or deprecations; its output must have what is expected."""
    output = environment.run("backproof", "train", *args)
    if expected not in output or re.search("deprecat|traceback", output, re.IGNORECASE):
        raise CommandFailed(
            f"$ backproof train {' '.join(args)}\nexpected {expected!r} and no traceback\n{output}"
        )


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
    pip = ["-m", "pip", "install", "-qq", "--disable-pip-version-check", "-c", str(constraints)]
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
        "install": lambda: environment.run(
            "python", *pip, f"backproof[dask] @ {wheel.as_uri()}", *named, *development
        ),
        "cs446": lambda: train(environment, "experiment=cs446", expected="✓"),
        "tpe": lambda: train(environment, "-m", *SMALL, *search, expected="best"),
        "dask": lambda: train(
            environment,
            "-m",
            *SMALL,
            "seed=0,1,2,3",
            "hydra/launcher=dask",
            "hydra.launcher.n_workers=2",
            expected="best",
        ),
        "ui": environment.serve,
        "tests": lambda: environment.run("python", "-m", "pytest", *tests, cwd=wheel.parent / "checkout"),
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
        except (AssertionError, subprocess.TimeoutExpired) as error:
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
