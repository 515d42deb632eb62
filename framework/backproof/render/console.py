"""Messages on stderr. Nothing that takes time is imported here, so that an error shows at once."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import warnings
from collections.abc import Generator
from typing import Any

from backproof.render.text import printable


class Output(io.TextIOWrapper):
    """stdout or stderr of a command. An error in writing, as on a full disk, silences it and is kept in `error`.

    So what cannot be shown does not end what is being done.
    """

    error: OSError | None = None

    def write(self, text: str) -> int:
        """Write a text, unless an earlier one could not be written."""
        if self.error is None:
            try:
                return super().write(text)
            except OSError as error:
                self.error = error
        return len(text)

    def flush(self) -> None:
        """Write what is buffered."""
        if self.error is None:
            try:
                super().flush()
            except OSError as error:
                self.error = error


def shield_output() -> None:
    """Make stdout and stderr of this process `Output`, with escapes for characters that their encoding lacks.

    A stream that was closed leads to the null device: a database must not get its descriptor.
    """
    if sys.stdin is None:  # pyright: ignore[reportUnnecessaryComparison]
        sys.stdin = os.fdopen(os.open(os.devnull, os.O_RDONLY))
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        buffer = os.fdopen(os.open(os.devnull, os.O_WRONLY), "wb") if stream is None else stream.buffer
        encoding, by_line = (None, False) if stream is None else (stream.encoding, stream.line_buffering)
        shield = Output(buffer, encoding, errors="backslashreplace", line_buffering=by_line)
        setattr(sys, name, shield)


def print_error(message: str, code: int = 2) -> int:
    """Write an error block to stderr and return the exit code."""
    print(f"backproof: {printable(message)}", file=sys.stderr)
    return code


def print_warning(message: object) -> None:
    """Write a warning to stderr."""
    print(f"backproof: warning: {printable(str(message))}", file=sys.stderr)


@contextlib.contextmanager
def warnings_as_lines(category: type[Warning]) -> Generator[None, None, None]:
    """Write warnings to stderr as one line each, and every one of this category."""

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        print_warning(message)

    with warnings.catch_warnings():
        warnings.simplefilter("always", category)
        warnings.showwarning = show
        yield
