"""The trial: every checker on every claimed gradient."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from benchmarks.gradcheck.checkers import Checker
from benchmarks.gradcheck.mistakes import MISTAKES, Rule
from benchmarks.gradcheck.problems import SAME, Problem, problems

#: What a network is: activation, moment, dtype.
Key = tuple[str, str, str]


@dataclass
class Tally:
    """What one checker said. Keys: (activation, moment, dtype), and with the mistake before them."""

    rejected: Counter[Key] = field(default_factory=Counter[Key])
    accepted: Counter[tuple[str, Key]] = field(default_factory=Counter[tuple[str, Key]])
    #: How many right and how many wrong gradients it could not judge.
    untested_right: int = 0
    untested_wrong: int = 0
    #: What it got wrong, in words.
    errors: list[str] = field(default_factory=list[str])


@dataclass
class Trial:
    """All that was asked, and each checker's answers."""

    right: Counter[Key] = field(default_factory=Counter[Key])
    wrong: Counter[tuple[str, Key]] = field(default_factory=Counter[tuple[str, Key]])
    equivalent: Counter[str] = field(default_factory=Counter[str])
    tallies: dict[str, Tally] = field(default_factory=dict[str, Tally])


def trial(checkers: Sequence[Checker], rights: int, wrongs: int, every: int = 1) -> Trial:
    """Right gradients on `rights` networks of every sort; every mistake on `wrongs` others of every sort. `every`
    takes one sort in so many."""
    found = Trial(tallies={each.name: Tally() for each in checkers})
    checks = {each.name: each.make() for each in checkers}
    for problem in _counted(problems(rights, 0, every), "right gradients"):
        key = _key(problem)
        found.right[key] += 1
        for name, check in checks.items():
            accepted = check(problem.given(None))
            found.tallies[name].untested_right += accepted is None
            if accepted is False:
                found.tallies[name].rejected[key] += 1
                found.tallies[name].errors.append(f"rejected the right gradient: {problem.label}")
    for problem in _counted(problems(wrongs, 1, every), "networks with mistakes"):
        for mistake, rule in MISTAKES.items():
            gap = problem.gap(rule)
            if gap <= SAME:
                found.equivalent[mistake] += 1
                continue
            key = mistake, _key(problem)
            found.wrong[key] += 1
            for name, check in checks.items():
                accepted = check(problem.given(rule))
                found.tallies[name].untested_wrong += accepted is None
                if accepted:
                    found.tallies[name].accepted[key] += 1
                    off = f"off by {gap:.1e} of the gradient's norm"
                    found.tallies[name].errors.append(f"accepted: {mistake}: {problem.label}: {off}")
    return found


def agrees(problem: Problem) -> bool:
    """Whether the plain backward pass of mistakes.py, without one, is the network's own."""
    return problem.gap(Rule()) <= SAME


def _key(problem: Problem) -> Key:
    return problem.net.activation.name, problem.moment, str(problem.theta.dtype)


def _counted(each: Iterable[Problem], what: str) -> Iterable[Problem]:
    """The problems, with a count on stderr, and a check of the checks."""
    for number, problem in enumerate(each, start=1):
        if not agrees(problem):
            raise AssertionError(f"two right gradients differ, so neither can be told right: {problem.label}")
        if number % 36 == 0:
            print(f"{number} {what}", file=sys.stderr)
        yield problem
