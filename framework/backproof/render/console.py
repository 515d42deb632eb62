"""Messages on stderr. Nothing is imported here, so that an error shows at once."""

from __future__ import annotations

import sys


def print_error(message: str, code: int = 2) -> int:
    """Write an error block to stderr and return the exit code."""
    print(f"backproof: {message}", file=sys.stderr)
    return code


def print_warning(message: object) -> None:
    """Write a warning to stderr."""
    print(f"backproof: warning: {message}", file=sys.stderr)
