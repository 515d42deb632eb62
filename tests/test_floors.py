"""Imports go down the floors only, and rooms that must not know each other do not."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
#: From the ground up. A room may import its own floor and those below.
FLOORS = {
    0: ["kinds"],
    1: ["registry", "data", "gradcheck", "formulas", "suggestions"],
    2: ["derived", "mlp"],
    3: [
        "training",
        "stopping",
        "evaluation",
        "checking",
        "kinks",
        "parts",
        "standalone",
        "diagnosing",
        "experiment",
        "running",
        "describe",
        "plots",
        "check_page",
        "diagnosis_page",
        "model_file",
        "predictor",
        "pyfunc_model",
        "conformance",
        "scaffold",
    ],
    4: ["tracking", "sweep_options", "config", "recorder", "show", "reports", "sweep"],
    5: ["app", "cli", "listing", "problems", "runs", "ui"],
}
FLOOR = {room: floor for floor, rooms in FLOORS.items() for room in rooms}
#: Third parties that only some rooms may know.
ONLY_IN = {
    "mlflow": {"tracking", "pyfunc_model", "ui"},
    "hydra": {"config", "sweep", "app", "problems"},
    "omegaconf": {"config", "sweep", "app", "problems"},
}
#: What costs too much to be imported before it is used.
LATE = {"mlflow", "optuna", "sklearn", "matplotlib", "pandas", "rich", "scipy.stats", "requests"}


def room(file: Path) -> str:
    return file.relative_to(ROOT / "framework").parts[0].removesuffix(".py")


def modules(tree: ast.AST) -> list[str]:
    """All modules that are imported anywhere in a file, except for types alone."""
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    found = []
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            if node.module == "framework":
                found += [f"framework.{alias.name}" for alias in node.names]
            else:
                found.append(node.module)
    return found


FRAMEWORK = sorted((ROOT / "framework").rglob("*.py"))
PLUGINS = sorted((ROOT / "plugins").rglob("*.py"))


@pytest.mark.parametrize("file", FRAMEWORK, ids=lambda file: str(file.relative_to(ROOT)))
def test_imports_go_down(file):
    own = room(file)
    if own == "__init__":
        assert not [name for name in modules(ast.parse(file.read_text())) if name.startswith("framework")]
        return
    assert own in FLOOR, f"{file} is in no room: give it a floor in this test and in ARCHITECTURE.md"
    for name in modules(ast.parse(file.read_text())):
        top, _, rest = name.partition(".")
        if top == "framework" and rest and not rest.startswith("__"):
            other = rest.split(".")[0]
            assert FLOOR[other] <= FLOOR[own], (
                f"{own} (floor {FLOOR[own]}) imports {other} (floor {FLOOR[other]})"
            )
        if top in ONLY_IN:
            assert own in ONLY_IN[top], f"{own} must not know {top}"
        assert top != "plugins" or own == "registry"


@pytest.mark.parametrize("file", FRAMEWORK, ids=lambda file: str(file.relative_to(ROOT)))
def test_what_is_slow_to_import_is_imported_where_it_is_used(file):
    if file.name in ("plots.py", "pyfunc_model.py"):
        return  # They are imported late themselves.
    tree = ast.parse(file.read_text())
    top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {name for node in top for name in modules(node)}
    assert not {name for name in names if name in LATE or name.split(".")[0] in LATE}


@pytest.mark.parametrize("file", PLUGINS, ids=lambda file: str(file.relative_to(ROOT)))
def test_plugins_know_the_contracts_alone(file):
    own = {name for name in modules(ast.parse(file.read_text())) if name.startswith(("framework", "plugins"))}
    assert own <= {"backproof.contracts", "backproof.contracts.table"}


def test_rooms_of_a_floor_do_not_import_in_circles():
    graph = {}
    for file in FRAMEWORK:
        own = room(file)
        for name in modules(ast.parse(file.read_text())):
            if name.startswith("framework.") and (other := name.split(".")[1]) != own:
                graph.setdefault(own, set()).add(other)

    def reach(start):
        seen, stack = set(), [*graph.get(start, ())]
        while stack:
            if (each := stack.pop()) not in seen:
                seen.add(each)
                stack += graph.get(each, ())
        return seen

    # The command and the application name each other: the one starts the other late, which prints through it.
    circles = {own for own in graph if own in reach(own)} - {"cli", "app", "listing", "runs", "ui"}
    assert not circles


def test_no_plugin_is_named_outside_its_folder():
    # Names that are ordinary words, or those of tasks and options.
    words = {"none", "step", "normal", "constant", "identity", "zeros", "csv"}
    tasks = {"classification", "regression", "multilabel"}
    names = {file.stem for file in PLUGINS} - words - tasks
    for file in FRAMEWORK:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Compare):
                words = {each.value for each in ast.walk(node) if isinstance(each, ast.Constant)}
                assert not words & names, f"{file}:{node.lineno} compares with a plugin's name"
