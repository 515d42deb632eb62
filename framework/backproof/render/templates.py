"""HTML pages from Jinja templates: autoescaped, self-contained, without network access."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backproof.render.svg import polyline, px
from backproof.render.text import duration, number, shorten, subscripts

if TYPE_CHECKING:
    from jinja2 import Environment, Template


@functools.cache
def _environment(folder: Path) -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader([folder, Path(__file__).with_name("templates")]),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    functions = (duration, number, polyline, px, shorten, subscripts)
    filters: dict[str, Callable[..., Any]] = {function.__name__: function for function in functions}
    environment.filters.update(filters)  # pyright: ignore[reportUnknownMemberType]
    return environment


def template(folder: Path, name: str) -> Template:
    """Return a template in `folder`; it may include the templates of this package."""
    return _environment(folder).get_template(name)


def render(folder: Path, name: str, **values: Any) -> str:
    """Return the page of a template in `folder`."""
    return template(folder, name).render(values) + "\n"


def verbatim(folder: Path, name: str) -> Any:
    """Return the text of a file, such as a style sheet, to be inserted without escaping."""
    from markupsafe import Markup

    return Markup((folder / name).read_text(encoding="utf-8"))
