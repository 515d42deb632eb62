"""Find the parameters in which runs differ, without those that others determine."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import cast

from backproof.sweeps.planned import SEED


def varying(params: Sequence[dict[str, str]], swept: Iterable[str] = ()) -> list[str]:
    """Return the parameters in which runs differ; a missing parameter counts as a value.

    The keys of `swept` come first. Others are left out if the selected ones determine them, as the choice of
    `optimizer` determines the default of `optimizer.lr`.
    """
    keys = dict.fromkeys(key for run in params for key in run)
    differ = [key for key in keys if len({run.get(key) for run in params}) > 1]
    first = [key for key in swept if key in differ]
    rest = sorted((key for key in differ if key not in first), key=lambda key: (key.count("."), key == SEED))
    selected = list(first)
    for key in rest:
        owner = key.partition(".")[0]
        deciding = [tuple(first)] if first else [(owner,)] if owner in selected and owner != key else []
        if not any(_decides(params, by, key) for by in deciding):
            selected.append(key)
    return selected


def _decides(params: Sequence[dict[str, str]], by: tuple[str, ...], key: str) -> bool:
    """Return whether runs that agree in `by` agree in `key`."""
    seen: dict[tuple[str | None, ...], str | None] = {}
    return all(
        seen.setdefault(tuple(map(run.get, by)), run.get(key)) == run.get(key)  # type: ignore[arg-type]
        for run in params
    )


def number(text: str | None) -> float | None:
    """Return a parameter's value as a number; None for other text."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def brief(text: str) -> str:
    """Return a parameter's value for display: long numbers are rounded to five digits."""
    value = number(text)
    return text if value is None or len(text) <= 8 or text.isdecimal() else f"{value:.5g}"


def in_order(values: Iterable[str | None]) -> list[str | None]:
    """Return the distinct values: numbers and lists of numbers by size, words in their order, None last."""
    different = list(dict.fromkeys(values))
    present = [value for value in different if value is not None]
    keys = [_sizes(value) for value in present]
    if all(key is not None for key in keys):
        present.sort(key=lambda value: _sizes(value) or [])
    return [*present, *([None] if None in different else [])]


def _sizes(text: str) -> list[float] | None:
    value = number(text)
    if value is not None:
        return [value]
    if not text.startswith("["):
        return None
    try:
        listed = cast("list[object]", json.loads(text))
    except ValueError:
        return None
    numbers = [float(item) for item in listed if isinstance(item, int | float)]
    return numbers if len(numbers) == len(listed) else None


def short(key: str, among: Iterable[str]) -> str:
    """Return `lr` for `optimizer.lr` if no other key ends in it."""
    last = key.rpartition(".")[2]
    return last if sum(other.rpartition(".")[2] == last for other in among) == 1 else key
