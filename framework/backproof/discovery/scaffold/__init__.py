"""Write a plugin file to start from, and its test: the templates of every kind work unchanged."""

from __future__ import annotations

import keyword
import string
from pathlib import Path

from backproof.contracts import KINDS
from backproof.contracts.errors import PluginError, did_you_mean
from backproof.discovery.registry import Registry

TEMPLATES = Path(__file__).parent / "templates"
#: What Hydra would read as another thing than a name.
TAKEN = ("null", "true", "false", "nan", "inf", "on", "off", "yes", "no", "conftest")
HEAD = '''"""Tests of the $kind $name: python -m pytest $test"""

from pathlib import Path

import numpy as np
$scipy
from backproof.conformance.runner import outcomes
${kinds}from backproof.discovery.entry import plugin_in

ENTRY = plugin_in(Path(__file__).parent / "$file")


def test_it_keeps_the_contract_of_its_kind():
    wrong = [f"{each.check} with {each.params}: {each.error}" for each in outcomes(ENTRY) if not each.passed]
    assert not wrong, "\\n".join(wrong)


'''


def create(plugins: Registry, kind: str, name: str, folder: Path, *, code: bool = False) -> tuple[Path, Path]:
    """Write FOLDER/KIND/NAME.py and its test beside it; a derivation is index formulas, unless `code`.

    Raise PluginError for an unknown kind, for a name that is taken or cannot be a plugin's, and for files that
    exist or cannot be written; nothing is overwritten.
    """
    _check(plugins, kind, name)
    formulas = TEMPLATES / f"{kind}.yaml.txt"
    suffix = "yaml" if formulas.is_file() and not code else "py"
    file = folder / kind / f"{name}.{suffix}"
    test = file.parent / f"test_{kind}_{name}.py"
    for each in (file.with_suffix(".py"), file.with_suffix(".yaml"), test):
        if each.exists():
            raise PluginError(
                f"{each} is there already; nothing was written\nChoose another name, or another folder: --dir DIR"
            )
    values = {
        "kind": kind,
        "name": name,
        "Class": "".join(part[:1].upper() + part[1:] for part in name.split("_")),
        "file": file.name,
        "test": test.name,
    }
    body = _filled(TEMPLATES / f"test_{kind}.py.txt", values)
    head = values | {
        "scipy": "from scipy import stats\n" * ("stats." in body),
        "kinds": "from backproof.contracts import Trace\n" * ("Trace(" in body),
    }
    texts = {
        file: _filled(TEMPLATES / f"{kind}.{suffix}.txt", values),
        test: string.Template(HEAD).substitute(head) + body,
    }
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PluginError(
            f"the folder {file.parent} cannot be written: {error.strerror}\nName another: --dir DIR"
        ) from None
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")
    return file, test


def _check(plugins: Registry, kind: str, name: str) -> None:
    if kind not in KINDS:
        raise PluginError(
            f"no kind of plugin is called {kind!r}{did_you_mean(kind, [*KINDS])}\nKinds: {', '.join(KINDS)}"
        )
    if (
        not (name.isidentifier() and name.isascii())
        or keyword.iskeyword(name)
        or name.startswith(("_", "test_"))
        or name.lower() in TAKEN
    ):
        raise PluginError(
            f"{name!r} cannot be a plugin's name, which is its file's: use letters, digits and _, beginning with a "
            "letter, and no word that Python or Hydra knows"
        )
    if name in plugins.names(kind):
        article = "an" if kind[0] in "aeiou" else "a"
        raise PluginError(
            f"{article} {kind} is called {name!r} already: {plugins.entry(kind, name).file}\nChoose another name"
        )


def _filled(template: Path, values: dict[str, str]) -> str:
    return string.Template(template.read_text(encoding="utf-8")).substitute(values)
