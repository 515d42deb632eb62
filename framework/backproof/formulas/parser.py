"""Parse the text of a formula into its tree.

    formula   term {(+ | -) term}
    term      [-] factor {(* | /) factor} [(* | /) sum]        or a sum alone
    sum       sum[LETTER, ...] term                            it extends to the end of its term, as on paper
    factor    power of: NUMBER, N, ARRAY[index, ...], FUNCTION(formula), (formula)
    index     LETTER or a whole number, counted from 0

Python's own parser reads it, after `sum[n,k] ...` has become `sum[n,k] @ ...`: @ binds like *, so the sum is an
operand in a chain of factors. Everything in Python's grammar other than the above is rejected.
"""

from __future__ import annotations

import ast
import bisect
import keyword
import re
import unicodedata
from itertools import pairwise

from backproof.contracts.errors import did_you_mean
from backproof.formulas.errors import FormulaError
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

#: Limits far beyond any formula on paper.
MAX_LENGTH, MAX_DEPTH = 2000, 40

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
    """Return whether this is the name of an array in a network of any depth."""
    return _ARRAY.fullmatch(name) is not None


def parse(text: str) -> Node:
    """Return the tree of a formula. Raise FormulaError if it is not one."""
    if not text.strip():
        raise FormulaError("the formula is empty", "as in sum[n] (p[n,k] - y[n,k]) / N", 0, 1)
    if len(text) > MAX_LENGTH:
        raise FormulaError(
            f"the formula has {len(text)} characters", f"at most {MAX_LENGTH}", MAX_LENGTH, len(text)
        )
    _precheck(text)
    source, offsets = _with_operators(text)
    try:
        tree = ast.parse(source, mode="eval")
    except (SyntaxError, RecursionError, MemoryError, ValueError) as error:
        raise _unreadable(error, text, offsets) from None
    return _Reader(source, offsets).node(tree.body, 0)


def _precheck(text: str) -> None:
    """Report what Python's parser reports less clearly: foreign signs, open brackets, a missing operator."""
    for position, char in enumerate(text):
        if char not in _SIGNS and (not f"_{char}".isidentifier() or char in _OTHER_SIGNS):
            substitute = _OTHER_SIGNS.get(char)
            expected = f"{substitute} instead" if substitute else GRAMMAR
            raise FormulaError(f"{char!r} is not part of a formula", expected, position, position + 1)
        # Python takes letters of other widths and fonts for the plain ones.
        if (plain := unicodedata.normalize("NFKC", char)) != char:
            raise FormulaError(f"{char!r} is not part of a formula", f"{plain} instead", position, position + 1)
    tokens = list(_TOKEN.finditer(text))
    for token in tokens:
        if keyword.iskeyword(token[0]):
            raise FormulaError(f"{token[0]!r} is not part of a formula", GRAMMAR, *token.span())
    _check_brackets(tokens)
    last = tokens[-1]
    if last[0] in ("+", "-", "*", "/", "**"):
        raise FormulaError(f"the formula ends with {last[0]}", "something after it", *last.span())
    _check_operators(text, tokens)


def _check_brackets(tokens: list[re.Match[str]]) -> None:
    """Raise FormulaError unless the brackets come in pairs."""
    open_brackets: list[re.Match[str]] = []
    for token in tokens:
        if token[0] in ("(", "["):
            open_brackets.append(token)
        elif token[0] in (")", "]"):
            opened = open_brackets.pop()[0] if open_brackets else "nothing"
            if opened + token[0] not in ("()", "[]"):
                raise FormulaError(f"{token[0]} closes {opened}", "brackets in pairs", *token.span())
    if open_brackets:
        token = open_brackets[-1]
        raise FormulaError(f"{token[0]} is never closed", "brackets in pairs", *token.span())


def _check_operators(text: str, tokens: list[re.Match[str]]) -> None:
    """Raise FormulaError for two factors without an operator between them; sum[...] and functions need none."""
    sum_ends = {match.end() for match in _SUM.finditer(text)}
    for left, right in pairwise(tokens):
        starts_factor = right[0] == "(" or right[0][0].isalnum() or right[0][0] == "_"
        ends_factor = left[0] in (")", "]") or left[0][0].isalnum()
        is_call = right[0] == "(" and left[0][0].isalpha()
        if ends_factor and starts_factor and not is_call and left.end() not in sum_ends:
            raise FormulaError(
                "two factors without an operator between them", "a *", right.start(), right.end()
            )


def _with_operators(text: str) -> tuple[str, list[int]]:
    """Return the text with @ after each sum[...], and the original position of each character and of the end."""
    start = len(text) - len(text.lstrip())
    parts: list[str] = []
    offsets: list[int] = []
    for match in _SUM.finditer(text):
        rest = text[match.end() :].lstrip()
        if not rest or rest[0] in ")],+*/":
            raise FormulaError(
                f"{match[0]} is followed by {rest[0] if rest else 'nothing'}",
                "the summand right after it, as in sum[n] (p[n,k] - y[n,k]) * h1[n,h]",
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
        return FormulaError(
            "the formula is nested too deeply, or a number in it is too long", "a simpler formula", 0, len(text)
        )
    position = min((error.offset or 1) - 1, len(offsets) - 1)
    start = min(offsets[max(position, 0)], len(text.rstrip()) - 1)
    reason = str(error.msg).partition(".")[0].partition("(")[0].strip()
    return FormulaError(f"the formula cannot be parsed from here on: {reason}", GRAMMAR, start, start + 1)


class _Reader:
    """Converts Python's tree to ours; any construct not listed is an error."""

    def __init__(self, source: str, offsets: list[int]) -> None:
        self.offsets = offsets
        # Python counts columns in bytes.
        self.bytes = [0]
        for char in source:
            self.bytes.append(self.bytes[-1] + len(char.encode()))

    def node(self, expr: ast.expr, depth: int) -> Node:
        """Return the tree of an expression."""
        span = self.span(expr)
        if depth > MAX_DEPTH:
            raise FormulaError("the formula is nested too deeply", f"at most {MAX_DEPTH} levels", *span)
        match expr:
            case ast.Constant(value=int() | float() as value) if type(value) is not bool:
                return Number(*span, _float(value, span))
            case ast.Name(id="N"):
                return Samples(*span)
            case ast.UnaryOp(op=ast.USub(), operand=operand) if not _is_sum(operand):
                return Total(*span, ((self.node(operand, depth + 1), True),))
            case ast.BinOp(op=ast.Add() | ast.Sub()):
                return self.total(expr, depth)
            case ast.BinOp(op=ast.Mult() | ast.Div() | ast.MatMult()):
                return self.product(expr, depth)
            case ast.BinOp(op=ast.Pow(), left=base, right=exponent):
                return Power(*span, self.node(base, depth + 1), self.node(exponent, depth + 1))
            case ast.Call():
                return self.apply(expr, depth)
            case ast.Subscript() if not _is_sum(expr):
                return self.entry(expr)
            case _:
                raise self.rejected(expr)

    def span(self, expr: ast.expr) -> tuple[int, int]:
        """Return the range of the formula's characters that an expression was parsed from."""
        start = bisect.bisect_left(self.bytes, expr.col_offset)
        end = bisect.bisect_left(self.bytes, expr.end_col_offset or 0)
        return self.offsets[start], self.offsets[end - 1] + 1

    def total(self, expr: ast.BinOp, depth: int) -> Node:
        terms: list[tuple[Node, bool]] = []
        left: ast.expr = expr
        while isinstance(left, ast.BinOp) and isinstance(left.op, ast.Add | ast.Sub):
            terms.append((self.node(left.right, depth + 1), isinstance(left.op, ast.Sub)))
            left = left.left
        terms.append((self.node(left, depth + 1), False))
        return Total(*self.span(expr), tuple(reversed(terms)))

    def product(self, expr: ast.BinOp, depth: int) -> Node:
        """Return a chain of factors.

        In Python's tree, parentheses are visible only because the left operand then starts later than the whole. A
        chain ends there, and with it the extent of a sum inside.
        """
        chain: list[tuple[ast.operator, ast.expr]] = []
        left: ast.expr = expr
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
        start, end = self.span(chain[0][1])[0], self.span(chain[-1][1])[1]
        for i, (op, expr) in enumerate(chain):
            sign, letters = _sum_of(expr)
            inverted = isinstance(op, ast.Div)
            if letters is None:
                factors.append((self.node(expr, depth + 1), inverted))
                continue
            if inverted and len(chain) > i + 2:
                raise FormulaError(
                    "it is not clear how far this sum in the denominator extends",
                    "parentheses around it: / (sum[...] ...)",
                    *self.span(expr),
                )
            sum_start = self.span(letters)[0]
            node: Node = Sum(sum_start, end, self.letters(letters), self.chain(chain[i + 1 :], depth + 1))
            if sign:
                node = Total(self.span(expr)[0], end, ((node, True),))
            factors.append((node, inverted))
            break
        if len(factors) == 1 and not factors[0][1]:
            return factors[0][0]
        return Product(start, end, tuple(factors))

    def letters(self, expr: ast.Subscript) -> tuple[Index, ...]:
        """Return the letters of a sum, each once."""
        letters = self.indices(expr)
        for i, index in enumerate(letters):
            if isinstance(index.value, int):
                raise FormulaError("a sum runs over letters", "as in sum[n,k]", index.start, index.end)
            if index.value in [other.value for other in letters[:i]]:
                raise FormulaError(f"{index.value} is summed twice", "each letter once", index.start, index.end)
        return letters

    def entry(self, expr: ast.Subscript) -> Node:
        span = self.span(expr)
        match expr.value:
            case ast.Name(id=name) if is_array(name):
                return Entry(*span, name, self.indices(expr))
            case ast.Name(id=name) if name in FUNCTIONS:
                raise FormulaError(f"{name} is a function", f"{name}(...)", *span)
            case ast.Name(id="N"):
                raise FormulaError("N is a number, the number of samples", "N without indices", *span)
            case ast.Name(id=name):
                raise self.unknown(name, expr.value)
            case ast.Subscript():
                raise FormulaError("all indices must be in one pair of brackets", "as in p[n,k]", *span)
            case _:
                raise FormulaError("only an array has indices", f"one of {ARRAYS}", *span)

    def indices(self, expr: ast.Subscript) -> tuple[Index, ...]:
        """Return the indices in the brackets."""
        items = expr.slice.elts if isinstance(expr.slice, ast.Tuple) else [expr.slice]
        indices: list[Index] = []
        for item in items:
            span = self.span(item)
            match item:
                case ast.Name(id=name) if not is_array(name) and name not in (*FUNCTIONS, "N", "sum"):
                    indices.append(Index(*span, name))
                case ast.Constant(value=value) if type(value) is int:
                    indices.append(Index(*span, value))
                case ast.Name(id=name):
                    raise FormulaError(f"{name} is not an index", "a letter with no other meaning", *span)
                case _:
                    raise FormulaError("this is not an index", "a letter, or a whole number from 0 on", *span)
        if not indices:
            raise FormulaError("there are no indices", "letters, as in p[n,k]", *self.span(expr))
        return tuple(indices)

    def apply(self, expr: ast.Call, depth: int) -> Node:
        span = self.span(expr)
        match expr:
            case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name in FUNCTIONS and not (
                isinstance(argument, ast.Starred)
            ):
                return Apply(*span, name, self.node(argument, depth + 1))
            case ast.Call(func=ast.Name(id=name)) if name in FUNCTIONS:
                raise FormulaError(f"{name} takes one argument", f"{name}(...) with one formula in it", *span)
            case ast.Call(func=ast.Name(id="sum")):
                raise FormulaError("a sum names its letters in brackets", "as in sum[n,k] (...)", *span)
            case ast.Call(func=ast.Name(id=name)) if is_array(name):
                raise FormulaError(f"{name} is an array", f"its indices in brackets: {name}[...]", *span)
            case ast.Call(func=ast.Name(id=name)):
                expected = f"one of {', '.join(FUNCTIONS)}"
                reason = f"there is no function {name!r}{did_you_mean(name, FUNCTIONS)}"
                raise FormulaError(reason, expected, *self.span(expr.func))
            case _:
                raise FormulaError("this is not a function", "a * between two factors", *span)

    def unknown(self, name: str, expr: ast.expr) -> FormulaError:
        names = ["x", "y", "p", "z", *(f"{letter}{layer}" for letter in "ahWb" for layer in (1, 2, 3))]
        return FormulaError(
            f"there is no array {name!r}{did_you_mean(name, names)}", f"one of {ARRAYS}", *self.span(expr)
        )

    def rejected(self, expr: ast.expr) -> FormulaError:
        """Return the error that says why an expression is not allowed."""
        span = self.span(expr)
        match expr:
            case ast.Name(id=name) if is_array(name):
                return FormulaError(f"{name} has no indices here", f"as in {name}[...]", *span)
            case ast.Name(id=name) if name in FUNCTIONS:
                return FormulaError(f"{name} is a function", f"{name}(...)", *span)
            case ast.Name(id="sum"):
                return FormulaError("a sum names its letters in brackets", "as in sum[n,k] (...)", *span)
            case ast.Name(id=name):
                reason = f"{name!r} is neither an array nor a number"
                return FormulaError(reason, f"letters only in brackets; otherwise {GRAMMAR}", *span)
            case ast.Subscript() | ast.UnaryOp(op=ast.USub()):
                return FormulaError("a sum is not allowed here", "parentheses around it: (sum[...] ...)", *span)
            case ast.Constant(value=value):
                return FormulaError(f"{value!r} is not a real number", GRAMMAR, *span)
            case _:
                words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(expr).__name__).lower()
                return FormulaError(f"this is not part of a formula ({words})", GRAMMAR, *span)


def _float(value: int | float, span: tuple[int, int]) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = float("inf")
    if number in (float("inf"), float("-inf")):
        raise FormulaError("the number is too large", "a number that a float can represent", *span)
    return number


def _is_sum(expr: ast.expr) -> bool:
    return isinstance(expr, ast.Subscript) and isinstance(expr.value, ast.Name) and expr.value.id == "sum"


def _sum_of(expr: ast.expr) -> tuple[bool, ast.Subscript | None]:
    """Return whether a factor has a minus sign, and its sum[...] if it is one."""
    negative = isinstance(expr, ast.UnaryOp) and isinstance(expr.op, ast.USub)
    inner = expr.operand if isinstance(expr, ast.UnaryOp) else expr
    return negative, inner if isinstance(inner, ast.Subscript) and _is_sum(inner) else None
