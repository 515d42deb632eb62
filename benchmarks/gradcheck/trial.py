"""The trial: every checker on every claimed gradient."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from benchmarks.gradcheck.checkers import Checker
from benchmarks.gradcheck.mistakes import MISTAKES, Rule
from benchmarks.gradcheck.problems import SAME, Problem, problems

#: The properties of a network: activation, moment, dtype.
Key = tuple[str, str, str]


@dataclass
class Tally:
    """The verdicts of one checker, by (activation, moment, dtype), after the mistake for wrong gradients."""

    rejected: Counter[Key] = field(default_factory=Counter[Key])
    accepted: Counter[tuple[str, Key]] = field(default_factory=Counter[tuple[str, Key]])
    #: The numbers of right and of wrong gradients that it could not judge.
    untested_right: int = 0
    untested_wrong: int = 0
    #: Its wrong verdicts, in words.
    errors: list[str] = field(default_factory=list[str])


@dataclass
class Trial:
    """The numbers of gradients checked, and the verdicts of each checker."""

    right: Counter[Key] = field(default_factory=Counter[Key])
    wrong: Counter[tuple[str, Key]] = field(default_factory=Counter[tuple[str, Key]])
    equivalent: Counter[str] = field(default_factory=Counter[str])
    tallies: dict[str, Tally] = field(default_factory=dict[str, Tally])


def trial(checkers: Sequence[Checker], rights: int, wrongs: int, every: int = 1) -> Trial:
    """Check right gradients on `rights` networks of each combination, and every mistake on `wrongs` others.

    Use only one in `every` of the combinations of activation, depth, moment and dtype.
    """
    result = Trial(tallies={checker.name: Tally() for checker in checkers})
    checks = {checker.name: checker.make() for checker in checkers}
    for problem in _counted(problems(rights, 0, every), "right gradients"):
        key = _key(problem)
        result.right[key] += 1
        for name, check in checks.items():
            accepted = check(problem.candidate(None))
            result.tallies[name].untested_right += accepted is None
            if accepted is False:
                result.tallies[name].rejected[key] += 1
                result.tallies[name].errors.append(f"rejected the right gradient: {problem.label}")
    for problem in _counted(problems(wrongs, 1, every), "networks with mistakes"):
        for mistake, rule in MISTAKES.items():
            gap = problem.gap(rule)
            if gap <= SAME:
                result.equivalent[mistake] += 1
                continue
            key = mistake, _key(problem)
            result.wrong[key] += 1
            for name, check in checks.items():
                accepted = check(problem.candidate(rule))
                result.tallies[name].untested_wrong += accepted is None
                if accepted:
                    result.tallies[name].accepted[key] += 1
                    error = f"off by {gap:.1e} of the gradient's norm"
                    result.tallies[name].errors.append(f"accepted: {mistake}: {problem.label}: {error}")
    return result


def agrees(problem: Problem) -> bool:
    """Return whether the backward pass of mistakes.py, without a mistake, equals the network's own."""
    return problem.gap(Rule()) <= SAME


def _key(problem: Problem) -> Key:
    return problem.net.activation.name, problem.moment, str(problem.theta.dtype)


def _counted(problems: Iterable[Problem], name: str) -> Iterable[Problem]:
    """Yield the problems, report their count on stderr, and make sure that the two right gradients agree."""
    for number, problem in enumerate(problems, start=1):
        if not agrees(problem):
            raise AssertionError(f"the two right gradients differ: {problem.label}")
        if number % 36 == 0:
            print(f"{number} {name}", file=sys.stderr)
        yield problem
