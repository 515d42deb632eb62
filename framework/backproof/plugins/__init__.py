"""The plugins that come with backproof, `backproof.plugins.KIND.NAME`.

In an installed distribution they lie in this folder. In a checkout they lie in `plugins/` at its top level, which
is added to this package's path.
"""

from pathlib import Path


def checkout() -> Path | None:
    """Return the root of the checkout that this package is part of, or None where it is installed.

    Anything but this exact package in a project of this name could be somebody else's folder, for example after
    `pip install --target`.
    """
    package = Path(__file__).resolve().parent.parent
    root = package.parent.parent
    try:
        named = '\nname = "backproof"\n' in (root / "pyproject.toml").read_text(encoding="utf-8")
    except OSError:
        return None
    return root if named and root / "framework" / "backproof" == package else None


_root = checkout()
if _root is not None:
    __path__ = [*__path__, str(_root / "plugins")]
