"""The README says what is true: its plugins, its commands, its code."""

import re
from pathlib import Path

import numpy as np
import pytest
from backproof.cli.main import COMMANDS, main
from backproof.contracts import KINDS
from backproof.discovery.registry import registry

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("kind", KINDS)
def test_the_table_of_plugins_is_complete(kind):
    assert f"| {kind} | {', '.join(registry().names(kind))} |" in README


def test_the_commands_are_there():
    named = set(re.findall(r"backproof (\w+)", README)) - {"plugins"}
    assert named <= set(COMMANDS) | {"is"}
    for command in COMMANDS:
        assert f"backproof {command}" in README


def test_the_pictures_are_there():
    for path in re.findall(r"!\[.*?\]\((.*?)\)", README):
        assert (ROOT / path).is_file(), f"{path} is missing: python docs/make_pictures.py makes it"


def test_the_plugin_of_the_readme_keeps_its_contract(tmp_path, monkeypatch, capsys):
    code = next(block for block in re.findall(r"```python\n(.*?)```", README, re.S) if "class Arctan" in block)
    (tmp_path / "activation").mkdir()
    (tmp_path / "activation/arctan.py").write_text(code)
    monkeypatch.setenv("BACKPROOF_PLUGINS", str(tmp_path))
    registry.cache_clear()
    try:
        assert main(["verify", "activation", "arctan"]) == 0
    finally:
        registry.cache_clear()
    assert "✓ activation arctan" in capsys.readouterr().out


def test_the_check_of_the_readme_passes():
    code = next(
        block for block in re.findall(r"```python\n(.*?)```", README, re.S) if "raise_if_failed" in block
    )
    names = {"np": np}
    exec(compile(code, "README.md", "exec"), names)  # noqa: S102 (our own text)


def test_nothing_names_this_machine():
    for pattern in (
        "README.md",
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "docs/*.py",
        "framework/**/*.py",
        "plugins/**/*",
    ):
        for path in ROOT.glob(pattern):
            if path.is_file() and path.suffix in (".md", ".py", ".yaml"):
                assert not re.search(r"/(work|root|home)/", path.read_text()), path
