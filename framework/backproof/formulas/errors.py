"""What is wrong with a formula, and where in it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from backproof.contracts.errors import BackproofError


class FormulaError(BackproofError, ValueError):
    """A formula that cannot be used. The message names the tensor and points at the place in the formula.

    start, end  the place, as a range of the characters of `text`, which is the formula as it was written
    """

    def __init__(self, reason: str, expected: str, start: int, end: int) -> None:
        super().__init__(reason)
        self.reason, self.expected = reason, expected
        self.start, self.end = start, max(end, start + 1)
        self.tensor, self.text = "", ""
        #: Where the formula stands in its file.
        self.place = ""

    def of(self, tensor: str, text: str) -> FormulaError:
        """The same error, of this tensor's formula."""
        self.tensor, self.text = tensor, text
        return self

    def __str__(self) -> str:
        where = f"{self.tensor}: " if self.tensor else ""
        return f"{self.place}{where}{self.reason}\n{self.pointer()}\n    expected {self.expected}"

    def pointer(self) -> str:
        """The line of the formula that holds the place, and carets below the place."""
        start = self.text.rfind("\n", 0, self.start) + 1
        line = self.text[start:].partition("\n")[0]
        before = self.start - start
        count = max(1, min(self.end - start, len(line)) - before)
        # A tab moves the caret as far as it moves the formula.
        indent = "".join("\t" if each == "\t" else " " for each in line[:before]).ljust(before)
        return f"    {line}\n    {indent}{'^' * count}"


class FormulasError(BackproofError, ValueError):
    """Formulas of which at least one cannot be used, or which do not belong together."""

    def __init__(self, errors: Sequence[FormulaError | str]) -> None:
        super().__init__("\n".join(map(str, errors)))
        self.errors = tuple(errors)


def nearest(name: str, names: Iterable[str]) -> str:
    """', did you mean ...?' where some of `names` are close to `name`."""
    known = list(names)
    same = [each for each in known if each.lower() == name.lower()]
    close = same or difflib.get_close_matches(name, known, n=2, cutoff=0.5)
    return f", did you mean {' or '.join(close)}?" if close else ""
