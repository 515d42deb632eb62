"""`backproof new`: its files work unchanged, their tests find planted errors, and nothing is overwritten."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from backproof.cli.main import main
from backproof.contracts import KINDS
from backproof.discovery.registry import registry

ROOT = Path(__file__).parents[2]
#: The file of each kind, and an error to plant in it: the original text and its replacement.
FORMS = {
    "activation": ("py", "np.add(slope, 1, slope)", "np.add(slope, 2, slope)"),
    "loss": ("py", "cached_scalar(1 / z.shape[1]", "cached_scalar(2 / z.shape[1]"),
    "optimizer": ("py", "as_dtype_of(lr, grad)", "as_dtype_of(1.001 * lr, grad)"),
    "schedule": ("py", "** self.power", "** (self.power + 1)"),
    "initializer": ("py", "limit = self.gain", "limit = 1.05 * self.gain"),
    "penalty": ("py", "as_dtype_of(self.eps, work) ** 2", "as_dtype_of(self.eps, work)"),
    "metric": ("py", "axis=-1) == y", "axis=-1) <= y"),
    "dataset": ("py", "np.pi * y", "3 * y"),
    "space": ("py", "range(1, depth + 1)", "range(1, depth)"),
    "derivation": ("yaml", " * dphi(a1[n,h]) * x[n,d]", " * x[n,d]"),
    "derivation --code": ("py", " * trace.dphi(trace.a[1])", ""),
}


@pytest.fixture(autouse=True)
def fresh_registry(workdir):
    """Forget the plugins that a test has written."""
    yield
    registry.cache_clear()


def files(form):
    kind, name = form.split()[0], f"own{len(form.split())}"
    return (
        kind,
        name,
        Path("mine", kind, f"{name}.{FORMS[form][0]}"),
        Path("mine", kind, f"test_{kind}_{name}.py"),
    )


def test_every_kind_has_a_template():
    assert {form.split()[0] for form in FORMS} == set(KINDS)


@pytest.mark.slow
def test_new_files_verify_and_their_tests_pass_and_find_an_error(workdir, capsys, monkeypatch):
    for form in FORMS:
        kind, name, file, test = files(form)
        assert main(["new", kind, name, *form.split()[1:]]) == 0
        shown = capsys.readouterr().out
        for part in (file, test, f"export BACKPROOF_PLUGINS={workdir / 'mine'}", f"verify {kind} {name}"):
            assert str(part) in shown
    results = run_tests()
    assert results == {(f.name, name): "PASSED" for f in written() for name in functions(f)}
    assert len(results) == 2 * len(FORMS)
    monkeypatch.setenv("BACKPROOF_PLUGINS", str(workdir / "mine"))
    registry.cache_clear()
    for form in FORMS:
        kind, name, _, _ = files(form)
        assert main(["verify", kind, name]) == 0, capsys.readouterr()
    for form, (_, right, wrong) in FORMS.items():
        text = files(form)[2].read_text()
        assert text.count(right) == 1
        files(form)[2].write_text(text.replace(right, wrong))
    results = run_tests()
    for form in FORMS:
        test = files(form)[3]
        _, oracle = functions(test)
        assert results[test.name, oracle] == "FAILED"


def written():
    return sorted(Path("mine").rglob("test_*.py"))


def functions(test):
    return re.findall(r"^def (test_\w+)", test.read_text(), re.MULTILINE)


def run_tests():
    """Return the outcome of each test in the new files, by file and name."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "mine", "-v", "-p", "no:cacheprovider", "--tb=no", "-W", "error"],
        env=os.environ | {"PYTHONPATH": str(ROOT / "framework")},
        capture_output=True,
        text=True,
        check=False,
    )
    matches = re.findall(r"/(\w+\.py)::(\w+) (PASSED|FAILED|ERROR)", done.stdout)
    assert matches, done.stdout + done.stderr
    return {(file, name): outcome for file, name, outcome in matches}


@pytest.mark.slow
def test_new_files_are_used_by_the_command(workdir, monkeypatch, capsys):
    assert main(["new", "activation", "bent", "--dir", "some where"]) == 0
    export = next(line for line in capsys.readouterr().out.splitlines() if "export" in line)
    assert export.strip() == f"export BACKPROOF_PLUGINS='{workdir / 'some where'}'"
    monkeypatch.setenv("BACKPROOF_PLUGINS", str(workdir / "some where"))
    registry.cache_clear()
    assert main(["train", "activation=bent", "dataset=iris", "train.epochs=2", "tracking=off"]) == 0
    assert "✓ passed" in capsys.readouterr().out
    # The next one goes to the folder in the variable, and nothing needs to be exported.
    assert main(["new", "loss", "bent"]) == 0
    shown = capsys.readouterr().out
    assert "some where/loss/bent.py" in shown
    assert "export" not in shown


BAD = {
    "kind": (["activaton", "bent"], ["no kind of plugin is called 'activaton', did you mean activation"]),
    "keyword": (["activation", "class"], ["'class' cannot be a plugin's name"]),
    "dash": (["activation", "my-own"], ["'my-own' cannot be a plugin's name", "letters, digits and _"]),
    "path": (["activation", "../bent"], ["cannot be a plugin's name"]),
    "digit": (["activation", "3rd"], ["cannot be a plugin's name"]),
    "not found as a plugin": (["activation", "test_it"], ["cannot be a plugin's name"]),
    "of Hydra": (["activation", "null"], ["cannot be a plugin's name"]),
    "taken": (["activation", "relu"], ["an activation is called 'relu' already", "relu.py", "another name"]),
    "there already": (["activation", "there"], ["there.py is there already; nothing was written"]),
    "test there already": (["activation", "tested"], ["test_activation_tested.py is there already"]),
    "other form there": (["derivation", "rule", "--code"], ["rule.yaml is there already"]),
    "unwritable": (["activation", "bent", "--dir", "file"], ["file/activation cannot be written"]),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_block_and_writes_nothing(workdir, capsys, name):
    arguments, parts = BAD[name]
    existing = (
        "file",
        "mine/activation/there.py",
        "mine/activation/test_activation_tested.py",
        "mine/derivation/rule.yaml",
    )
    for path in map(Path, existing):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    before = sorted(Path().rglob("*"))
    assert main(["new", *arguments]) == 2
    captured = capsys.readouterr()
    for part in parts:
        assert part in captured.err
    assert captured.err.startswith("backproof: ")
    assert len(captured.err.strip().splitlines()) <= 3
    assert captured.out == ""
    assert sorted(Path().rglob("*")) == before
    assert all(Path(path).read_text() == "mine" for path in existing)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "missing argument 'KIND'"),
        (["activation"], "missing argument 'NAME'"),
        (["activation", "bent", "--directory", "x"], "no such option '--directory'. Did you mean '--dir'?"),
    ],
)
def test_missing_arguments_show_how_it_is_used(workdir, capsys, arguments, problem):
    assert main(["new", *arguments]) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"backproof: {problem}",
        "Usage: backproof new [OPTIONS] KIND NAME",
        "`backproof new --help` shows how it is used",
    ]
    assert not list(workdir.iterdir())
