"""Cases that fail today, and why. The whole campaign prints them, and fails if one passes."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Known:
    """Cases whose id matches `pattern` as a whole, and why they fail."""

    pattern: str
    reason: str

    def matches(self, case_id: str) -> bool:
        """Return whether this entry is about a case."""
        return re.fullmatch(self.pattern, case_id, re.DOTALL) is not None


KNOWN: tuple[Known, ...] = (
    Known(r"CSV: option: .* metrics=\[null\]", "a TypeError for a metric that is null (F9)"),
)


def known(case_id: str) -> Known | None:
    """Return the entry about a case, None if it is expected to hold."""
    return next((entry for entry in KNOWN if entry.matches(case_id)), None)
