"""One attack on the command: its input, what may come of it, and the rules by which its result is judged."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

#: The command must refuse the input: exit code 2 and one block on stderr.
REFUSED = "refused"
#: The input is legitimate: exit code 0.
ACCEPTED = "accepted"
#: The input is inside the key's bounds, or free text, and what it leads to is not known in advance: the command
#: runs (0), reports a failed check or run (1), or refuses it for another reason (2).
EITHER = "either"

#: Seconds without a line of output after which a command counts as hanging, on a machine that has a core for it.
SILENCE = 30.0
#: The most lines of a message.
LINES = 25


@dataclass(frozen=True)
class Case:
    """An attack: the arguments of the command, and the files and environment that it meets.

    `@D` in arguments and environment stands for the folder in which the command runs. `prepare` may fill this
    folder in another way, `inspect` returns what is wrong with it afterwards.
    """

    block: str
    name: str
    args: tuple[str, ...]
    expected: str = EITHER
    files: Mapping[str, str | bytes] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    prepare: Callable[[Path], None] | None = None
    inspect: Callable[[Path, Outcome], list[str]] | None = None
    #: An error of a plugin may show this much of the plugin's own traceback: its file must be named.
    names_file: str | None = None
    #: The error may come when the run has begun: its folder, with the error in it, stays.
    may_begin: bool = False
    #: The command need not end, if this text is on stderr.
    endless: str = ""
    #: Run in the folder of a recorded sweep: see `stores.SWEEPS`.
    store: str = ""

    @property
    def id(self) -> str:
        """The name under which the case is listed in KNOWN."""
        return f"{self.block}: {self.name}"

    def attack(self) -> list[str]:
        """Run the command and return the rules that its result breaks."""
        from tests.campaign import server

        return server.attack(self)[1]


@dataclass(frozen=True)
class Trial:
    """An attack that needs processes of its own: `run` gets an empty folder and returns what is wrong afterwards.

    It raises Skipped, with the reason, where it cannot be made.
    """

    block: str
    name: str
    run: Callable[[Path], list[str]]

    @property
    def id(self) -> str:
        """The name under which the trial is listed in KNOWN."""
        return f"{self.block}: {self.name}"

    def attack(self) -> list[str]:
        """Make the attack and return what is wrong."""
        with tempfile.TemporaryDirectory(prefix="campaign-") as folder:
            return self.run(Path(folder))


def slowdown() -> float:
    """Return how many times longer things take, as more processes want to run than there are cores."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


class Skipped(Exception):
    """An attack that cannot be made on this machine; the message is the reason."""


@dataclass(frozen=True)
class Outcome:
    """What a command did: exit code (negative: the signal that ended it), output, and the files that are new."""

    code: int
    out: str
    err: str
    seconds: float
    hung: bool
    created: tuple[str, ...]


def faults(case: Case, outcome: Outcome) -> list[str]:
    """Return the rules that a result breaks, by name; empty for a case that held."""
    if outcome.hung:
        return [] if case.endless and case.endless in outcome.err else ["hang"]
    broken: list[str] = []
    if "Traceback (most recent call last)" in outcome.out + outcome.err:
        broken.append("traceback")
    if outcome.code not in (0, 1, 2):
        broken.append(f"exit code {outcome.code}")
    if case.expected == REFUSED and outcome.code != 2:
        broken.append("wrongly accepted" if outcome.code == 0 else "not exit code 2")
    if case.expected == ACCEPTED and outcome.code != 0:
        broken.append("wrongly refused")
    if outcome.code == 2:
        if not _one_block(outcome.err):
            broken.append("not one block on stderr")
        if not case.may_begin and outcome.created:
            broken.append(f"left behind {', '.join(outcome.created[:3])}")
        if case.names_file and case.names_file not in outcome.err:
            broken.append("the plugin's file is not named")
    return broken


def _one_block(err: str) -> bool:
    """Return whether stderr holds one message of the command, after warnings of one line each at most."""
    lines = [line for line in err.splitlines() if not line.startswith("backproof: warning: ")]
    starts = [line.startswith("backproof: ") for line in lines]
    return bool(lines) and starts[0] and sum(starts) == 1 and len(lines) <= LINES
