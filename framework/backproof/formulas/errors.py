"""Errors in formulas, which point at the place in the formula."""

from __future__ import annotations

from collections.abc import Sequence

from backproof.contracts.errors import BackproofError


class FormulaError(BackproofError, ValueError):
    """A formula that cannot be used. The message names the tensor and points at the place in the formula.

    start, end  the place, as a range of characters of `text`, the formula as written
    """

    def __init__(self, reason: str, expected: str, start: int, end: int) -> None:
        super().__init__(reason)
        self.reason, self.expected = reason, expected
        self.start, self.end = start, max(end, start + 1)
        self.tensor, self.text = "", ""
        #: The location of the formula: its derivation or file.
        self.place = ""

    def of(self, tensor: str, text: str) -> FormulaError:
        """Attach the tensor and its formula, and return the error."""
        self.tensor, self.text = tensor, text
        return self

    def __str__(self) -> str:
        where = f"{self.tensor}: " if self.tensor else ""
        return f"{self.place}{where}{self.reason}\n{self.pointer()}\n    expected {self.expected}"

    def pointer(self) -> str:
        """Return the line of the formula with the error, and carets below the place."""
        start = self.text.rfind("\n", 0, self.start) + 1
        line = self.text[start:].partition("\n")[0]
        before = self.start - start
        count = max(1, min(self.end - start, len(line)) - before)
        # A tab indents the caret as far as it indents the formula.
        indent = "".join("\t" if char == "\t" else " " for char in line[:before]).ljust(before)
        return f"    {line}\n    {indent}{'^' * count}"


class FormulasError(BackproofError, ValueError):
    """A set of formulas of which at least one cannot be used, or that do not form a network."""

    def __init__(self, errors: Sequence[FormulaError | str]) -> None:
        super().__init__("\n".join(map(str, errors)))
        self.errors = tuple(errors)
