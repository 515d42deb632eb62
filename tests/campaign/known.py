"""Kinds of cases that fail today, and why. An entry goes when its mend lands.

The whole campaign prints and counts them. It fails for an entry of whose cases none fails any more.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Known:
    """Cases whose whole id matches `pattern`, the faults that they are known for, and the reason."""

    pattern: str
    faults: tuple[str, ...]
    reason: str

    def matches(self, case_id: str) -> bool:
        """Return whether this entry is about a case."""
        return re.fullmatch(self.pattern, case_id, re.DOTALL) is not None

    def covers(self, faults: list[str]) -> bool:
        """Return whether the faults of a case are those of this entry; each may go on with more words."""
        return bool(faults) and all(fault.startswith(self.faults) for fault in faults)


KNOWN: tuple[Known, ...] = (
    Known(
        r"kills: single runs.*",
        ("1 runs are", "2 runs are", "3 runs are"),
        "a single run that was killed stays RUNNING (F6)",
    ),
    Known(r"servers: paths outside.*", ("files were written",), "artifacts go where a server says (S6)"),
    Known(r"servers: .*", ("hang", "what was measured"), "servers that are waited for without end (F7, F21)"),
    Known(r"full disks: .*", ("traceback", "long"), "the libraries' own output about a full disk (F10)"),
)


def known(case_id: str) -> list[Known]:
    """Return the entries about a case."""
    return [entry for entry in KNOWN if entry.matches(case_id)]
