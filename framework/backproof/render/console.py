"""Messages on stderr. Nothing that takes time is imported here, so that an error shows at once."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Generator
from typing import Any


def print_error(message: str, code: int = 2) -> int:
    """Write an error block to stderr and return the exit code."""
    print(f"backproof: {message}", file=sys.stderr)
    return code


def print_warning(message: object) -> None:
    """Write a warning to stderr."""
    print(f"backproof: warning: {message}", file=sys.stderr)


@contextlib.contextmanager
def warnings_as_lines(category: type[Warning]) -> Generator[None, None, None]:
    """Write warnings to stderr as one line each, and every one of this category."""

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        print_warning(message)

    with warnings.catch_warnings():
        warnings.simplefilter("always", category)
        warnings.showwarning = show
        yield
