"""Index formulas evaluated on arrays equal plain loops and the network's own backward pass."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from backproof.formulas import evaluate
from backproof.formulas.errors import FormulaError
from backproof.formulas.indices import axes_of, tensors_of
from backproof.formulas.rule import Rule
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.helpers.formulas import (
    CS446,
    TRACE,
    D,
    H,
    K,
    N,
    derived_rule,
    only,
    random_formulas,
    rejected,
    trace_of,
)
from tests.helpers.fuzz import examples


@examples(60)
@given(data=st.data())
def test_formulas_of_any_depth_equal_backprop(data):
    depth = data.draw(st.integers(1, 4))
    sizes = (*(data.draw(st.integers(1, 6)) for _ in range(depth)), data.draw(st.integers(2, 5)))
    activation = data.draw(st.sampled_from(["tanh", "relu", "gelu", "identity", "leaky_relu"]))
    N = data.draw(st.integers(1, 9))
    trace = trace_of(sizes, N, activation, data.draw(st.integers(0, 2**31)))
    rule = Rule.read(derived_rule(depth))
    assert rule.depth == depth
    for tensor, expected in trace.backprop().items():
        gradient = rule.formulas[tensor](trace)
        np.testing.assert_allclose(gradient, expected, rtol=1e-10, atol=1e-12)
        assert gradient.dtype == expected.dtype


def test_float32_stays_float32():
    trace = trace_of((4, 3, 2), dtype=np.float32)
    text = (
        "2 * sum[n,k] exp(z[n,k]) / (sum[j] exp(z[n,j])) * W2[k,h] ** 2 * dphi(a1[n,h] * N) / (1 + N) * x[n,d]"
    )
    assert only("W1", text)(trace).dtype == np.float32
    for tensor, expected in trace.backprop().items():
        gradient = Rule.read(CS446).formulas[tensor](trace)
        assert gradient.dtype == np.float32
        np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-6)


def test_the_letters_are_free_and_may_be_words():
    texts = {
        "W2[out, hidden]": "sum[s] (p[s,out] - y[s,out]) * h1[s,hidden] / N",
        "b2": "sum[j] (p[j,h] - y[j,h]) / N",
        "W1[d,n]": "sum[i,k] (p[i,k] - y[i,k]) * W2[k,d] * dphi(a1[i,d]) * h0[i,n] / N",
        "b1": CS446["b1"],
    }
    rule = Rule.read(texts)
    for tensor, expected in TRACE.backprop().items():
        np.testing.assert_allclose(rule.formulas[tensor](TRACE), expected, rtol=1e-12, atol=1e-14)


PLAIN = {
    # formula: its value as a function of the trace and the indices of W1
    "sum[n] p[n,0] * x[n,d] * h1[n,h]": lambda t, h, d: sum(t.p[n, 0] * t.x[n, d] * t.h[1][n, h] for n in N),
    "sum[n,k] x[n,d] * a1[n,h] * W2[k,h] + b1[h]": lambda t, h, d: (
        sum(t.x[n, d] * t.a[1][n, h] * t.W[2][k, h] for n in N for k in K) + t.b[1][h]
    ),
    "W1[h,d] - b1[h] - 2": lambda t, h, d: t.W[1][h, d] - t.b[1][h] - 2,
    "W1[h,d] - (b1[h] - 2)": lambda t, h, d: t.W[1][h, d] - (t.b[1][h] - 2),
    "2 * sum[k] W2[k,h] * b2[k] * W1[h,d] - 3e-1": lambda t, h, d: (
        2 * sum(t.W[2][k, h] * t.b[2][k] for k in K) * t.W[1][h, d] - 0.3
    ),
    # A sum extends to the end of its term: it includes y but not b1.
    "sum[n,k] p[n,k] * x[n,d] / (2 + z[n,k] ** 2) / N * y[n,k] - b1[h]": lambda t, h, d: (
        sum(t.p[n, k] * t.x[n, d] / (2 + t.z[n, k] ** 2) / 5 * t.y[n, k] for n in N for k in K) - t.b[1][h]
    ),
    # Parentheses end it.
    "(sum[k] W2[k,h]) * (sum[k] W2[k,h]) * W1[h,d]": lambda t, h, d: (
        sum(t.W[2][k, h] for k in K) ** 2 * t.W[1][h, d]
    ),
    "sum[n] (sum[k] p[n,k] * W2[k,h]) * x[n,d]": lambda t, h, d: sum(
        sum(t.p[n, k] * t.W[2][k, h] for k in K) * t.x[n, d] for n in N
    ),
    "sum[n] sum[k] p[n,k] * W2[k,h] * x[n,d]": lambda t, h, d: sum(
        t.p[n, k] * t.W[2][k, h] * t.x[n, d] for n in N for k in K
    ),
    "-sum[n] x[n,d] * h1[n,h]": lambda t, h, d: -sum(t.x[n, d] * t.h[1][n, h] for n in N),
    "2 * -sum[n] -x[n,d] * h1[n,h]": lambda t, h, d: 2 * sum(t.x[n, d] * t.h[1][n, h] for n in N),
    "W1[h,d] ** 2 / -N ** 2": lambda t, h, d: -(t.W[1][h, d] ** 2) / 25,
    "2 ** W1[h,d] ** 2": lambda t, h, d: 2 ** (t.W[1][h, d] ** 2),
    "(-W1[h,d]) ** 2": lambda t, h, d: t.W[1][h, d] ** 2,
    "-W1[h,d] ** 2": lambda t, h, d: -(t.W[1][h, d] ** 2),
    "W1[h,d] / 2 / N * 3": lambda t, h, d: t.W[1][h, d] / 2 / 5 * 3,
    "sum[n] x[n,d] * h1[n,h] / (N / (3 * b1[h])) / (1 / b1[h])": lambda t, h, d: sum(
        t.x[n, d] * t.h[1][n, h] / (5 / (3 * t.b[1][h])) * t.b[1][h] for n in N
    ),
    "W1[h,d] / (2 * N / 3)": lambda t, h, d: t.W[1][h, d] / (10 / 3),
    "exp(W1[h,d]) + log(1 + W1[h,d] ** 2)": lambda t, h, d: (
        math.exp(t.W[1][h, d]) + math.log(1 + t.W[1][h, d] ** 2)
    ),
    "phi(W1[h,d]) * dphi(1)": lambda t, h, d: math.tanh(t.W[1][h, d]) * (1 - math.tanh(1) ** 2),
    "sum[n] dphi(W1[h,d] * x[n,d] + b1[h]) * x[n,d]": lambda t, h, d: sum(
        (1 - math.tanh(t.W[1][h, d] * t.x[n, d] + t.b[1][h]) ** 2) * t.x[n, d] for n in N
    ),
    # The same letter in an inner sum; and two letters for one axis.
    "sum[n,k] exp(z[n,k]) / (sum[k] exp(z[n,k])) * W2[k,h] * x[n,d]": None,
    "sum[n,k] exp(z[n,k]) / (sum[j] exp(z[n,j])) * W2[k,h] * x[n,d]": lambda t, h, d: sum(
        math.exp(t.z[n, k]) / sum(math.exp(t.z[n, j]) for j in K) * t.W[2][k, h] * t.x[n, d]
        for n in N
        for k in K
    ),
    "W1[h,d] / sum[g] W1[g,d] ** 2": lambda t, h, d: t.W[1][h, d] / sum(t.W[1][g, d] ** 2 for g in H),
    # A term that does not depend on the letter is multiplied by its number of values.
    "sum[n] (x[n,d] - b1[h])": lambda t, h, d: sum(t.x[n, d] - t.b[1][h] for n in N),
    "sum[n] 2 * (x[n,d] - b1[h]) * (b1[h] + 1 - x[n,d])": lambda t, h, d: sum(
        2 * (t.x[n, d] - t.b[1][h]) * (t.b[1][h] + 1 - t.x[n, d]) for n in N
    ),
    "sum[k] (sum[n] p[n,k] - W1[h,d])": lambda t, h, d: sum(
        sum(t.p[n, k] for n in N) - t.W[1][h, d] for k in K
    ),
    "W1[h,d] + p[1,0] * b1[2] * x[0,d]": lambda t, h, d: t.W[1][h, d] + t.p[1, 0] * t.b[1][2] * t.x[0, d],
    " W1[h,d]\n  +\tz[0,1] ": lambda t, h, d: t.W[1][h, d] + t.z[0, 1],
    "sum [ n , k ](p[n,k])*W2[k,h]*x[n,d]": lambda t, h, d: sum(
        t.p[n, k] * t.W[2][k, h] * t.x[n, d] for n in N for k in K
    ),
    "a2[0,0] * y[0,1] + W1[h,d]": lambda t, h, d: t.z[0, 0] * t.y[0, 1] + t.W[1][h, d],
}


_SAME_LETTER, _OTHER_LETTER = (
    f"sum[n,k] exp(z[n,k]) / (sum[{j}] exp(z[n,{j}])) * W2[k,h] * x[n,d]" for j in "kj"
)


PLAIN[_SAME_LETTER] = PLAIN[_OTHER_LETTER]


@pytest.mark.parametrize("text", [text for text in PLAIN if text != _SAME_LETTER])
def test_every_element_equals_plain_loops(text):
    expected = [[PLAIN[text](TRACE, h, d) for d in D] for h in H]
    np.testing.assert_allclose(only("W1", text)(TRACE), expected, rtol=1e-12, atol=1e-13)


def test_a_letter_bound_by_an_outer_sum_cannot_be_bound_again():
    error = rejected("W1", _SAME_LETTER)
    assert (error.start, error.end) == (_SAME_LETTER.index("(sum[k]") + 5, _SAME_LETTER.index("(sum[k]") + 6)
    assert error.reason == "k is already summed by an outer sum"


@pytest.mark.slow
@examples(200)
@given(random_formulas)
def test_random_formulas_equal_plain_loops(drawn):
    text, value, _ = drawn
    # Make sure that every letter of W1 and of the sum occurs.
    whole = f"sum[n,k] x[n,d] * W2[k,h] * ({text})"
    assume(len(whole) <= 2000)
    expected = [
        [
            sum(
                TRACE.x[n, d] * TRACE.W[2][k, h] * value({"n": n, "k": k, "h": h, "d": d})
                for n, k in itertools.product(N, K)
            )
            for d in D
        ]
        for h in H
    ]
    np.testing.assert_allclose(only("W1", whole)(TRACE), expected, rtol=1e-9, atol=1e-9)


def test_ranges_of_samples_give_the_same_result(monkeypatch):
    text = "sum[n] (p[n,0] - y[n,0]) * W2[0,h] * dphi(W1[h,d] * x[n,d] + b1[h]) * x[n,d] / N + W1[h,d]"
    formula = only("W1", text)
    trace = trace_of((4, 3, 2), N=37)
    whole = formula(trace)
    calls = []
    monkeypatch.setattr(evaluate, "MOST_NUMBERS", 4 * 3 * 5)
    narrow = replace(trace, dphi=lambda a: calls.append(a.shape) or trace.dphi(a))
    np.testing.assert_allclose(formula(narrow), whole, rtol=1e-12)
    assert len(calls) == 8
    assert {math.prod(shape) for shape in calls} == {4 * 3 * 5, 4 * 3 * 2}


def test_ranges_of_samples_with_a_term_independent_of_them(monkeypatch):
    formula = only("W1", "sum[n] (x[n,d] - exp(W1[h,d]))")
    whole = formula(TRACE)
    monkeypatch.setattr(evaluate, "MOST_NUMBERS", 4)
    np.testing.assert_allclose(formula(TRACE), whole, rtol=1e-12)


def test_a_trace_is_not_modified():
    for text in ("W1[h,d]", "W1[h,d] - W1[h,d]", "-W1[h,d]"):
        before = TRACE.W[1].copy()
        only("W1", text)(TRACE)[...] = 7
        np.testing.assert_array_equal(TRACE.W[1], before)


def test_the_arrays_of_a_network_are_those_of_its_trace():
    for depth in (1, 2, 3):
        trace = trace_of((4, 3, 6, 2)[: depth + 1] if depth < 3 else (4, 3, 6, 2))
        sizes = {-1: len(trace.x), 0: trace.x.shape[1], **{i: len(trace.b[i]) for i in trace.b}}
        for letter in "ahWb":
            for layer in range(5):
                axes, array = axes_of(f"{letter}{layer}", depth), getattr(trace, letter).get(layer)
                assert (axes is None) == (array is None)
                assert array is None or array.shape == tuple(sizes[axis] for axis in axes)
        assert set(tensors_of(depth)) == set(trace.backprop())


@pytest.mark.parametrize(
    ("text", "mark", "message"),
    [
        ("W1[h,d] / (N - 5)", "N - 5", "divide by zero"),
        ("W1[h,d] + log(-exp(W1[h,d]))", "log(-exp(W1[h,d]))", "invalid value"),
        ("exp(exp(W1[h,d] ** 2 + 9))", "exp(exp(W1[h,d] ** 2 + 9))", "overflow"),
        ("W1[h,d] * x[7,d]", "7", "this axis of x has 5 entries, counted from 0"),
    ],
)
def test_an_error_in_the_evaluation_has_a_position(text, mark, message):
    formula = only("W1", text)
    with pytest.raises(FormulaError, match=message) as caught:
        formula(TRACE)
    assert text[caught.value.start : caught.value.end] == mark
    assert caught.value.tensor == "W1"


PAIRS = " * ".join(f"exp(x[{a},0]*x[{b},0])" for a, b in itertools.combinations("nmqsuv", 2))


@pytest.mark.parametrize(
    "text",
    [
        "sum[n,m,q,s,u,v] exp(x[n,0]*x[m,0]*x[q,0]*x[s,0]*x[u,0]*x[v,0]) * y[n,k]",
        f"sum[n,m,q,s,u,v] {PAIRS} * y[n,k]",
    ],
)
def test_work_without_end_is_refused_before_it_begins(text):
    with pytest.raises(FormulaError, match=r"this takes \de\+"):
        only("b2", text)(trace_of((4, 3, 2), N=100))


def test_many_samples_are_no_obstacle_to_a_sum_of_products():
    """N·K·H·D is 6e11, but the contraction has far fewer products."""
    formula = only("W1", CS446["W1"])
    trace = trace_of((50, 40, 10), N=30_000)
    assert formula(trace).shape == (40, 50)
