"""Plugins are found by the names of their files and imported when they are used."""

import subprocess
import sys
import textwrap

import pytest
from backproof.contracts import KINDS
from backproof.contracts.errors import PluginError
from backproof.discovery.entry import kind_in_source
from backproof.discovery.registry import PluginWarning, registry

ACTIVATION = """\
from dataclasses import dataclass

import numpy as np

from backproof.contracts import Activation


@dataclass(frozen=True)
class Cube(Activation):
    def forward(self, a, out):
        np.multiply(a, a * a, out)

    def backward(self, a, h, grad, work):
        grad *= 3 * a * a
"""


def test_finding_imports_nothing(plugin_folder):
    (plugin_folder / "cube.py").write_text("raise AssertionError('it was imported')\n" + ACTIVATION)
    (plugin_folder / "space").mkdir()
    (plugin_folder / "space/other.py").write_text("raise AssertionError('it was imported')\n")
    plugins = registry()
    assert "cube" in plugins.names("activation")
    assert "other" in [entry.name for entry in plugins.entries()]
    plugins.build("activation", "relu")
    with pytest.raises(
        PluginError, match=r"activation=cube cannot be used: .*cube\.py, line 1: AssertionError"
    ):
        plugins.get("activation", "cube")


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("from backproof.contracts import Activation\nclass A(Activation): ...", "activation"),
        ("import backproof\nclass A(backproof.Loss): ...", "loss"),
        ("from backproof.contracts import DatasetLoader as Base\nclass A(Base): ...", "dataset"),
        ("if True:\n    class A(Space): ...", "space"),
    ],
)
def test_the_kind_is_read_from_the_source(tmp_path, source, kind):
    file = tmp_path / "any.py"
    file.write_text(source)
    assert kind_in_source(file) == (kind, False)


@pytest.mark.parametrize(
    ("source", "ambiguous"),
    [("x = 1", False), ("def broken(:", False), ("class A: ...", False), ("class A(Mine): ...", True)],
)
def test_a_source_may_not_tell_the_kind(tmp_path, source, ambiguous):
    file = tmp_path / "any.py"
    file.write_text(source)
    assert kind_in_source(file) == ("", ambiguous)


def test_a_plugin_of_an_indirect_base_is_found_by_importing_it(plugin_folder):
    (plugin_folder / "steep.py").write_text(
        "from dataclasses import dataclass\n"
        "from backproof.plugins.activation.leaky_relu import LeakyReLU as Mine\n\n"
        "@dataclass(frozen=True)\nclass Steep(Mine):\n    pass\n"
    )
    (plugin_folder / "utils.py").write_text("from enum import Enum\nclass Colour(Enum):\n    RED = 1\n")
    plugins = registry()
    assert "steep" in plugins.names("activation")
    assert plugins.get("activation", "steep").name == "steep"
    for kind in KINDS:
        assert "utils" not in plugins.names(kind)
    with pytest.raises(
        PluginError, match=r"plugin utils cannot be used: .* must define one plugin class, found"
    ):
        plugins.get("activation", "utils")


def test_two_of_one_name_stop_only_who_uses_the_name(plugin_folder):
    (plugin_folder / "relu.py").write_text(ACTIVATION)
    plugins = registry()
    assert plugins.names("activation").count("relu") == 1
    plugins.build("activation", "tanh")
    with pytest.raises(PluginError, match="two plugins are called activation 'relu'") as caught:
        plugins.build("activation", "relu")
    assert str(plugin_folder / "relu.py") in str(caught.value)
    with pytest.warns(PluginWarning, match="two plugins are called activation 'relu'") as warned:
        usable = plugins.usable("activation")
    assert len(warned) == 1
    assert "relu" not in [entry.name for entry in usable]


def test_the_same_directory_twice_is_found_once(plugin_folder, monkeypatch):
    (plugin_folder / "cube.py").write_text(ACTIVATION)
    monkeypatch.setenv("BACKPROOF_PLUGINS", f"{plugin_folder}:{plugin_folder}/../{plugin_folder.name}")
    registry.cache_clear()
    assert registry().entry("activation", "cube").file == plugin_folder / "cube.py"


def test_a_directory_that_does_not_exist_is_a_warning(plugin_folder, monkeypatch):
    monkeypatch.setenv("BACKPROOF_PLUGINS", str(plugin_folder / "nowhere"))
    registry.cache_clear()
    with pytest.warns(PluginWarning, match="BACKPROOF_PLUGINS names .*nowhere, which is not a directory"):
        registry()


@pytest.mark.slow
def test_a_recorded_run_imports_the_plugins_that_it_uses(workdir):
    program = """
        import sys
        from backproof.cli.main import main

        assert main(["train", "experiment=cs446", "train.epochs=1"]) == 0
        plugins = [name for name in sys.modules if name.startswith("backproof.plugins.") and name.count(".") == 3]
        ours = [name for name in sys.modules if name.partition(".")[0] == "backproof"]
        print("\\n", len(plugins), len(ours))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    plugins, ours = map(int, done.stdout.split()[-2:])
    # One of each kind, and the metrics that are the default for some task.
    assert plugins <= 13
    assert ours <= 118
