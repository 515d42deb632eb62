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


_REFUSAL = ("traceback", "not exit code 2", "wrongly accepted")
_PLUGIN = ("traceback", "not exit code 2", "exit code", "the plugin's file is not named", "looks like success")
KNOWN: tuple[Known, ...] = (
    Known(r"CSV: option: .* metrics=\[null\]", _REFUSAL, "metrics=[null] (F9)"),
    Known(
        r"(keys|groups).*=\[?(18446744073709551616|99999999999999999999)\]?( with .*)?",
        _REFUSAL,
        "whole numbers beyond 64 bits (F8)",
    ),
    Known(
        r"keys in sweeps: outputs=-1", ("traceback",), "outputs=-1 in a sweep: the number is taken for a path"
    ),
    Known(r"keys.*=\?\?\?( with .*)?", _REFUSAL, "a missing value of a plugin's key: its default is taken"),
    Known(r"keys: .*=(2|9223372036854775808|-1)", ("wrongly accepted",), "any whole number as true or false"),
    Known(
        r"groups.*", _REFUSAL, "a list, a mapping or a reference where a plugin or a section is expected (F9)"
    ),
    Known(r"plugins: import: .*", (*_PLUGIN, "hang"), "what a plugin raises at import (F2)"),
    Known(r"plugins: listed: .*", (*_PLUGIN, "wrongly refused"), "a broken plugin in the list (F2)"),
    Known(r"unused plugins: .*", (*_PLUGIN, "wrongly refused", "hang"), "a broken plugin nobody uses (F2)"),
    Known(r"plugins: (check|train|load): .*", _PLUGIN, "what a plugin raises in a call (F17)"),
    Known(
        r"stores: .*",
        (
            "traceback",
            "escape sequences",
            "a command of others",
            "files outside",
            "no JSON",
            "0 of",
            "1 of",
            "2 of",
        ),
        "foreign values of a store are believed (S1, S2, S5, F14)",
    ),
    Known(r"kills: .*", ("1 runs are", "2 runs are", "3 runs are"), "a killed single run stays RUNNING (F6)"),
    Known(r"starts: .*", ("exit code 2", "hang"), "many starts together are refused (F1)"),
    Known(r"servers: .*", ("hang", "what was measured"), "servers that are waited for without end (F7, F21)"),
    Known(
        r"full disks: .*",
        ("traceback", "exit code 2", "long", "hang"),
        "an interrupted creation of the store (F10)",
    ),
)


def known(case_id: str) -> list[Known]:
    """Return the entries about a case."""
    return [entry for entry in KNOWN if entry.matches(case_id)]
