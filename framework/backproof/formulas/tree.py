"""The tree of a formula, and its printed form.

Every node has a span: the range of characters of the formula that it was parsed from.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

#: The printed form of each function.
FUNCTIONS = {"phi": "φ", "dphi": "φ'", "exp": "exp", "log": "log"}


@dataclass(frozen=True)
class Span:
    """A range of characters. Nodes that differ only in their span are equal."""

    start: int = field(compare=False)
    end: int = field(compare=False)


@dataclass(frozen=True)
class Index(Span):
    """An index in brackets: a letter, or a whole number counted from 0."""

    value: str | int


@dataclass(frozen=True)
class Number(Span):
    """A number."""

    value: float


@dataclass(frozen=True)
class Samples(Span):
    """N, the number of samples."""


@dataclass(frozen=True)
class Entry(Span):
    """An entry of an array, such as W2[k,h]."""

    name: str
    indices: tuple[Index, ...]


@dataclass(frozen=True)
class Apply(Span):
    """A function of one number, such as dphi(a1[n,h])."""

    function: str
    argument: Node


@dataclass(frozen=True)
class Product(Span):
    """A product of factors, each with whether the product is divided by it."""

    factors: tuple[tuple[Node, bool], ...]


@dataclass(frozen=True)
class Total(Span):
    """A sum of terms, each with whether it is subtracted."""

    terms: tuple[tuple[Node, bool], ...]


@dataclass(frozen=True)
class Power(Span):
    """base ** exponent."""

    base: Node
    exponent: Node


@dataclass(frozen=True)
class Sum(Span):
    """A sum over letters, such as sum[n,k] body."""

    letters: tuple[Index, ...]
    body: Node


Node: TypeAlias = Number | Samples | Entry | Apply | Product | Total | Power | Sum


def children(node: Node) -> tuple[Node, ...]:
    """Return the child nodes."""
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
    """Return the letters not bound by a sum, each with its first occurrence."""
    if isinstance(node, Entry):
        return {index.value: index for index in node.indices if isinstance(index.value, str)}
    letters: dict[str, Index] = {}
    for child in children(node):
        letters |= {letter: index for letter, index in free(child).items() if letter not in letters}
    bound = {index.value for index in node.letters} if isinstance(node, Sum) else set[str | int]()
    return {letter: index for letter, index in letters.items() if letter not in bound}


# The precedence of each node, for parentheses.
_TOTAL, _SUM, _PRODUCT, _POWER, _ATOM = range(5)


def to_text(node: Node) -> str:
    """Return the formula as printed in reports: Σ_nk (p_nk − y_nk) (W2)_kh φ'((a1)_nh) x_nd / N."""
    match node:
        case Number(value=value):
            return f"{value:.12g}"
        case Samples():
            return "N"
        case Entry(name=name, indices=indices):
            return f"{name if len(name) == 1 else f'({name})'}_{_letters(indices)}"
        case Apply(function=function, argument=argument):
            return f"{FUNCTIONS[function]}({to_text(argument)})"
        case Power(base=base, exponent=exponent):
            return f"{_parenthesized(base, _ATOM)}^{_parenthesized(exponent, _ATOM)}"
        case Sum(letters=letters, body=body):
            return f"Σ_{_letters(letters)} {_parenthesized(body, _SUM)}"
        case Product(factors=factors):
            return _product(factors)
        case Total(terms=terms):
            (first, negative), *others = terms
            text = ("−" if negative else "") + _parenthesized(first, _SUM)
            return text + "".join(
                f" {'−' if minus else '+'} {_parenthesized(term, _SUM)}" for term, minus in others
            )


def _product(factors: tuple[tuple[Node, bool], ...]) -> str:
    """Return numerators, then denominators: a factor after a quotient could be read as part of the denominator."""
    numerators = [factor for factor, inverted in factors if not inverted]
    denominators = [factor for factor, inverted in factors if inverted]
    last = len(numerators) - 1
    # A sum extends to the end of its term, so only as the last factor it needs no parentheses.
    text = " ".join(
        _parenthesized(factor, _SUM if i == last and not denominators else _POWER)
        for i, factor in enumerate(numerators)
    )
    if not denominators:
        return text or "1"
    divisor = " ".join(_parenthesized(factor, _POWER) for factor in denominators)
    return (text or "1") + (f" / ({divisor})" if len(denominators) > 1 else f" / {divisor}")


def _parenthesized(node: Node, minimum: int) -> str:
    """Return the node, in parentheses if its precedence is below `minimum`."""
    match node:
        case Total():
            precedence = _TOTAL
        case Sum():
            precedence = _SUM
        case Product():
            precedence = _PRODUCT
        case Power():
            precedence = _POWER
        case _:
            precedence = _ATOM
    return to_text(node) if precedence >= minimum else f"({to_text(node)})"


def _letters(indices: tuple[Index, ...]) -> str:
    values = [str(index.value) for index in indices]
    single = all(len(value) == 1 for value in values)
    return "".join(values) if single else "{" + ",".join(values) + "}"
