"""Any text is parsed or rejected with a position; trees are printed as on paper."""

import pytest
from backproof.formulas.errors import FormulaError
from backproof.formulas.parser import parse
from backproof.formulas.tree import Entry, Sum, children, free, to_text
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.helpers.formulas import CS446, only, random_formulas
from tests.helpers.fuzz import examples


@examples(300)
@given(st.text(alphabet="xpyznkhdWab12N()[],+-*/. sumexp\n\té@#'", max_size=40))
def test_any_text_is_parsed_or_rejected_with_a_position(text):
    try:
        parse(text)
    except FormulaError as error:
        located = error.of("W1", text)
        assert 0 <= located.start < max(len(text), 1)
        assert "^" in str(located)


@examples(150)
@given(random_formulas)
def test_spans_match_the_text(drawn):
    text, _, letters = drawn
    assume(len(text) <= 2000)
    node = parse(text)
    assert set(free(node)) == letters

    def walk(node):
        if isinstance(node, Entry):
            assert text[node.start : node.end] == f"{node.name}[{','.join(str(i.value) for i in node.indices)}]"
            for index in node.indices:
                assert text[index.start : index.end] == str(index.value)
        if isinstance(node, Sum):
            assert text[node.start :].startswith("sum[")
        for child in children(node):
            walk(child)

    walk(node)


@pytest.mark.parametrize(
    ("text", "paper"),
    [
        (CS446["W1"], "∂Err/∂(W1)_hd = Σ_nk (p_nk − y_nk) (W2)_kh φ'((a1)_nh) x_nd / N"),
        ("(sum[n] x[n,d] * h1[n,h]) / N / 2", "∂Err/∂(W1)_hd = (Σ_n x_nd (h1)_nh) / (N 2)"),
        ("-2 * sum[n] x[n,d] * h1[n,h] - b1[h]", "∂Err/∂(W1)_hd = (−2) Σ_n x_nd (h1)_nh − (b1)_h"),
        ("(W1[h,d] - 1) ** 2 / (b1[h] + 3)", "∂Err/∂(W1)_hd = ((W1)_hd − 1)^2 / ((b1)_h + 3)"),
        ("W1[h,d] - (b1[h] - 1)", "∂Err/∂(W1)_hd = (W1)_hd − ((b1)_h − 1)"),
        ("W1[hid,d] * exp(log(2))", "∂Err/∂(W1)_{hid,d} = (W1)_{hid,d} exp(log(2))"),
        ("1 / W1[h,d]", "∂Err/∂(W1)_hd = 1 / (W1)_hd"),
    ],
)
def test_as_on_paper(text, paper):
    assert str(only("W1", text)) == paper


def test_spans_do_not_affect_equality():
    assert parse("p[n,k]*2") == parse("  p[n, k]  *  2 ")
    assert to_text(parse("p[n,k]*2")) == "p_nk 2"


@pytest.mark.parametrize("letter", ["ｙ", "𝐲", "ſ"])
def test_letters_that_python_takes_for_plain_ones_are_refused(letter):
    with pytest.raises(FormulaError, match="is not part of a formula"):
        parse(f"sum[n] {letter}[n,k]")
