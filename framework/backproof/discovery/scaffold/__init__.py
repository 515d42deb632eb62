"""Write a plugin file to start from, and its test. The templates of every kind work unchanged."""

from __future__ import annotations

import keyword
import string
from pathlib import Path

from backproof.contracts.errors import PluginError
from backproof.discovery.registry import Registry

TEMPLATES = Path(__file__).parent / "templates"
#: Names that Hydra would read as a value, and the name of pytest's own file.
RESERVED = ("null", "true", "false", "nan", "inf", "on", "off", "yes", "no", "conftest")

#: A file system takes 255 bytes for a name, and the name of the test is longer.
LONGEST = 100


def create(plugins: Registry, kind: str, name: str, folder: Path, *, code: bool = False) -> tuple[Path, Path]:
    """Write FOLDER/KIND/NAME.py and its test next to it. A derivation is index formulas, unless `code`.

    Raise PluginError for an unknown kind, for a name that is taken or cannot be a plugin's, and for files that
    exist or cannot be written; nothing is overwritten.
    """
    _check_name(plugins, kind, name)
    suffix = "yaml" if (TEMPLATES / f"{kind}.yaml.txt").is_file() and not code else "py"
    file = folder / kind / f"{name}.{suffix}"
    test = file.parent / f"test_{kind}_{name}.py"
    for path in (file.with_suffix(".py"), file.with_suffix(".yaml"), test):
        if path.exists():
            raise PluginError(
                f"{path} is there already; nothing was written\nChoose another name, or another folder: --dir DIR"
            )
    values = {
        "kind": kind,
        "name": name,
        "Class": "".join(part[:1].upper() + part[1:] for part in name.split("_")),
        "file": file.name,
        "test": test.name,
    }
    test_body = _filled(f"test_{kind}.py.txt", values)
    values |= {
        "scipy": "from scipy import stats\n" * ("stats." in test_body),
        "contracts": "from backproof.contracts import Trace\n" * ("Trace(" in test_body),
    }
    texts = {
        file: _filled(f"{kind}.{suffix}.txt", values),
        test: _filled("test_head.py.txt", values) + test_body,
    }
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PluginError(
            f"the folder {file.parent} cannot be written: {error.strerror}\nChoose another: --dir DIR"
        ) from None
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")
    return file, test


def _check_name(plugins: Registry, kind: str, name: str) -> None:
    taken = name in plugins.names(kind)  # raises PluginError for an unknown kind
    if (
        not (name.isidentifier() and name.isascii())
        or keyword.iskeyword(name)
        or name.startswith(("_", "test_"))
        or name.lower() in RESERVED
        or len(name) > LONGEST
    ):
        raise PluginError(
            f"{name!r} cannot be a plugin's name, which is its file's: use letters, digits and _, beginning with a "
            f"letter, at most {LONGEST} of them, and no reserved word of Python or Hydra"
        )
    if taken:
        article = "an" if kind[0] in "aeiou" else "a"
        raise PluginError(
            f"{article} {kind} is called {name!r} already: {plugins.entry(kind, name).file}\nChoose another name"
        )


def _filled(template: str, values: dict[str, str]) -> str:
    return string.Template((TEMPLATES / template).read_text(encoding="utf-8")).substitute(values)
