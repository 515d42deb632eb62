"""Floor 5: what went wrong, as one block that a person can act on."""

from __future__ import annotations

from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf.errors import OmegaConfBaseException

from framework import config
from framework.derived import DerivationError
from framework.experiment import GradcheckFailedError
from framework.kinds.base import InvalidValue
from framework.registry import PluginError, Registry, near
from framework.tracking import TrackingError
from framework.training import DivergedError

BAD_INPUT, FAILED = 2, 1


def explain(error: BaseException, plugins: Registry) -> tuple[str, int] | None:
    """The message and the exit code for an error that a person can do something about; None for a bug of ours."""
    if isinstance(error, GradcheckFailedError):
        return (
            f"the gradient check failed, nothing was trained\n{error}\n"
            "`gradcheck.on_failure=warn` trains all the same",
            FAILED,
        )
    if isinstance(error, DivergedError):
        return (
            f"diverged: {error}\n"
            "Try a lower optimizer.lr, another initializer, or scaled data (data.scaling=standard)",
            FAILED,
        )
    if isinstance(error, InvalidValue):
        return f"{error.field}: got {_shown(error.given)}, expected {error.expected}", BAD_INPUT
    if isinstance(error, OverrideParseException):
        return (
            f"{error.override!r} is no override: {_first(error)}\nExpected KEY=VALUE, as optimizer.lr=0.1",
            BAD_INPUT,
        )
    if isinstance(error, MissingConfigException) and error.missing_cfg_file is not None:
        return _missing(error, plugins), BAD_INPUT
    if isinstance(error, ConfigCompositionException | OmegaConfBaseException):
        return _composition(error, plugins), BAD_INPUT
    # OSError: a file that is not there, a folder that cannot be written.
    if isinstance(error, PluginError | TrackingError | DerivationError | ValueError | OSError | HydraException):
        return str(error), BAD_INPUT
    if isinstance(error, MemoryError):
        return f"out of memory: {error}", FAILED
    return None


def _shown(value: object) -> str:
    return "nothing" if value is None else repr(value)


def _first(error: BaseException) -> str:
    return str(error).strip().splitlines()[0].rstrip(".")


def _missing(error: MissingConfigException, plugins: Registry) -> str:
    """An unknown plugin, or another choice that there is not."""
    path = str(error.missing_cfg_file)
    group, _, name = path.rpartition("/")
    options = [str(each) for each in error.options or []]
    if group in ("gradcheck", "tracking"):
        options = ["on", "off"]
    listed = f"\nThere are: {', '.join(sorted(options))}" if options else ""
    broken = [
        str(file)
        for file, _ in plugins.broken
        if file.stem == name and group in (file.parent.name, "derivation")
    ]
    if broken:
        # Why it is broken was said when the plugins were found.
        return f"{group}={name} cannot be used: {broken[0]} was left out, for the reason above"
    if not group:
        return f"there is no config {name!r}{near(name, options)}{listed}"
    return f"no {group} is called {name!r}{near(name, options)}{listed}"


def _composition(error: BaseException, plugins: Registry) -> str:
    """An unknown key or a value of the wrong type: which, and what is close to it."""
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    first = _first(cause)
    full_key = getattr(cause, "full_key", None)
    if isinstance(cause, OmegaConfBaseException) and full_key:
        text = str(cause)
        if "not in" in first or "not in struct" in text:
            return _unknown(str(full_key), plugins)
        return f"{full_key}: {first}"
    key = _key_of(_first(error))
    return _unknown(key, plugins) if key else _first(error)


def _key_of(message: str) -> str | None:
    """The key in Hydra's 'Could not override 'a.b'' and "In 'config': Could not find 'a/b'"."""
    head = message.partition("Could not override '")[2]
    return head.partition("'")[0] or None


def _unknown(key: str, plugins: Registry) -> str:
    key = key.replace("@", ".").lstrip("+~")
    known = config.keys(plugins)
    group, _, last = key.rpartition(".")
    owners = config.owners(plugins, group, last)
    if owners:
        listed = " and ".join(f"{group}={name}" for name in owners)
        return f"the {group} chosen has no {last!r}: {key} belongs to {listed}"
    same = [each for each in known if each.rpartition(".")[0] == group]
    hint = near(key, known)
    listed = f"\n{group} has: {', '.join(each.rpartition('.')[2] for each in same)}" if group and same else ""
    return f"there is no key {key!r}{hint}{listed}\n`backproof train --help` shows all keys"
