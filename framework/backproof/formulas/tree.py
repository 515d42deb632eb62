"""A formula as a tree, and the tree as a person reads it.

Every node knows its place: the range of characters of the formula that it was read from.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

#: How a function is written in a report.
FUNCTIONS = {"phi": "φ", "dphi": "φ'", "exp": "exp", "log": "log"}


@dataclass(frozen=True)
class Place:
    """A range of characters. Two nodes that differ only in their place are equal."""

    start: int = field(compare=False)
    end: int = field(compare=False)


@dataclass(frozen=True)
class Index(Place):
    """What stands in brackets: a letter, or a whole number counted from 0."""

    value: str | int


@dataclass(frozen=True)
class Number(Place):
    value: float


@dataclass(frozen=True)
class Samples(Place):
    """N, the number of samples."""


@dataclass(frozen=True)
class Entry(Place):
    """An entry of an array: W2[k,h]."""

    name: str
    indices: tuple[Index, ...]


@dataclass(frozen=True)
class Apply(Place):
    """A function of one number, applied entry by entry: dphi(a1[n,h])."""

    function: str
    argument: Node


@dataclass(frozen=True)
class Product(Place):
    """Factors, each with whether it is divided by."""

    factors: tuple[tuple[Node, bool], ...]


@dataclass(frozen=True)
class Total(Place):
    """Terms, each with whether it is subtracted."""

    terms: tuple[tuple[Node, bool], ...]


@dataclass(frozen=True)
class Power(Place):
    base: Node
    exponent: Node


@dataclass(frozen=True)
class Sum(Place):
    """sum[n,k] body."""

    letters: tuple[Index, ...]
    body: Node


Node: TypeAlias = Number | Samples | Entry | Apply | Product | Total | Power | Sum


def children(node: Node) -> tuple[Node, ...]:
    """The nodes right below."""
    match node:
        case Apply(argument=argument):
            return (argument,)
        case Product(factors=parts) | Total(terms=parts):
            return tuple(part for part, _ in parts)
        case Power(base=base, exponent=exponent):
            return (base, exponent)
        case Sum(body=body):
            return (body,)
        case _:
            return ()


def free(node: Node) -> dict[str, Index]:
    """The letters that no sum binds, each where it first stands."""
    if isinstance(node, Entry):
        return {each.value: each for each in node.indices if isinstance(each.value, str)}
    found: dict[str, Index] = {}
    for child in children(node):
        found |= {letter: index for letter, index in free(child).items() if letter not in found}
    bound = {each.value for each in node.letters} if isinstance(node, Sum) else set[str | int]()
    return {letter: index for letter, index in found.items() if letter not in bound}


# How tightly a node holds together, for parentheses.
_TOTAL, _SUM, _PRODUCT, _POWER, _ATOM = range(5)


def shown(node: Node) -> str:
    """As in a report: Σ_nk (p_nk − y_nk) (W2)_kh φ'((a1)_nh) x_nd / N."""
    match node:
        case Number(value=value):
            return f"{value:.12g}"
        case Samples():
            return "N"
        case Entry(name=name, indices=indices):
            return f"{name if len(name) == 1 else f'({name})'}_{_letters(indices)}"
        case Apply(function=function, argument=argument):
            return f"{FUNCTIONS[function]}({shown(argument)})"
        case Power(base=base, exponent=exponent):
            return f"{_held(base, _ATOM)}^{_held(exponent, _ATOM)}"
        case Sum(letters=letters, body=body):
            return f"Σ_{_letters(letters)} {_held(body, _SUM)}"
        case Product(factors=factors):
            return _product(factors)
        case Total(terms=terms):
            (first, negative), *others = terms
            text = ("−" if negative else "") + _held(first, _SUM)
            return text + "".join(f" {'−' if minus else '+'} {_held(each, _SUM)}" for each, minus in others)


def _product(factors: tuple[tuple[Node, bool], ...]) -> str:
    """Numerators, then denominators: a factor behind a quotient could be read as below the line."""
    above = [each for each, below in factors if not below]
    below = [each for each, below in factors if below]
    last = len(above) - 1
    # A sum reaches to the end of its term, so only the last factor needs no parentheses around it.
    text = " ".join(_held(each, _SUM if i == last and not below else _POWER) for i, each in enumerate(above))
    held = " ".join(_held(each, _POWER) for each in below)
    return (text or "1") + (f" / ({held})" if len(below) > 1 else f" / {held}" if below else "")


def _held(node: Node, least: int) -> str:
    match node:
        case Total():
            tightness = _TOTAL
        case Sum():
            tightness = _SUM
        case Product():
            tightness = _PRODUCT
        case Power():
            tightness = _POWER
        case _:
            tightness = _ATOM
    return shown(node) if tightness >= least else f"({shown(node)})"


def _letters(indices: tuple[Index, ...]) -> str:
    values = [str(each.value) for each in indices]
    plain = all(len(each) == 1 for each in values)
    return "".join(values) if plain else "{" + ",".join(values) + "}"
