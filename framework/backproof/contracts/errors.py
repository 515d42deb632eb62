"""Errors that a user can act on. Each knows its exit code, and the key and the hint that belong to it.

    BackproofError
    ├── InvalidValue           a value of the wrong type or out of bounds          also a ValueError
    ├── UsageError             wrong arguments of a command
    ├── PluginError            a plugin is missing, defined twice, or misused      also a ValueError
    ├── DeclarationError       a class is not declared as a plugin must be         also a TypeError
    ├── FormulaError           an index formula cannot be used (formulas.errors)   also a ValueError
    ├── FormulasError          the formulas of a file (formulas.errors)            also a ValueError
    ├── DerivationError        a derivation did not return a gradient              also a ValueError
    ├── ConformanceError       a plugin breaks its contract                        also an AssertionError
    ├── ModelFileError         a saved model is missing or damaged                 also a ValueError
    ├── TrackingError          runs cannot be recorded or read
    ├── LockedError            another process is writing to the folder            also a ValueError
    ├── LauncherError          a sweep cannot run on these workers                 also a ValueError
    ├── MismatchError          a job is not the one that was planned
    ├── ClusterLostError       all workers of a sweep are gone                     also a RuntimeError
    ├── GradcheckFailedError   the gradient check failed (experiment.run)
    ├── OutputFormError        outputs change their form (gradcheck.function)      also a ValueError
    └── DivergedError          the loss is no longer finite                        also an ArithmeticError

The command prints `explain()` and exits with `exit_code`. Any other exception is a bug; a file gets its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar, cast

#: Exit codes of the command.
FAILED, BAD_INPUT = 1, 2


class BackproofError(Exception):
    """The base class of the errors that a user can act on."""

    exit_code: ClassVar[int] = BAD_INPUT
    #: The config key that the error is about, as `optimizer.lr`.
    key: str | None = None
    #: What to try, as one line.
    hint: str | None = None

    def explain(self) -> str:
        """Return the block that the command prints: what is wrong, and the hint."""
        return "\n".join(filter(None, [self.summary(), self.hint]))

    def summary(self) -> str:
        """Return what is wrong, without the hint."""
        return str(self)


class InvalidValue(BackproofError, ValueError):
    """A value of the wrong type or out of bounds: its `field`, the value `given`, and what was `expected`."""

    def __init__(self, field: str, given: object, expected: str) -> None:
        super().__init__(field, given, expected)
        self.field, self.given, self.expected = field, given, expected
        self.key = field

    def __str__(self) -> str:
        return f"{self.field} must be {self.expected}, got {self.given!r}"

    def summary(self) -> str:
        """Return the key, the value and what was expected, in the syntax of an override."""
        return f"{self.field}: got {override_value(self.given)}, expected {self.expected}"


class UsageError(BackproofError):
    """Wrong arguments of a command."""


class PluginError(BackproofError, ValueError):
    """A plugin that is missing, defined twice, or cannot be built as asked."""


class DeclarationError(BackproofError, TypeError):
    """A class that is not declared as a plugin must be; `lineno` is the line of its file to change."""

    def __init__(self, message: str, lineno: int) -> None:
        super().__init__(message, lineno)
        self.message, self.lineno = message, lineno

    def __str__(self) -> str:
        return self.message


class DerivationError(BackproofError, ValueError):
    """A derivation did not return a gradient; the message names the tensor."""


class ConformanceError(BackproofError, AssertionError):
    """A plugin breaks its kind's contract; the message says what was given and what was expected."""

    exit_code = FAILED


def require(condition: object, message: str) -> None:
    """Raise ConformanceError with `message` unless the condition holds."""
    if not condition:
        raise ConformanceError(message)


class ModelFileError(BackproofError, ValueError):
    """A folder without a model, or with one whose files contradict each other."""


class TrackingError(BackproofError):
    """Runs cannot be recorded or read; the message says where, why, and what to do."""


class LockedError(BackproofError, ValueError):
    """Another process is writing to this folder."""


class LauncherError(BackproofError, ValueError):
    """A sweep cannot run on these workers; the message says why, and what to do."""


class MismatchError(BackproofError):
    """What a job is about to run is not what the sweep planned; the message says what differs."""

    exit_code = FAILED


class ClusterLostError(BackproofError, RuntimeError):
    """The scheduler or all workers are gone."""

    exit_code = FAILED


class DivergedError(BackproofError, ArithmeticError):
    """The loss of a member is no longer finite."""

    exit_code = FAILED
    hint = "Try a lower optimizer.lr, another initializer, or scaled data (data.scaling=standard)"

    def __init__(self, epoch: int, step: int, lr: float, member: int, value: float) -> None:
        super().__init__(epoch, step, lr, member, value)
        self.epoch, self.step, self.lr, self.member, self.value = epoch, step, lr, member, value

    def __str__(self) -> str:
        return f"the loss became {self.value} in epoch {self.epoch}, step {self.step}, at learning rate {self.lr:g}"

    def summary(self) -> str:
        """Return the message, marked as a divergence."""
        return f"diverged: {self}"


def did_you_mean(name: str, names: Iterable[str], n: int = 3) -> str:
    """Return ', did you mean a or b?' with the `n` nearest of `names`, or '' if none is near."""
    known = list(names)
    near = [other for other in known if other.lower() == name.lower()]
    near = near or difflib.get_close_matches(name, known, n=n, cutoff=0.5)
    return f", did you mean {' or '.join(near)}?" if near else ""


def override_value(value: object) -> str:
    """Return a value as written in an override."""
    if isinstance(value, list | tuple):
        return f"[{','.join(map(str, cast('list[object]', value)))}]"
    return "nothing" if value is None else repr(value)
