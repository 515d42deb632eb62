"""Make and check the points of a space that a plugin describes. The caller supplies the values."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from backproof.contracts import Space
from backproof.contracts.errors import InvalidValue, PluginError

#: Sections that configure the sweep itself and so are not part of its points.
NOT_OF_A_POINT = ("sweep", "hydra", "tracking", "outputs")
#: The most combinations of choices that are tried before a sweep starts.
MOST = 24
#: Text that needs no quotes in an override.
PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
KEY = re.compile(r"[A-Za-z_]\w*(\.\w+)*")


@dataclass(frozen=True)
class Interval:
    """Numbers from `low` to `high`, both included."""

    low: float
    high: float
    log: bool = False
    step: float | None = None
    integer: bool = False

    def __str__(self) -> str:
        ends = f"{self.low:g} to {self.high:g}"
        return (
            ends + (f" in steps of {self.step:g}" if self.step else "") + (", logarithmic" if self.log else "")
        )


#: The values of a name: a range, or choices.
Domain = Interval | tuple[Any, ...]
#: Returns the value of a name.
Take = Callable[[str, Domain], Any]


@dataclass
class Suggestions:
    """The `trial` that a space asks for values. It records the domains and the values."""

    take: Take
    domains: dict[str, Domain] = field(default_factory=dict[str, Domain])
    values: dict[str, Any] = field(default_factory=dict[str, Any])

    def suggest_float(
        self, name: str, low: float, high: float, *, log: bool = False, step: float | None = None
    ) -> float:
        """See `contracts.space.Suggest`."""
        return float(self._ask(name, Interval(float(low), float(high), log, step)))

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False, step: int = 1) -> int:
        """See `contracts.space.Suggest`."""
        return int(self._ask(name, Interval(low, high, log, None if step == 1 else step, integer=True)))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """See `contracts.space.Suggest`."""
        return self._ask(name, tuple(choices))

    def _ask(self, name: str, domain: Domain) -> Any:
        _sound(name, domain)
        if name in self.domains:
            if self.domains[name] != domain:
                raise InvalidValue(name, _words(domain), f"what it was before, {_words(self.domains[name])}")
            return self.values[name]
        self.domains[name] = domain
        self.values[name] = self.take(name, domain)
        return self.values[name]


def _sound(name: str, domain: Domain) -> None:
    if isinstance(domain, Interval):
        if not (math.isfinite(domain.low) and math.isfinite(domain.high) and domain.low <= domain.high):
            raise InvalidValue(name, _words(domain), "a range whose first end is the lower one")
        if domain.log and domain.low <= 0:
            raise InvalidValue(name, _words(domain), "a range above 0, where it is logarithmic")
        if domain.step is not None and (domain.log or not domain.step > 0):
            raise InvalidValue(name, _words(domain), "steps above 0, and none where it is logarithmic")
        return
    if not domain:
        raise InvalidValue(name, [], "one choice or more")
    for choice in domain:
        if not isinstance(choice, str | int | float | bool | None):
            raise InvalidValue(name, choice, "choices that are text, numbers, true, false or null")


def _words(domain: Domain) -> str:
    return str(domain) if isinstance(domain, Interval) else ", ".join(map(str, domain))


def point(space: Space, take: Take) -> tuple[list[str], Suggestions]:
    """Return the overrides of a point and the suggestions that it was made of.

    Raise PluginError, which names the space, for a wrong return value.
    """
    asked = Suggestions(take)
    try:
        returned: object = space.overrides(asked)
        overrides = _overrides(returned)
    except Exception as error:
        at = ", ".join(f"{name}={value}" for name, value in asked.values.items()) or "nothing"
        what = (
            f"{error.field}: got {error.given!r}, expected {error.expected}"
            if isinstance(error, InvalidValue)
            else (f"{type(error).__name__}: {error}")
        )
        raise PluginError(f"the space {space.name!r} is wrong: {what}\nIt was suggested: {at}") from error
    if not asked.values:
        raise PluginError(
            f"the space {space.name!r} is wrong: it requests no suggestion, so all points are the same"
        )
    return overrides, asked


def _overrides(returned: object) -> list[str]:
    if not isinstance(returned, Mapping):
        raise InvalidValue("overrides()", returned, "a mapping from keys to values, as {'optimizer.lr': 0.1}")
    overrides: list[str] = []
    for key, value in cast("Mapping[Any, Any]", returned).items():
        if not isinstance(key, str) or not KEY.fullmatch(key):
            raise InvalidValue("overrides()", key, "a key of the config, as optimizer.lr")
        if key.partition(".")[0] in NOT_OF_A_POINT:
            raise InvalidValue("overrides()", key, f"no key of {', '.join(NOT_OF_A_POINT)}")
        overrides.append(f"{key}={_text(key, value)}")
    return overrides


def _text(key: str, value: Any) -> str:
    """Return a value as written in an override."""
    if isinstance(value, list | tuple):
        return f"[{','.join(_text(key, item) for item in cast('Sequence[Any]', value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, float) and math.isfinite(value):
        return repr(float(value))
    if isinstance(value, str):
        reserved = value.lower() in ("null", "true", "false", "nan", "inf")
        escaped = value.replace("\\", "\\\\").replace("'", "\\'")
        return value if PLAIN.fullmatch(value) and not reserved else f"'{escaped}'"
    raise InvalidValue(key, value, "text, a finite number, true, false, null, or a list of such")


def explore(space: Space) -> Iterator[tuple[list[str], Suggestions]]:
    """Yield points for every combination of choices (at most MOST), so that an error in any of them shows.

    Each combination comes twice: with all numbers at their lower ends and with all at their upper ends.
    """
    todo: list[dict[str, Any]] = [{}]
    for fixed in todo:
        for end in ("low", "high"):

            def take(name: str, domain: Domain, fixed: dict[str, Any] = fixed, end: str = end) -> Any:
                return getattr(domain, end) if isinstance(domain, Interval) else fixed.get(name, domain[0])

            overrides, asked = point(space, take)
            yield overrides, asked
            if end == "high":
                continue
            path = dict(fixed)
            for name, domain in asked.domains.items():
                if isinstance(domain, Interval) or name in fixed:
                    continue
                todo += [path | {name: other} for other in domain[1:]][: MOST - len(todo)]
                path[name] = asked.values[name]
