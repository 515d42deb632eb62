"""From the text of a formula to its tree.

    formula   term {(+ | -) term}
    term      [-] factor {(* | /) factor} [(* | /) sum]        or a sum alone
    sum       sum[LETTER, ...] term                            it reaches to the end of its term, as on paper
    factor    power of: NUMBER, N, ARRAY[index, ...], FUNCTION(formula), (formula)
    index     LETTER or a whole number, counted from 0

Python's own parser reads it, after `sum[n,k] ...` has become `sum[n,k] @ ...`: @ binds as * does, so the sum is
met on the way along a chain of factors. Of what Python's grammar has, only the above is let through.
"""

from __future__ import annotations

import ast
import bisect
import keyword
import re
from itertools import pairwise

from backproof.formulas.errors import FormulaError, nearest
from backproof.formulas.tree import (
    FUNCTIONS,
    Apply,
    Entry,
    Index,
    Node,
    Number,
    Power,
    Product,
    Samples,
    Sum,
    Total,
)

#: Limits that no formula on paper comes near.
LONGEST, DEEPEST = 2000, 40

ARRAYS = "x, y, p, z, a1, h1, W1, b1, ..."
GRAMMAR = (
    f"arrays ({ARRAYS}) with their indices, N, numbers, + - * / **, ( ), sum[...] and {', '.join(FUNCTIONS)}"
)
_ARRAY = re.compile(r"[xypz]|[ahWb][0-9]+")
_SUM = re.compile(r"\bsum\s*\[[^\[\]]*\]")
_TOKEN = re.compile(r"[0-9.]+(?:[eE][+-]?[0-9]+)?\w*|\w+|\*\*|\S")
_OTHER_SIGNS = {"−": "-", "–": "-", "·": "*", "×": "*", "^": "**", "÷": "/", "'": "dphi(...)", "Σ": "sum[...]"}
_SIGNS = frozenset("()[],.+-*/ \t\n")


def is_array(name: str) -> bool:
    """Whether it is the name of an array, of a network of whatever depth."""
    return _ARRAY.fullmatch(name) is not None


def parse(text: str) -> Node:
    """The tree of a formula. Raises FormulaError, which points at the place."""
    if not text.strip():
        raise FormulaError("the formula is empty", "as in sum[n] (p[n,k] - y[n,k]) / N", 0, 1)
    if len(text) > LONGEST:
        raise FormulaError(f"the formula has {len(text)} characters", f"at most {LONGEST}", LONGEST, len(text))
    _look_over(text)
    source, offsets = _with_operators(text)
    try:
        tree = ast.parse(source, mode="eval")
    except (SyntaxError, RecursionError, MemoryError, ValueError) as error:
        raise _unreadable(error, text, offsets) from None
    return _Reader(source, offsets).node(tree.body, 0)


def _look_over(text: str) -> None:
    """What is better said than Python says it: foreign signs, open brackets, factors without a sign between."""
    for at, sign in enumerate(text):
        if sign not in _SIGNS and (not f"_{sign}".isidentifier() or sign in _OTHER_SIGNS):
            instead = _OTHER_SIGNS.get(sign)
            raise FormulaError(
                f"{sign!r} is not part of a formula", f"{instead} instead" if instead else GRAMMAR, at, at + 1
            )
    brackets: list[tuple[str, int]] = []
    tokens = list(_TOKEN.finditer(text))
    for token in tokens:
        sign, at = token[0], token.start()
        if keyword.iskeyword(sign):
            raise FormulaError(f"{sign!r} is not part of a formula", GRAMMAR, *token.span())
        if sign in ("(", "["):
            brackets.append((sign, at))
        elif sign in (")", "]"):
            opened = brackets.pop()[0] if brackets else "nothing"
            if opened + sign not in ("()", "[]"):
                raise FormulaError(f"{sign} closes {opened}", "brackets in pairs", at, at + 1)
    if brackets:
        sign, at = brackets[-1]
        raise FormulaError(f"{sign} is never closed", "brackets in pairs", at, at + 1)
    if tokens[-1][0] in ("+", "-", "*", "/", "**"):
        raise FormulaError(f"the formula ends with {tokens[-1][0]}", "something behind it", *tokens[-1].span())
    sums = {match.end() for match in _SUM.finditer(text)}
    for one, other in pairwise(tokens):
        name_or_number = other[0][0].isalnum() or other[0][0] == "_"
        ended = one[0] in (")", "]") or one[0][0].isalnum()
        call = other[0] == "(" and one[0][0].isalpha()
        if ended and not call and one.end() not in sums and (name_or_number or other[0] == "("):
            raise FormulaError("two factors without a sign between them", "a *", other.start(), other.end())


def _with_operators(text: str) -> tuple[str, list[int]]:
    """The text with @ behind each sum[...], and for each of its characters (and the end) where it was."""
    start = len(text) - len(text.lstrip())
    parts: list[str] = []
    offsets: list[int] = []
    for match in _SUM.finditer(text):
        behind = text[match.end() :].lstrip()
        if not behind or behind[0] in ")],+*/":
            raise FormulaError(
                f"{match[0]} is followed by {behind[0] if behind else 'nothing'}",
                "what it sums right behind it, as in sum[n] (p[n,k] - y[n,k]) * h1[n,h]",
                *match.span(),
            )
        parts.append(text[start : match.end()] + "@")
        offsets += [*range(start, match.end()), match.end()]
        start = match.end()
    parts.append(text[start:])
    offsets += range(start, len(text) + 1)
    return "".join(parts).replace("\n", " ").replace("\t", " "), offsets


def _unreadable(error: Exception, text: str, offsets: list[int]) -> FormulaError:
    if not isinstance(error, SyntaxError):
        return FormulaError("the formula is nested too deeply or has a number too long", "less", 0, len(text))
    at = min((error.offset or 1) - 1, len(offsets) - 1)
    place = min(offsets[max(at, 0)], len(text.rstrip()) - 1)
    reason = str(error.msg).partition(".")[0].partition("(")[0].strip()
    return FormulaError(f"it cannot be read from here on: {reason}", GRAMMAR, place, place + 1)


class _Reader:
    """From Python's tree to ours; what is not on the list is an error."""

    def __init__(self, source: str, offsets: list[int]) -> None:
        self.offsets = offsets
        # Python counts columns in bytes.
        self.bytes = [0]
        for sign in source:
            self.bytes.append(self.bytes[-1] + len(sign.encode()))

    def node(self, given: ast.expr, depth: int) -> Node:
        """The tree of an expression."""
        place = self.place(given)
        if depth > DEEPEST:
            raise FormulaError("the formula is nested too deeply", f"at most {DEEPEST} levels", *place)
        match given:
            case ast.Constant(value=int() | float() as value) if type(value) is not bool:
                return Number(*place, _float(value, place))
            case ast.Name(id="N"):
                return Samples(*place)
            case ast.UnaryOp(op=ast.USub(), operand=operand) if not _is_sum(operand):
                return Total(*place, ((self.node(operand, depth + 1), True),))
            case ast.BinOp(op=ast.Add() | ast.Sub()):
                return self.total(given, depth)
            case ast.BinOp(op=ast.Mult() | ast.Div() | ast.MatMult()):
                return self.product(given, depth)
            case ast.BinOp(op=ast.Pow(), left=base, right=exponent):
                return Power(*place, self.node(base, depth + 1), self.node(exponent, depth + 1))
            case ast.Call():
                return self.apply(given, depth)
            case ast.Subscript() if not _is_sum(given):
                return self.entry(given)
            case _:
                raise self.refused(given)

    def place(self, given: ast.expr) -> tuple[int, int]:
        """The range of the formula's characters that an expression was read from."""
        start = bisect.bisect_left(self.bytes, given.col_offset)
        end = bisect.bisect_left(self.bytes, given.end_col_offset or 0)
        return self.offsets[start], self.offsets[end - 1] + 1

    def total(self, given: ast.BinOp, depth: int) -> Node:
        terms: list[tuple[Node, bool]] = []
        left: ast.expr = given
        while isinstance(left, ast.BinOp) and isinstance(left.op, ast.Add | ast.Sub):
            terms.append((self.node(left.right, depth + 1), isinstance(left.op, ast.Sub)))
            left = left.left
        terms.append((self.node(left, depth + 1), False))
        return Total(*self.place(given), tuple(reversed(terms)))

    def product(self, given: ast.BinOp, depth: int) -> Node:
        """A chain of factors. Parentheses leave no trace in Python's tree but that the left side starts later
        than the whole; a chain ends there, and with it the reach of a sum inside."""
        chain: list[tuple[ast.operator, ast.expr]] = []
        left: ast.expr = given
        while isinstance(left, ast.BinOp) and isinstance(left.op, ast.Mult | ast.Div | ast.MatMult):
            chain.append((left.op, left.right))
            if left.left.col_offset != left.col_offset:
                left = left.left
                break
            left = left.left
        chain.append((ast.Mult(), left))
        return self.chain(chain[::-1], depth)

    def chain(self, chain: list[tuple[ast.operator, ast.expr]], depth: int) -> Node:
        factors: list[tuple[Node, bool]] = []
        start, end = self.place(chain[0][1])[0], self.place(chain[-1][1])[1]
        for i, (op, given) in enumerate(chain):
            sign, letters = _sum_of(given)
            below = isinstance(op, ast.Div)
            if letters is None:
                factors.append((self.node(given, depth + 1), below))
                continue
            if below and len(chain) > i + 2:
                raise FormulaError(
                    "it is not clear how far this sum below the line reaches",
                    "parentheses around it: / (sum[...] ...)",
                    *self.place(given),
                )
            at = self.place(letters)[0]
            node: Node = Sum(at, end, self.letters(letters), self.chain(chain[i + 1 :], depth + 1))
            if sign:
                node = Total(self.place(given)[0], end, ((node, True),))
            factors.append((node, below))
            break
        if len(factors) == 1 and not factors[0][1]:
            return factors[0][0]
        return Product(start, end, tuple(factors))

    def letters(self, given: ast.Subscript) -> tuple[Index, ...]:
        """The letters of a sum, each once."""
        found = self.indices(given)
        for i, index in enumerate(found):
            if isinstance(index.value, int):
                raise FormulaError("a sum runs over letters", "as in sum[n,k]", index.start, index.end)
            if index.value in [each.value for each in found[:i]]:
                raise FormulaError(f"{index.value} is summed twice", "each letter once", index.start, index.end)
        return found

    def entry(self, given: ast.Subscript) -> Node:
        place = self.place(given)
        match given.value:
            case ast.Name(id=name) if is_array(name):
                return Entry(*place, name, self.indices(given))
            case ast.Name(id=name) if name in FUNCTIONS:
                raise FormulaError(f"{name} is a function", f"{name}(...)", *place)
            case ast.Name(id="N"):
                raise FormulaError("N is a number, that of the samples", "N without indices", *place)
            case ast.Name(id=name):
                raise self.unknown(name, given.value)
            case ast.Subscript():
                raise FormulaError("indices stand in one pair of brackets", "as in p[n,k]", *place)
            case _:
                raise FormulaError("only an array has indices", f"one of {ARRAYS}", *place)

    def indices(self, given: ast.Subscript) -> tuple[Index, ...]:
        """What stands in the brackets."""
        items = given.slice.elts if isinstance(given.slice, ast.Tuple) else [given.slice]
        found: list[Index] = []
        for item in items:
            place = self.place(item)
            match item:
                case ast.Name(id=name) if not is_array(name) and name not in (*FUNCTIONS, "N", "sum"):
                    found.append(Index(*place, name))
                case ast.Constant(value=value) if type(value) is int:
                    found.append(Index(*place, value))
                case ast.Name(id=name):
                    raise FormulaError(f"{name} is no index", "a letter that names nothing else", *place)
                case _:
                    raise FormulaError("this is no index", "a letter, or a whole number from 0 on", *place)
        if not found:
            raise FormulaError("there are no indices", "letters, as in p[n,k]", *self.place(given))
        return tuple(found)

    def apply(self, given: ast.Call, depth: int) -> Node:
        place = self.place(given)
        match given:
            case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name in FUNCTIONS and not (
                isinstance(argument, ast.Starred)
            ):
                return Apply(*place, name, self.node(argument, depth + 1))
            case ast.Call(func=ast.Name(id=name)) if name in FUNCTIONS:
                raise FormulaError(f"{name} takes one number", f"{name}(...) with one formula in it", *place)
            case ast.Call(func=ast.Name(id="sum")):
                raise FormulaError("a sum names its letters in brackets", "as in sum[n,k] (...)", *place)
            case ast.Call(func=ast.Name(id=name)) if is_array(name):
                raise FormulaError(f"{name} is an array", f"its indices in brackets: {name}[...]", *place)
            case ast.Call(func=ast.Name(id=name)):
                expected = f"one of {', '.join(FUNCTIONS)}"
                reason = f"there is no function {name!r}{nearest(name, FUNCTIONS)}"
                raise FormulaError(reason, expected, *self.place(given.func))
            case _:
                raise FormulaError("this is called like a function", "a * between two factors", *place)

    def unknown(self, name: str, given: ast.expr) -> FormulaError:
        names = ["x", "y", "p", "z", *(f"{letter}{layer}" for letter in "ahWb" for layer in (1, 2, 3))]
        return FormulaError(
            f"there is no array {name!r}{nearest(name, names)}", f"one of {ARRAYS}", *self.place(given)
        )

    def refused(self, given: ast.expr) -> FormulaError:
        """Why an expression is not let through."""
        place = self.place(given)
        match given:
            case ast.Name(id=name) if is_array(name):
                return FormulaError(f"{name} has no indices here", f"as in {name}[...]", *place)
            case ast.Name(id=name) if name in FUNCTIONS:
                return FormulaError(f"{name} is a function", f"{name}(...)", *place)
            case ast.Name(id="sum"):
                return FormulaError("a sum names its letters in brackets", "as in sum[n,k] (...)", *place)
            case ast.Name(id=name):
                reason = f"{name!r} is neither an array nor a number"
                return FormulaError(reason, f"a letter only in brackets; else {GRAMMAR}", *place)
            case ast.Subscript() | ast.UnaryOp(op=ast.USub()):
                return FormulaError("a sum cannot stand here", "parentheses around it: (sum[...] ...)", *place)
            case ast.Constant(value=value):
                return FormulaError(f"{value!r} is no real number", GRAMMAR, *place)
            case _:
                words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(given).__name__).lower()
                return FormulaError(f"this is not part of a formula ({words})", GRAMMAR, *place)


def _float(value: int | float, place: tuple[int, int]) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = float("inf")
    if number in (float("inf"), float("-inf")):
        raise FormulaError("the number is too large", "one that a float can hold", *place)
    return number


def _is_sum(given: ast.expr) -> bool:
    return isinstance(given, ast.Subscript) and isinstance(given.value, ast.Name) and given.value.id == "sum"


def _sum_of(given: ast.expr) -> tuple[bool, ast.Subscript | None]:
    """Whether a minus stands before it, and the sum[...], where the factor is one."""
    negative = isinstance(given, ast.UnaryOp) and isinstance(given.op, ast.USub)
    inner = given.operand if isinstance(given, ast.UnaryOp) else given
    return negative, inner if isinstance(inner, ast.Subscript) and _is_sum(inner) else None
