"""Errors of Hydra and OmegaConf, translated into messages that a user can act on."""

from __future__ import annotations

import re
import traceback
from pathlib import Path

from hydra.errors import (
    ConfigCompositionException,
    HydraException,
    MissingConfigException,
    OverrideParseException,
)
from omegaconf.errors import OmegaConfBaseException, ValidationError

from backproof.app import config
from backproof.contracts import KINDS
from backproof.contracts.errors import BackproofError, PluginError, UsageError, did_you_mean
from backproof.discovery.registry import Registry


def translated(error: Exception, plugins: Registry) -> UsageError | None:
    """Return an error of Hydra or OmegaConf as a UsageError with the same notes, None for another error."""
    # For a missing file, or a folder that cannot be written, the command prints its name.
    if isinstance(error, BackproofError) or getattr(error, "filename", None) is not None:
        return None
    message = _hydra_message(error, plugins)
    if message is None:
        return None
    explained = UsageError(message)
    for note in getattr(error, "__notes__", []):
        explained.add_note(note)
    return explained


def _hydra_message(error: Exception, plugins: Registry) -> str | None:
    """Return what an error of Hydra or OmegaConf means to the user, None for another error."""
    if isinstance(error, OverrideParseException):
        return _no_override(error)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file is not None:
        return _missing(error, plugins)
    if isinstance(error, ValueError) and str(error).startswith("Config group override must be"):
        got = "null" if "NoneType" in str(error) else "a number"
        named = f"plugins and experiments are chosen by name, as {config.SINGLE[1]}=NAME; got {got}"
        return f"{named}\nFor the default leave the override out"
    if isinstance(error, ConfigCompositionException | OmegaConfBaseException):
        return _composition(error, plugins)
    if isinstance(error, ValueError | OSError | HydraException):
        return str(error)
    return _inside_hydra(error)


def _inside_hydra(error: Exception) -> str | None:
    """Explain an error that Hydra or OmegaConf did not expect: a value that does not belong in its place."""
    key = re.search(r"full_key: (\S+)", str(error))
    if isinstance(error, OverflowError) and key is not None:
        return f"{key[1]}: got a whole number of too many digits, expected a finite number"
    files = [Path(frame.filename) for frame in traceback.extract_tb(error.__traceback__)]
    file = next((file for file in reversed(files) if file.is_absolute()), Path())
    if file.name == "defaults_list.py":
        return (
            f"plugins and experiments are chosen by one name, as {config.SINGLE[1]}=NAME; "
            "got a list with something else in it"
        )
    if not {"hydra", "omegaconf"} & set(file.parts):
        return None
    return (
        f"Hydra cannot use these arguments: {type(error).__name__}: {_first(error)}\nGroups are chosen by name, as "
        "hydra/launcher=basic; `backproof train --hydra-help` lists Hydra's options"
    )


def _no_override(error: OverrideParseException) -> str:
    """Explain a word that is not KEY=VALUE, or a value that Hydra's grammar does not accept."""
    word = str(error.override)
    key, equals, value = word.partition("=")
    if not equals or not key:
        return f"{word!r} is not an override\nExpected KEY=VALUE without spaces, as optimizer.lr=0.1"
    return (
        f"{key}: the value {value!r} cannot be read\n"
        f"Brackets and quotes come in pairs, as in model.hidden=[64,32]; text with special characters needs "
        f"quotes: \"{key}='...'\""
    )


def _first(error: BaseException) -> str:
    return str(error).strip().splitlines()[0].rstrip(".")


def _missing(error: MissingConfigException, plugins: Registry) -> str:
    """Explain an unknown plugin, or an unknown choice of another config group."""
    path = str(error.missing_cfg_file)
    group, _, name = path.rpartition("/")
    options = [str(option) for option in error.options or []]
    if group in ("gradcheck", "tracking"):
        options = ["on", "off"]
    listed = f"\nThere are: {', '.join(sorted(options))}" if options else ""
    if group in KINDS:
        try:
            plugins.entry(group, name)
        except PluginError as problem:
            # A file of that name was found, but is not a plugin.
            if problem.__cause__ is not None:
                return str(problem)
    if not group:
        return f"there is no config {name!r}{did_you_mean(name, options)}{listed}"
    return f"no {group} is called {name!r}{did_you_mean(name, options)}{listed}"


def _composition(error: BaseException, plugins: Registry) -> str:
    """Explain an unknown key or a value of the wrong type, with what is close to it."""
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    first = _first(cause)
    full_key = getattr(cause, "full_key", None)
    if isinstance(cause, OmegaConfBaseException) and full_key:
        text, key = str(cause), str(full_key)
        if "not in" in first or "not in struct" in text:
            return _unknown(key, plugins)
        if "does not support deletion" in first:
            return f"{key} cannot be removed from the config: give it a value"
        if key in config.SECTIONS:
            keys = [name for name in config.keys(plugins) if name.startswith(f"{key}.")]
            return f"{key} is a section: set its keys one by one\n{key} has: {', '.join(keys)}"
        expected = config.expected(plugins, key.partition("[")[0])
        if isinstance(cause, ValidationError) and expected:
            return f"{key}: got {_refused_value(cause)}, expected {expected}"
        return f"{key}: {first}"
    message = _first(error)
    if message.startswith(("Ambiguous value for argument", "Sweep parameters")):
        return (
            f"{message.split(chr(39))[1]}: several values for one run\n"
            "One run for each of them: backproof train -m ...; a list as a value: KEY=[a,b]"
        )
    key = _key_of(message)
    if key:
        return _unknown(key, plugins)
    group = message.partition("In '")[2].partition("/")[0]
    if group in config.SINGLE:
        return f"{group}: one plugin is expected, as {group}={plugins.names(group)[0]}"
    return message


def _refused_value(error: OmegaConfBaseException) -> str:
    """Return the value that OmegaConf refused, or its type: only the message has it."""
    message = _first(error)
    if "not Optional" in message:
        return "nothing"
    value = re.search(r"Value '(.*)' of type '(\w+)'", message, re.DOTALL)
    if value is not None:
        return repr(value[1]) if value[2] == "str" else value[1]
    kind = re.search(r"Invalid value assigned: (\w+)", message)
    words = {"int": "a number", "float": "a number", "str": "text", "bool": "true or false"}
    return words.get(kind[1], kind[1]) if kind else "another kind of value"


def _key_of(message: str) -> str | None:
    """Return the key of Hydra's "Could not override 'a.b'", None for another message."""
    head = message.partition("Could not override '")[2]
    return head.partition("'")[0] or None


def _unknown(key: str, plugins: Registry) -> str:
    """Explain an unknown key: whose it is, or which keys are close to it."""
    key = key.replace("@", ".").lstrip("+~")
    known = config.keys(plugins)
    group, _, last = key.rpartition(".")
    owners = config.owners(plugins, group, last)
    if owners:
        listed = " and ".join(f"{group}={name}" for name in owners)
        return f"the {group} chosen has no {last!r}: {key} belongs to {listed}"
    siblings = [name for name in known if name.rpartition(".")[0] == group]
    full_names = [] if group else [name for name in known if name.endswith(f".{last}")]
    hint = f", did you mean {' or '.join(full_names)}?" if full_names else did_you_mean(key, known)
    whose = f"the {group}s have" if group in config.SINGLE else f"{group} has"
    names = ", ".join(name.rpartition(".")[2] for name in siblings)
    listed = f"\n{whose}: {names}" if group and siblings else ""
    return f"there is no key {key!r}{hint}{listed}\n`backproof train --help` shows all keys"
