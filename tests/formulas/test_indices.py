"""Wrong index formulas are rejected before anything is computed, with the position in the text."""

import pytest
from backproof.formulas.errors import FormulaError, FormulasError
from backproof.formulas.rule import Rule

from tests.helpers.formulas import CS446, only, rejected

WRONG = [
    # syntax
    ("b1", "", "", "the formula is empty"),
    ("W1", "sum[n] p[n,k] x[n,d]", "x", "two factors without an operator between them"),
    ("W1", "2 (x[n,d])", "(", "two factors without an operator"),
    ("W1", "(x[n,d] * 2", "(", r"\( is never closed"),
    ("W1", "x[n,d)", ")", r"\) closes \["),
    ("W1", "x[n,d] * 2)", ")", r"\) closes nothing"),
    ("W1", "x[n,d] * / 2", "/", "cannot be parsed from here on"),
    ("W1", "x[n,d] *", "*", r"the formula ends with \*"),
    ("W1", "x[n,d] = 2", "=", "'=' is not part of a formula"),
    ("W1", "x[n,d] − p[n,k]", "−", "expected - instead"),
    ("W1", "W1[h,d]^2", "^", r"expected \*\* instead"),
    ("W1", "phi'(a1[n,h])", "'", r"expected dphi\(\.\.\.\) instead"),
    ("W1", "x[n,d] # note", "#", "'#' is not part of a formula"),
    ("W1", "sum[n]", "sum[n]", r"sum\[n\] is followed by nothing"),
    ("W1", "sum[n] * x[n,d]", "sum[n]", "expected the summand right after it"),
    ("W1", "sum(x[n,d])", "sum(x[n,d])", "a sum names its letters in brackets"),
    ("W1", "2 * sum", "sum", "a sum names its letters in brackets"),
    ("W1", "2 ** sum[n] x[n,d]", "sum[n]", "a sum is not allowed here"),
    (
        "W1",
        "W1[h,d] / sum[n] x[n,d] * h1[n,h]",
        "sum[n]",
        "not clear how far this sum in the denominator extends",
    ),
    ("W1", "sum[n,n] x[n,d] * h1[n,h]", ("n] x", 1), "n is summed twice"),
    ("W1", "sum[3] x[n,d] * h1[n,h]", "3", "a sum runs over letters"),
    ("W1", "sum[] x[n,d] * h1[n,h]", "]", "cannot be parsed"),
    ("W1", "-" * 60 + "W1[h,d]", "", "nested too deeply"),
    ("W1", "-" * 1900 + "W1[h,d]", "", "nested too deeply"),
    ("W1", "+".join(["W1[h,d]"] * 400), "", "has 3199 characters"),
    ("W1", "W1[h,d] * 1e999", "1e999", "the number is too large"),
    ("W1", "W1[h,d] * 1j", "1j", "1j is not a real number"),
    ("W1", "W1[h,d] * True", "True", "'True' is not part of a formula"),
    # Python that is not part of a formula
    ("W1", "open(x[n,d])", "open", "there is no function 'open'"),
    ("W1", "expp(x[n,d])", "expp", "did you mean exp"),
    ("W1", "exp(x[n,d], 2)", "exp(x[n,d], 2)", "exp takes one argument"),
    ("W1", "exp()", "exp()", "exp takes one argument"),
    ("W1", "exp(*x[n,d])", "exp(*x[n,d])", "exp takes one argument"),
    ("W1", "x.T[n,d]", "x.T[n,d]", "only an array has indices"),
    ("W1", "N.real", "N.real", "this is not part of a formula"),
    ("W1", "x[n,d] if N else 2", "if", "'if' is not part of a formula"),
    ("W1", "x[n,d] and 2", "and", "'and' is not part of a formula"),
    ("W1", "not x[n,d]", "not", "'not' is not part of a formula"),
    ("W1", "N in x[n,d]", "in", "'in' is not part of a formula"),
    ("W1", "lambda: 2", ":", "':' is not part of a formula"),
    ("W1", "x[n,d] < 2", "<", "'<' is not part of a formula"),
    ("W1", "N // 2", "N // 2", "not part of a formula"),
    ("W1", "(N, 2)", "(N, 2)", "not part of a formula"),
    ("W1", "exp(x[n,d])(2)", ("(2", 1), "two factors without an operator"),
    # names
    ("W1", "sum[ν,κ] x[ν,d] * (q[ν,κ])", "q", "there is no array 'q'"),
    ("W1", "q[n,k] * x[n,d]", "q", "there is no array 'q'"),
    ("W1", "V1[h,d]", "V1", "there is no array 'V1', did you mean"),
    (
        "W1",
        "a3[n,h] * x[n,d]",
        "a3",
        "there is no a3 in a network with the tensors W1, b1, W2, b2, did you mean a",
    ),
    ("W1", "h2[n,h] * x[n,d]", "h2", "there is no h2"),
    ("W1", "W0[h,d]", "W0", "there is no W0"),
    ("W1", "W1 * 2", "W1", r"W1 has no indices here"),
    ("W1", "p(n,k) * W1[h,d]", "p(n,k)", r"p is an array"),
    ("W1", "h * W1[h,d]", "h", "'h' is neither an array nor a number"),
    ("W1", "N[n] * W1[h,d]", "N[n]", "N is a number"),
    ("W1", "phi[n,h]", "phi[n,h]", "phi is a function"),
    ("W1", "phi * W1[h,d]", "phi", "phi is a function"),
    ("W1", "W1[h][d]", "W1[h][d]", "all indices must be in one pair of brackets"),
    ("W1", "W1[h,d+1]", "d+1", "this is not an index"),
    ("W1", "W1[h,-1]", "-1", "this is not an index"),
    ("W1", "W1[h,x]", "x", "x is not an index"),
    ("W1", "W1[h,N]", "N", "N is not an index"),
    ("W1", "sum[exp] W1[h,exp]", "exp", "exp is not an index"),
    # indices
    ("W1", "W1[h]", "W1[h]", "W1 has 2 indices, not 1\n"),
    ("W1", "b1[h,d]", "b1[h,d]", "b1 has 1 index, not 2\n(.|\n)*expected indices for the hidden units"),
    (
        "W1",
        "sum[n] x[n,d] * h1[d,h]",
        ("d,h", 1),
        r"d denotes the inputs \(in x\[n,d\]\), but this index of h1 runs",
    ),
    (
        "W1",
        "sum[n,k] (p[n,k] - y[n,k]) * W2[h,k] * dphi(a1[n,h]) * x[n,d]",
        ("k] * dphi", 1),
        r"k denotes the outputs \(in p\[n,k\]\), but this index of W2 runs over the hidden units",
    ),
    (
        "W1",
        "sum[n] (p[n,k] - y[n,k]) * W2[k,h] * dphi(a1[n,h]) * x[n,d] / N",
        ("k] -", 1),
        "k is not summed: it runs over the outputs, and W1 has no such index",
    ),
    (
        "W1",
        "sum[k] (p[0,k] - y[n,k]) * W2[k,h] * x[n,d]",
        ("n,k]) *", 1),
        r"expected a sum over it, as in sum\[k,n\]",
    ),
    ("W1", "x[n,d] * h1[n,h]", ("n,d", 1), r"as in sum\[n\]"),
    ("W1", "sum[k] W2[k,h] * W1[h,d] - b2[k]", ("k]", 1, 2), "k is not summed"),
    (
        "b1",
        "sum[n] h1[n,h] * x[n,d]",
        ("d]", 1),
        "d is not summed: it runs over the inputs, and b1 has no such index",
    ),
    ("W1", "sum[n,j] x[n,d] * h1[n,h]", ("j]", 1), "j is summed, but nothing in the sum depends on it"),
    (
        "W1",
        "sum[n,k] x[n,d] * h1[n,h] + sum[n] p[n,k] * W1[h,d]",
        ("k]", 1),
        "k is summed, but nothing in the sum depends",
    ),
    ("W1", "sum[n,h] x[n,d] * h1[n,h]", ("h]", 1), "h is summed, but W1 has an index for the hidden units"),
    ("W1", "sum[n] x[n,d]", "sum[n] x[n,d]", "W1 has an index for the hidden units, but the formula has none"),
    ("b2", "1", "1", "b2 has an index for the outputs, but the formula has none"),
    ("W1", "sum[n] x[n,d] * h1[n,h] * a1[n,g]", ("g]", 1), "h and g both denote the hidden units"),
    # left sides
    (
        "W1[h,d]",
        "sum[n] x[n,d] * h1[n,g]",
        ("g]", 1),
        r"g is not summed: it runs over the hidden units, and W1\[h,d\]",
    ),
    ("W1[d,h]", "sum[n] x[n,d] * h1[n,h]", ("d] *", 1), r"d denotes the hidden units \(in W1\[d,h\]\)"),
    ("W1[h,d]", "sum[n,h] x[n,d] * h1[n,h]", ("h]", 1), "h is summed, but W1 has an index"),
    (
        "W1[g,d]",
        "sum[n] x[n,d]",
        "sum[n] x[n,d]",
        "expected g, which denotes the hidden units, in one of its",
    ),
]


def marked_range(text, mark):
    """Return the range of `mark`: a part of the text, or (text at its start, its length, which occurrence)."""
    if not isinstance(mark, tuple):
        return text.index(mark), text.index(mark) + len(mark)
    part, length, occurrence = (*mark, 1)[:3]
    start = -1
    for _ in range(occurrence):
        start = text.index(part, start + 1)
    return start, start + length


@pytest.mark.parametrize(("tensor", "text", "mark", "message"), WRONG)
def test_the_wrong_part_is_named_and_marked(tensor, text, mark, message):
    error = rejected(tensor, text)
    assert error.tensor == tensor.partition("[")[0]
    shown_error = str(error)
    with pytest.raises(FormulaError, match=message):
        raise error
    assert "\n    expected " in shown_error
    if mark:
        assert (error.start, error.end) == marked_range(text, mark)
        _, line, carets, *_ = shown_error.splitlines()
        assert line == f"    {text}"
        assert carets == " " * (4 + error.start) + "^" * (error.end - error.start)


def test_parentheses_do_not_count_as_nesting():
    only("W1", "(" * 60 + "W1[h,d]" + ")" * 60 + " * 1")


def test_the_complete_message():
    error = rejected("W1", "sum[n] (p[n,k] - y[n,k]) * W2[k,h] * dphi(a1[n,h]) * x[n,d] / N")
    assert str(error) == (
        "W1: k is not summed: it runs over the outputs, and W1 has no such index\n"
        "    sum[n] (p[n,k] - y[n,k]) * W2[k,h] * dphi(a1[n,h]) * x[n,d] / N\n"
        "                ^\n"
        "    expected a sum over it, as in sum[n,k]"
    )


def test_the_caret_in_a_formula_of_several_lines():
    error = rejected("W1", "sum[n]\n\tp[n,k]\n\t* x[n,d] * h1[n,h]\n")
    assert str(error).splitlines()[1:3] == ["    \tp[n,k]", "    \t    ^"]


def test_layers_are_named_in_deeper_networks():
    assert "the hidden units of layer 2" in str(rejected("W1", "sum[n] x[n,d] * h2[n,h]", depth=3))


@pytest.mark.parametrize(
    ("left", "start", "end", "message"),
    [
        ("W1[h]", 3, 4, "W1 has 2 indices, not 1"),
        ("b1[h,d]", 5, 6, "b1 has 1 index, not 2"),
        ("W1[h,h]", 5, 6, "h appears twice"),
        ("W1[h,0]", 5, 6, "this is not an index"),
        ("W1[h, x]", 6, 7, "this is not an index"),
        ("W1[h,]", 5, 6, "this is not an index"),
        ("W1(h,d)", 0, 7, "this is not a tensor"),
    ],
)
def test_wrong_left_sides(left, start, end, message):
    texts = {k: v for k, v in CS446.items() if k != left[:2]}
    with pytest.raises(FormulasError) as caught:
        Rule.read({**texts, left: CS446[left[:2]]})
    error = caught.value.errors[0]
    assert message in str(error)
    assert left in str(error)
    assert (error.start, min(error.end, start + 1) if end == start + 1 else error.end) == (start, end)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"b2": None}, "no formula for b2: a network of 2 layers has the tensors W1, b1, W2, b2"),
        ({"W2": None, "b2": None, "b3": "sum[n] p[n,k]"}, "no formula for W2, b2, W3"),
        ({"w1": CS446["W1"]}, "w1 is not a tensor, did you mean W1"),
        ({"W01": CS446["W1"]}, "W01 is not a tensor"),
        ({"a1": CS446["W1"]}, "a1 is not a tensor"),
        ({"W1[h,d]": CS446["W1"]}, "W1 has two formulas, expected one"),
        (dict.fromkeys(CS446), r"there are no formulas of W1, b1, \.\.\.; got nothing"),
        ({"W99": "W99[a,b]"}, "no formula for W3, b3"),
    ],
)
def test_missing_or_unknown_tensors(change, message):
    texts = {k: v for k, v in {**CS446, **change}.items() if v is not None}
    with pytest.raises(FormulasError, match=message):
        Rule.read(texts)


def test_all_wrong_formulas_are_reported_at_once():
    with pytest.raises(FormulasError) as caught:
        Rule.read({"W1": "q[n,d]", "b1": "1 +", "W2": CS446["W2"]})
    missing, *wrong = caught.value.errors
    assert "no formula for b2" in missing
    assert [error.tensor for error in wrong] == ["W1", "b1"]
