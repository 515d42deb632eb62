"""A user's derivation file, from its folder to the command."""

import pytest
from backproof.contracts.errors import InvalidValue, PluginError
from backproof.discovery.registry import PluginWarning, registry
from backproof.formulas.errors import FormulaError

from tests.helpers.command import backproof
from tests.helpers.formulas import CS446, REG, yaml_of

pytestmark = pytest.mark.slow

QUICK = ["dataset=iris", "train.epochs=2", "tracking=off"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a plugin directory with one derivation, and change to an empty working directory."""
    (tmp_path / "mine/derivation").mkdir(parents=True)
    text = "description: My own rule.\nactivation: relu\n" + yaml_of(CS446)
    (tmp_path / "mine/derivation/paper.yaml").write_text(text)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("BACKPROOF_PLUGINS", str(tmp_path / "mine"))
    return tmp_path / "mine"


def test_a_users_file_trains_and_is_listed(folder):
    assert "✓ passed" in backproof("train", "derivation=paper", *QUICK).stdout
    listed = backproof("plugins", "derivation").stdout
    assert "paper  My own rule. Derived for activation=relu." in listed
    assert str(folder / "derivation/paper.yaml") in listed
    assert "∂Err/∂(b2)_k = Σ_n (p_nk − y_nk) / N" in listed
    assert "2 of 2 checks" in backproof("verify", "derivation", "paper").stdout
    errors = backproof("train", "derivation=paper", "model.hidden=[8,4]", *QUICK, code=2).stderr
    assert "derivation 'paper' has formulas for W1, b1, W2, b2, the network has" in errors


def test_a_wrong_formula_is_stopped_before_training(folder):
    (folder / "paper.yml").write_text(yaml_of({**CS446, "b2": "sum[n] (p[n,k] - y[n,k])"}))
    (folder / "derivation/paper.yaml").unlink()
    done = backproof("train", "derivation=paper", *QUICK, code=1)
    assert "the gradient check failed" in done.stderr
    assert "b2[" in done.stderr
    assert "W1" not in done.stderr.partition("diagnosis")[0]
    assert "sum over the samples, not their mean" in done.stderr or "1/N" in done.stderr


def read_registry(folder, monkeypatch):
    registry.cache_clear()
    try:
        return registry()
    finally:
        registry.cache_clear()
        monkeypatch.delenv("BACKPROOF_PLUGINS")
        registry()


def test_a_broken_file_is_a_warning(folder, monkeypatch):
    bad = folder / "derivation/bad.yaml"
    bad.write_text(yaml_of({**CS446, "W1": CS446["W1"].replace("n,k]", "n]", 1)}))
    plugins = read_registry(folder, monkeypatch)
    with pytest.warns(PluginWarning, match=r"bad.yaml: FormulasError: line 4: W1: k is not summed"):
        usable = [entry.name for entry in plugins.usable("derivation")]
    assert "paper" in usable
    assert "bad" not in usable
    with pytest.raises(PluginError, match=r"bad.yaml: FormulasError: line 4: W1: k is not summed"):
        plugins.get("derivation", "bad")


def test_other_yaml_outside_the_kind_folders_is_ignored(folder, monkeypatch):
    (folder / "compose.yaml").write_text("services: []\n")
    (folder / "_draft.yaml").write_text("gradients: 1\n")
    (folder / "flat.yaml").write_text(yaml_of(CS446))
    assert {"flat", "paper"} <= set(read_registry(folder, monkeypatch).names("derivation"))


@pytest.mark.parametrize("other", ["paper.yml", "paper.py"])
def test_two_files_with_the_same_name_are_an_error(folder, monkeypatch, other):
    content = yaml_of(CS446)
    if other.endswith("py"):
        content = (
            "from dataclasses import dataclass\nfrom backproof.contracts import Derivation\n\n\n"
            "@dataclass(frozen=True)\nclass Paper(Derivation):\n"
            "    def gradients(self, trace):\n        return {}\n"
        )
    (folder / "derivation" / other).write_text(content)
    plugins = read_registry(folder, monkeypatch)
    with pytest.raises(PluginError, match="two plugins are called derivation 'paper'"):
        plugins.get("derivation", "paper")
    assert plugins.get("derivation", "backprop").name == "backprop"


def test_an_invalid_name(folder, monkeypatch):
    (folder / "derivation/my-rule.yaml").write_text(yaml_of(CS446))
    plugins = read_registry(folder, monkeypatch)
    with pytest.warns(PluginWarning, match=r"my-rule.yaml cannot be a plugin's name"):
        plugins.usable("derivation")


def test_the_included_experiment_trains_with_the_wrong_gradient(folder):
    done = backproof(
        "train", "experiment=cs446_as_written", "train.epochs=1", "model.hidden=[8]", "tracking=off"
    )
    assert "✗ failed: W1, b1 of 4 tensors" in done.stdout
    assert "accuracy" in done.stdout


def test_a_formula_derivation_has_no_options():
    with pytest.raises(PluginError, match="has no hyperparameter"):
        REG.build("derivation", "cs446", {"lr": 1})
    assert not issubclass(FormulaError, InvalidValue)
