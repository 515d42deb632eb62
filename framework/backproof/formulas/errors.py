"""Errors in formulas, which point at the wrong part of the formula."""

from __future__ import annotations

from collections.abc import Sequence

from backproof.contracts.errors import BackproofError


class FormulaError(BackproofError, ValueError):
    """A formula that cannot be used. The message names the tensor and points at the wrong part of the formula.

    start, end  that part, as a range of characters of `text`, the formula as written
    """

    def __init__(self, reason: str, expected: str, start: int, end: int) -> None:
        super().__init__(reason)
        self.reason, self.expected = reason, expected
        self.start, self.end = start, max(end, start + 1)
        self.tensor, self.text = "", ""
        #: The derivation or file of the formula, as the message begins.
        self.location = ""

    def of(self, tensor: str, text: str) -> FormulaError:
        """Attach the tensor and its formula, and return the error."""
        self.tensor, self.text = tensor, text
        return self

    def __str__(self) -> str:
        prefix = f"{self.tensor}: " if self.tensor else ""
        return f"{self.location}{prefix}{self.reason}\n{self.pointer()}\n    expected {self.expected}"

    def pointer(self) -> str:
        """Return the line of the formula with the error, and carets below the wrong part."""
        start = self.text.rfind("\n", 0, self.start) + 1
        line = self.text[start:].partition("\n")[0]
        before = self.start - start
        count = max(1, min(self.end - start, len(line)) - before)
        # A tab indents the caret as far as it indents the formula.
        indent = "".join("\t" if char == "\t" else " " for char in line[:before]).ljust(before)
        return f"    {line}\n    {indent}{'^' * count}"


#: The most errors of one file that a message lists.
MOST_ERRORS = 6


class FormulasError(BackproofError, ValueError):
    """Formulas of which at least one cannot be used, or which do not form a network."""

    def __init__(self, errors: Sequence[FormulaError | str]) -> None:
        more = [f"and {len(errors) - MOST_ERRORS} more errors"] * (len(errors) > MOST_ERRORS)
        super().__init__("\n".join([*map(str, errors[:MOST_ERRORS]), *more]))
        self.errors = tuple(errors)
