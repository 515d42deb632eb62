"""The links, pictures, commands, code and tables of the README and docs are correct."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from backproof.cli.commands import COMMANDS
from backproof.cli.main import main
from backproof.contracts import KINDS
from backproof.discovery.registry import registry
from hydra.core.override_parser.overrides_parser import OverridesParser

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
OTHERS = [ROOT / f"{name}.md" for name in ("ARCHITECTURE", "CONTRIBUTING", "CHANGELOG")]
TEXT = {page.name: page.read_text() for page in [*PAGES, *OTHERS]}


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT[page], re.S)


def commands() -> list[list[str]]:
    """Return the commands of all indented blocks, without comments and variables."""
    shown = []
    for text in TEXT.values():
        for block in re.findall(r"(?:^    .*\n)+", re.sub(r"```.*?```", "", text, flags=re.S), re.M):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line.partition(" | ")[0], comments=True)
                if words[:1] == ["backproof"] and words not in shown:
                    shown.append(words)
    return shown


@pytest.fixture(scope="module")
def plugins_of_the_docs(tmp_path_factory):
    """A folder with the plugins shown in the docs."""
    folder = tmp_path_factory.mktemp("mine")
    (arctan,) = (code for code in blocks("plugins.md", "python") if "class Arctan" in code)
    (homework,) = (code for code in blocks("derivations.md", "python") if "class Homework" in code)
    files = {
        "activation/arctan.py": arctan,
        "derivation/homework.yaml": blocks("derivations.md", "yaml")[0],
        "derivation/readme.yaml": blocks("README.md", "yaml")[0],
        "derivation/any_depth.py": homework.replace("class Homework", "class AnyDepth"),
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def mine(workdir, plugins_of_the_docs, monkeypatch):
    monkeypatch.setenv("BACKPROOF_PLUGINS", str(plugins_of_the_docs))
    registry.cache_clear()
    yield
    registry.cache_clear()


def test_the_readme_is_short():
    assert len(TEXT["README.md"].splitlines()) <= 130


@pytest.mark.parametrize("page", [*PAGES, *OTHERS], ids=lambda page: page.name)
def test_links_and_pictures_exist(page):
    for path in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if not path.startswith(("http://", "https://")):
            assert (page.parent / path).exists(), f"{page.name} links to {path}, which is missing"


def test_every_page_is_in_the_index():
    index = TEXT["index.md"]
    assert [page.name for page in PAGES[1:] if page.name != "index.md" and f"({page.name})" not in index] == []


@pytest.mark.parametrize("kind", KINDS)
def test_the_table_of_plugins_is_complete(kind):
    assert f"| {kind} | {', '.join(registry().names(kind))} |" in TEXT["plugins.md"]


def test_exactly_the_existing_commands_are_shown():
    shown = {words[1] for words in commands()}
    assert shown == set(COMMANDS)


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", [words for words in commands() if words[1] in ("train", "check")], ids=" ".join
)
def test_overrides_compose(mine, words, capsys):
    """The overrides of every `train` and `check` compose; of a sweep, those of its first point."""
    arguments, parser = [], OverridesParser.create()
    for word in words[2:]:
        if word in ("--help", "--json", "--report", "check.html", "--parts", "all", "-m", "..."):
            continue
        if word.startswith("-"):
            return  # Hydra's own options have their own tests.
        override = parser.parse_override(word.replace("HOST", "localhost"))
        if override.is_choice_sweep() or override.is_range_sweep():
            first = next(iter(override.sweep_string_iterator()))
            word = f"{override.key_or_group}={first}"
        elif override.is_sweep_override():
            word = f"{override.key_or_group}=0.1"
        arguments.append(word.replace("HOST", "localhost"))
    assert main(["train", *arguments, "--cfg", "job"]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("name", ["homework", "readme", "any_depth"])
def test_the_derivations_of_the_docs_are_right(mine, name, capsys):
    assert main(["check", "dataset=iris", f"derivation={name}"]) == 0, capsys.readouterr()


def test_the_plugin_of_the_docs_conforms(mine, capsys):
    assert main(["verify", "activation", "arctan"]) == 0
    assert "✓ activation arctan" in capsys.readouterr().out


@pytest.mark.parametrize("page", [page.name for page in PAGES if "raise_if_failed" in page.read_text()])
def test_the_checks_of_the_docs_pass(page):
    for code in blocks(page, "python"):
        if "raise_if_failed" in code:
            exec(compile(code, page, "exec"), {"np": np})  # noqa: S102 (text of this repository)


@pytest.mark.parametrize("page", ["ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_named_files_exist(page):
    """A path is relative to the checkout or to the package, and a module may be named without `.py`."""
    placeholders = re.compile(
        r"plugins/KIND|jobs/N|backproof/plugins|hydra/|mine/|htmlcov/|\.running/|\.hypothesis/"
    )
    for path in re.findall(r"`([\w.*-]+/[\w./*-]*)`", TEXT[page]):
        if not placeholders.match(path):
            roots = (ROOT, ROOT / "framework", ROOT / "framework/backproof")
            assert any([*root.glob(path), *root.glob(f"{path}.py")] for root in roots), path


def test_every_room_is_described():
    for folder in (ROOT / "framework/backproof").iterdir():
        if folder.is_dir() and folder.name != "__pycache__":
            assert f"`{folder.name}/`" in TEXT["ARCHITECTURE.md"], folder.name


def test_no_path_of_a_developers_machine_appears():
    for pattern in (
        "*.md",
        "docs/*.*",
        "framework/**/*.py",
        "plugins/**/*",
        "benchmarks/**/*.py",
        ".github/**/*",
    ):
        for path in ROOT.glob(pattern):
            if path.is_file() and path.suffix in (".md", ".py", ".yaml", ".yml", ".sh"):
                assert not re.search(r"/(work|root|home)/", path.read_text()), path
