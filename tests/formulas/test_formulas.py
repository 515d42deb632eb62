"""Derivations as index formulas: read, checked before any number, computed, installed as YAML files."""

import itertools
import math
import os
import random
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from backproof.contracts.errors import InvalidValue, PluginError
from backproof.discovery.registry import PluginWarning, registry
from backproof.discovery.yaml_derivation import derivation_of
from backproof.experiment.run import GradcheckFailedError
from backproof.formulas import FormulaError, FormulasError, Rule, evaluate
from backproof.formulas.indices import axes_of, tensors_of
from backproof.formulas.parser import parse
from backproof.formulas.tree import Entry, Sum, children, free, shown
from backproof.nn.derivation import DerivedPass
from backproof.nn.mlp import MLP, Pass
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.helpers.experiments import experiment, run
from tests.helpers.fuzz import examples

REG = registry()

CS446 = {
    "W2": "sum[n] (p[n,k] - y[n,k]) * phi(a1[n,h]) / N",
    "b2": "sum[n] (p[n,k] - y[n,k]) / N",
    "W1": "sum[n,k] (p[n,k] - y[n,k]) * W2[k,h] * dphi(a1[n,h]) * x[n,d] / N",
    "b1": "sum[n,k] (p[n,k] - y[n,k]) * W2[k,h] * dphi(a1[n,h]) / N",
}


def trace_of(sizes, N=5, activation="tanh", seed=0, dtype=np.float64):
    """A trace of a random network of these sizes: (D, H1, ..., K)."""
    net = MLP(sizes, REG.build("activation", activation), REG.build("loss", "softmax_cross_entropy"))
    rng = np.random.default_rng(seed)
    theta = rng.standard_normal((1, net.layout.P)).astype(dtype)
    grad = np.zeros_like(theta)
    passing = Pass(net, theta, grad, N)
    x = np.ones((1, N, sizes[0] + 1), dtype)
    x[..., :-1] = rng.standard_normal((1, N, sizes[0]))
    y = net.loss.encode(rng.integers(0, sizes[-1], N), sizes[-1], dtype)[None]
    memory = np.empty((1, sizes[-1], N), dtype)
    passing.forward(x.swapaxes(1, 2), memory)
    derivation = REG.build("derivation", "backprop")
    return DerivedPass(net, derivation, passing, theta, grad).trace(0, x, y, memory.swapaxes(1, 2))


TRACE = trace_of((4, 3, 2))  # D, H, K and N all differ


def derived_rule(depth):
    """The right formulas for any depth."""
    hidden = "ghijlm"
    texts = {}
    for layer in range(1, depth + 1):
        summed, factors = ["n"], ["(p[n,k] - y[n,k])"]
        above = "k"
        for each in range(depth - 1, layer - 1, -1):
            summed.append(above)
            own = hidden[each]
            factors += [f"W{each + 1}[{above},{own}]", f"dphi(a{each}[n,{own}])"]
            above = own
        below = "d" if layer == 1 else hidden[layer - 1]
        body = f"sum[{','.join(summed)}] " + " * ".join(factors)
        texts[f"W{layer}"] = f"{body} * h{layer - 1}[n,{below}] / N"
        texts[f"b{layer}"] = f"{body} / N"
    return texts


def only(left, text, depth=2):
    """The formula of one tensor, all others being right."""
    tensor = left.partition("[")[0]
    others = {k: v for k, v in derived_rule(depth).items() if k != tensor}
    return Rule.read({**others, left: text}).formulas[tensor]


def refused(tensor, text, depth=2):
    with pytest.raises(FormulasError) as caught:
        only(tensor, text, depth)
    (error,) = caught.value.errors
    return error


# Right formulas are right


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
        got = rule.formulas[tensor](trace)
        np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-12)
        assert got.dtype == expected.dtype


def test_float32_stays_float32():
    trace = trace_of((4, 3, 2), dtype=np.float32)
    text = (
        "2 * sum[n,k] exp(z[n,k]) / (sum[j] exp(z[n,j])) * W2[k,h] ** 2 * dphi(a1[n,h] * N) / (1 + N) * x[n,d]"
    )
    assert only("W1", text)(trace).dtype == np.float32
    for tensor, expected in trace.backprop().items():
        got = Rule.read(CS446).formulas[tensor](trace)
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)


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


# Every element of the grammar against plain loops

D, H, K, N = range(4), range(3), range(2), range(5)
PLAIN = {
    # text: a function of the indices of W1, and of the trace
    "sum[n] p[n,0] * x[n,d] * h1[n,h]": lambda t, h, d: sum(t.p[n, 0] * t.x[n, d] * t.h[1][n, h] for n in N),
    "sum[n,k] x[n,d] * a1[n,h] * W2[k,h] + b1[h]": lambda t, h, d: (
        sum(t.x[n, d] * t.a[1][n, h] * t.W[2][k, h] for n in N for k in K) + t.b[1][h]
    ),
    "W1[h,d] - b1[h] - 2": lambda t, h, d: t.W[1][h, d] - t.b[1][h] - 2,
    "W1[h,d] - (b1[h] - 2)": lambda t, h, d: t.W[1][h, d] - (t.b[1][h] - 2),
    "2 * sum[k] W2[k,h] * b2[k] * W1[h,d] - 3e-1": lambda t, h, d: (
        2 * sum(t.W[2][k, h] * t.b[2][k] for k in K) * t.W[1][h, d] - 0.3
    ),
    # A sum reaches to the end of its term: over y as well, but not over b1.
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
    # A letter again, bound inside and free outside; and two letters for one axis.
    "sum[n,k] exp(z[n,k]) / (sum[k] exp(z[n,k])) * W2[k,h] * x[n,d]": None,
    "sum[n,k] exp(z[n,k]) / (sum[j] exp(z[n,j])) * W2[k,h] * x[n,d]": lambda t, h, d: sum(
        math.exp(t.z[n, k]) / sum(math.exp(t.z[n, j]) for j in K) * t.W[2][k, h] * t.x[n, d]
        for n in N
        for k in K
    ),
    "W1[h,d] / sum[g] W1[g,d] ** 2": lambda t, h, d: t.W[1][h, d] / sum(t.W[1][g, d] ** 2 for g in H),
    # A term that lacks a letter is summed as often as the letter has values.
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
_ONE, _TWO = (f"sum[n,k] exp(z[n,k]) / (sum[{j}] exp(z[n,{j}])) * W2[k,h] * x[n,d]" for j in "kj")
PLAIN[_ONE] = PLAIN[_TWO]


@pytest.mark.parametrize("text", [each for each in PLAIN if each != _ONE])
def test_every_element_equals_plain_loops(text):
    expected = [[PLAIN[text](TRACE, h, d) for d in D] for h in H]
    np.testing.assert_allclose(only("W1", text)(TRACE), expected, rtol=1e-12, atol=1e-13)


def test_a_letter_bound_by_a_sum_around_cannot_be_bound_again():
    error = refused("W1", _ONE)
    assert (error.start, error.end) == (_ONE.index("(sum[k]") + 5, _ONE.index("(sum[k]") + 6)
    assert error.reason == "k is already summed by the sum around this one"


#: The letters of each axis, and entries by array.
LETTERS = {"n": N, "m": N, "d": D, "h": H, "g": H, "k": K, "j": K}
ENTRIES = {
    "x": ("nm", "d"),
    "p": ("nm", "kj"),
    "a1": ("nm", "hg"),
    "W2": ("kj", "hg"),
    "W1": ("hg", "d"),
    "b2": ("kj",),
}


class Writer:
    """Writes random formulas: a text, its value at an assignment of letters, and its free letters."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def entry(self, bound, name=None):
        name = name or self.random.choice([*ENTRIES])
        array = TRACE.p if name == "p" else TRACE.x if name == "x" else getattr(TRACE, name[0])[int(name[1])]
        at = []
        for axis in ENTRIES[name]:
            if self.random.random() < 0.1:
                at.append(0)
            else:
                at.append(self.random.choice([each for each in axis if each in bound or each in "nkhd"]))
        text = f"{name}[{','.join(map(str, at))}]"
        return text, lambda e: array[tuple(e.get(each, each) for each in at)], {e for e in at if e != 0}

    def factor(self, level, bound):
        kind = self.random.choice(["entry", "entry", "N", "0.5", "()", "exp", "dphi", "**"])
        if kind == "entry" or (level == 0 and kind not in ("N", "0.5")):
            return self.entry(bound)
        if kind in ("N", "0.5"):
            number = {"N": 5.0, "0.5": 0.5}[kind]
            return kind, lambda e: number, set()
        text, value, letters = self.total(level - 1, bound)
        match kind:
            case "exp":
                return f"exp(-({text}) ** 2)", lambda e: math.exp(-(value(e) ** 2)), letters
            case "dphi":
                return f"dphi({text})", lambda e: 1 - math.tanh(value(e)) ** 2, letters
            case "**":
                return f"({text}) ** 2", lambda e: value(e) ** 2, letters
        return f"({text})", value, letters

    def term(self, level, bound):
        text, value, letters = self.factor(level, bound)
        for _ in range(self.random.randint(0, 2)):
            its, other, own = self.factor(level, bound)
            if self.random.random() < 0.3:
                text += f" / (2 + ({its}) ** 2)"
                value = lambda e, a=value, b=other: a(e) / (2 + b(e) ** 2)  # noqa: E731
            else:
                text += f" * {its}"
                value = lambda e, a=value, b=other: a(e) * b(e)  # noqa: E731
            letters = letters | own
        if level and self.random.random() < 0.4:
            its, other, own = self.sum(level - 1, bound)
            return f"{text} * {its}", lambda e, a=value, b=other: a(e) * b(e), letters | own
        return text, value, letters

    def sum(self, level, bound):
        letter = self.random.choice([each for each in "mgjhd" if each not in bound])
        inner = bound | {letter}
        (name,) = self.random.sample([n for n, axes in ENTRIES.items() if letter in "".join(axes)], 1)
        text, value, letters = self.term(level, inner)
        if letter not in letters:
            its, other, own = "", None, set()
            while letter not in own:
                its, other, own = self.entry(inner, name)
            text, letters = f"{its} * {text}", letters | own
            value = lambda e, a=value, b=other: a(e) * b(e)  # noqa: E731
        whole = lambda e: sum(value({**e, letter: i}) for i in LETTERS[letter])  # noqa: E731
        return f"sum[{letter}] {text}", whole, letters - {letter}

    def total(self, level, bound):
        text, value, letters = self.term(level, bound)
        if self.random.random() < 0.2:
            text, value = f"-{text}", (lambda e, a=value: -a(e))
        for _ in range(self.random.randint(0, 1)):
            its, other, own = self.term(level, bound)
            if self.random.random() < 0.5:
                text, value = f"{text} - {its}", (lambda e, a=value, b=other: a(e) - b(e))
            else:
                text, value = f"{text} + {its}", (lambda e, a=value, b=other: a(e) + b(e))
            letters = letters | own
        return text, value, letters


written = st.integers(0, 2**32).map(lambda seed: Writer(seed).total(2, frozenset("nk")))


@examples(200)
@given(written)
def test_random_formulas_equal_plain_loops(drawn):
    text, value, _ = drawn
    # For a letter that the formula has not, and that W1 and the sum need, there is this.
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


def test_samples_in_ranges_give_the_same(monkeypatch):
    text = "sum[n] (p[n,0] - y[n,0]) * W2[0,h] * dphi(W1[h,d] * x[n,d] + b1[h]) * x[n,d] / N + W1[h,d]"
    formula = only("W1", text)
    trace = trace_of((4, 3, 2), N=37)
    whole = formula(trace)
    calls = []
    monkeypatch.setattr(evaluate, "ROOM", 4 * 3 * 5)
    narrow = replace(trace, dphi=lambda a: calls.append(a.shape) or trace.dphi(a))
    np.testing.assert_allclose(formula(narrow), whole, rtol=1e-12)
    assert len(calls) == 8
    assert {math.prod(shape) for shape in calls} == {4 * 3 * 5, 4 * 3 * 2}


def test_ranges_of_samples_that_a_term_does_not_depend_on(monkeypatch):
    formula = only("W1", "sum[n] (x[n,d] - exp(W1[h,d]))")
    whole = formula(TRACE)
    monkeypatch.setattr(evaluate, "ROOM", 4)
    np.testing.assert_allclose(formula(TRACE), whole, rtol=1e-12)


def test_nothing_is_written_into_a_trace():
    for text in ("W1[h,d]", "W1[h,d] - W1[h,d]", "-W1[h,d]"):
        before = TRACE.W[1].copy()
        only("W1", text)(TRACE)[...] = 7
        np.testing.assert_array_equal(TRACE.W[1], before)


# What is wrong is said before any number is computed: (tensor, formula, the place marked, words of the message)

WRONG = [
    # syntax
    ("b1", "", "", "the formula is empty"),
    ("W1", "sum[n] p[n,k] x[n,d]", "x", "two factors without a sign between them"),
    ("W1", "2 (x[n,d])", "(", "two factors without a sign"),
    ("W1", "(x[n,d] * 2", "(", r"\( is never closed"),
    ("W1", "x[n,d)", ")", r"\) closes \["),
    ("W1", "x[n,d] * 2)", ")", r"\) closes nothing"),
    ("W1", "x[n,d] * / 2", "/", "cannot be read from here on"),
    ("W1", "x[n,d] *", "*", r"the formula ends with \*"),
    ("W1", "x[n,d] = 2", "=", "'=' is not part of a formula"),
    ("W1", "x[n,d] − p[n,k]", "−", "expected - instead"),
    ("W1", "W1[h,d]^2", "^", r"expected \*\* instead"),
    ("W1", "phi'(a1[n,h])", "'", r"expected dphi\(\.\.\.\) instead"),
    ("W1", "x[n,d] # note", "#", "'#' is not part of a formula"),
    ("W1", "sum[n]", "sum[n]", r"sum\[n\] is followed by nothing"),
    ("W1", "sum[n] * x[n,d]", "sum[n]", "expected what it sums right behind it"),
    ("W1", "sum(x[n,d])", "sum(x[n,d])", "a sum names its letters in brackets"),
    ("W1", "2 * sum", "sum", "a sum names its letters in brackets"),
    ("W1", "2 ** sum[n] x[n,d]", "sum[n]", "a sum cannot stand here"),
    ("W1", "W1[h,d] / sum[n] x[n,d] * h1[n,h]", "sum[n]", "not clear how far this sum below the line reaches"),
    ("W1", "sum[n,n] x[n,d] * h1[n,h]", ("n] x", 1), "n is summed twice"),
    ("W1", "sum[3] x[n,d] * h1[n,h]", "3", "a sum runs over letters"),
    ("W1", "sum[] x[n,d] * h1[n,h]", "]", "cannot be read"),
    ("W1", "-" * 60 + "W1[h,d]", "", "nested too deeply"),
    ("W1", "-" * 1900 + "W1[h,d]", "", "nested too deeply"),
    ("W1", "+".join(["W1[h,d]"] * 400), "", "has 3199 characters"),
    ("W1", "W1[h,d] * 1e999", "1e999", "the number is too large"),
    ("W1", "W1[h,d] * 1j", "1j", "1j is no real number"),
    ("W1", "W1[h,d] * True", "True", "'True' is not part of a formula"),
    # what Python has and a formula has not
    ("W1", "open(x[n,d])", "open", "there is no function 'open'"),
    ("W1", "expp(x[n,d])", "expp", "did you mean exp"),
    ("W1", "exp(x[n,d], 2)", "exp(x[n,d], 2)", "exp takes one number"),
    ("W1", "exp()", "exp()", "exp takes one number"),
    ("W1", "exp(*x[n,d])", "exp(*x[n,d])", "exp takes one number"),
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
    ("W1", "exp(x[n,d])(2)", ("(2", 1), "two factors without a sign"),
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
    ("W1", "W1[h][d]", "W1[h][d]", "indices stand in one pair of brackets"),
    ("W1", "W1[h,d+1]", "d+1", "this is no index"),
    ("W1", "W1[h,-1]", "-1", "this is no index"),
    ("W1", "W1[h,x]", "x", "x is no index"),
    ("W1", "W1[h,N]", "N", "N is no index"),
    ("W1", "sum[exp] W1[h,exp]", "exp", "exp is no index"),
    # indices
    ("W1", "W1[h]", "W1[h]", "W1 has 2 indices, not 1\n"),
    ("W1", "b1[h,d]", "b1[h,d]", "b1 has 1 index, not 2\n(.|\n)*expected indices for the hidden units"),
    (
        "W1",
        "sum[n] x[n,d] * h1[d,h]",
        ("d,h", 1),
        r"d stands for the inputs \(in x\[n,d\]\), but this index of h1 runs",
    ),
    (
        "W1",
        "sum[n,k] (p[n,k] - y[n,k]) * W2[h,k] * dphi(a1[n,h]) * x[n,d]",
        ("k] * dphi", 1),
        r"k stands for the outputs \(in p\[n,k\]\), but this index of W2 runs over the hidden units",
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
    ("W1", "sum[n,j] x[n,d] * h1[n,h]", ("j]", 1), "j is summed, but is no index of what is summed"),
    (
        "W1",
        "sum[n,k] x[n,d] * h1[n,h] + sum[n] p[n,k] * W1[h,d]",
        ("k]", 1),
        "k is summed, but is no index of what",
    ),
    ("W1", "sum[n,h] x[n,d] * h1[n,h]", ("h]", 1), "h is summed, but W1 has an index for the hidden units"),
    ("W1", "sum[n] x[n,d]", "sum[n] x[n,d]", "W1 has an index for the hidden units, and the formula has none"),
    ("b2", "1", "1", "b2 has an index for the outputs, and the formula has none"),
    ("W1", "sum[n] x[n,d] * h1[n,h] * a1[n,g]", ("g]", 1), "h and g both stand for the hidden units"),
    # left sides
    (
        "W1[h,d]",
        "sum[n] x[n,d] * h1[n,g]",
        ("g]", 1),
        r"g is not summed: it runs over the hidden units, and W1\[h,d\]",
    ),
    ("W1[d,h]", "sum[n] x[n,d] * h1[n,h]", ("d] *", 1), r"d stands for the hidden units \(in W1\[d,h\]\)"),
    ("W1[h,d]", "sum[n,h] x[n,d] * h1[n,h]", ("h]", 1), "h is summed, but W1 has an index"),
    (
        "W1[g,d]",
        "sum[n] x[n,d]",
        "sum[n] x[n,d]",
        "expected g, which stands for the hidden units, in one of its",
    ),
]


def place_of(text, mark):
    """The range that a case names: a piece of the text, or (where it starts, its length, which occurrence)."""
    if not isinstance(mark, tuple):
        return text.index(mark), text.index(mark) + len(mark)
    piece, length, which = (*mark, 1)[:3]
    at = -1
    for _ in range(which):
        at = text.index(piece, at + 1)
    return at, at + length


@pytest.mark.parametrize(("tensor", "text", "mark", "message"), WRONG)
def test_what_is_wrong_is_named_and_pointed_at(tensor, text, mark, message):
    error = refused(tensor, text)
    assert error.tensor == tensor.partition("[")[0]
    shown_error = str(error)
    with pytest.raises(FormulaError, match=message):
        raise error
    assert "\n    expected " in shown_error
    if mark:
        assert (error.start, error.end) == place_of(text, mark)
        _, line, carets, *_ = shown_error.splitlines()
        assert line == f"    {text}"
        assert carets == " " * (4 + error.start) + "^" * (error.end - error.start)


def test_parentheses_alone_are_no_depth():
    only("W1", "(" * 60 + "W1[h,d]" + ")" * 60 + " * 1")


def test_the_message_in_full():
    error = refused("W1", "sum[n] (p[n,k] - y[n,k]) * W2[k,h] * dphi(a1[n,h]) * x[n,d] / N")
    assert str(error) == (
        "W1: k is not summed: it runs over the outputs, and W1 has no such index\n"
        "    sum[n] (p[n,k] - y[n,k]) * W2[k,h] * dphi(a1[n,h]) * x[n,d] / N\n"
        "                ^\n"
        "    expected a sum over it, as in sum[n,k]"
    )


def test_the_caret_of_a_formula_of_several_lines():
    error = refused("W1", "sum[n]\n\tp[n,k]\n\t* x[n,d] * h1[n,h]\n")
    assert str(error).splitlines()[1:3] == ["    \tp[n,k]", "    \t    ^"]


def test_layers_are_named_in_deeper_networks():
    assert "the hidden units of layer 2" in str(refused("W1", "sum[n] x[n,d] * h2[n,h]", depth=3))


@pytest.mark.parametrize(
    ("left", "start", "end", "message"),
    [
        ("W1[h]", 3, 4, "W1 has 2 indices, not 1"),
        ("b1[h,d]", 5, 6, "b1 has 1 index, not 2"),
        ("W1[h,h]", 5, 6, "h stands here twice"),
        ("W1[h,0]", 5, 6, "this is no index"),
        ("W1[h, x]", 6, 7, "this is no index"),
        ("W1[h,]", 5, 6, "this is no index"),
        ("W1(h,d)", 0, 7, "this is no tensor"),
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
        ({"w1": CS446["W1"]}, "w1 is no tensor, did you mean W1"),
        ({"W01": CS446["W1"]}, "W01 is no tensor"),
        ({"a1": CS446["W1"]}, "a1 is no tensor"),
        ({"W1[h,d]": CS446["W1"]}, "W1 has two formulas, expected one"),
        (dict.fromkeys(CS446), r"there are no formulas of W1, b1, \.\.\.; got nothing"),
        ({"W99": "W99[a,b]"}, "no formula for W3, b3"),
    ],
)
def test_tensors_that_are_missing_or_too_many(change, message):
    texts = {k: v for k, v in {**CS446, **change}.items() if v is not None}
    with pytest.raises(FormulasError, match=message):
        Rule.read(texts)


def test_all_wrong_formulas_are_said_at_once():
    with pytest.raises(FormulasError) as caught:
        Rule.read({"W1": "q[n,d]", "b1": "1 +", "W2": CS446["W2"]})
    no_b2, one, other = caught.value.errors
    assert "no formula for b2" in no_b2
    assert (one.tensor, other.tensor) == ("W1", "b1")


@examples(300)
@given(st.text(alphabet="xpyznkhdWab12N()[],+-*/. sumexp\n\té@#'", max_size=40))
def test_any_text_is_read_or_refused_with_a_place(text):
    found = None
    try:
        parse(text)
    except FormulaError as error:
        found = error.of("W1", text)
    if found is not None:
        assert 0 <= found.start < max(len(text), 1)
        assert "^" in str(found)


@examples(150)
@given(written)
def test_places_are_those_of_the_text(drawn):
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


def test_arrays_of_a_network_are_those_of_its_trace():
    for depth in (1, 2, 3):
        trace = trace_of((4, 3, 6, 2)[: depth + 1] if depth < 3 else (4, 3, 6, 2))
        sizes = {-1: len(trace.x), 0: trace.x.shape[1], **{i: len(trace.b[i]) for i in trace.b}}
        for letter in "ahWb":
            for layer in range(5):
                axes, array = axes_of(f"{letter}{layer}", depth), getattr(trace, letter).get(layer)
                assert (axes is None) == (array is None)
                assert array is None or array.shape == tuple(sizes[axis] for axis in axes)
        assert set(tensors_of(depth)) == set(trace.backprop())


# Numbers that cannot be


@pytest.mark.parametrize(
    ("text", "mark", "message"),
    [
        ("W1[h,d] / (N - 5)", "N - 5", "divide by zero"),
        ("W1[h,d] + log(-exp(W1[h,d]))", "log(-exp(W1[h,d]))", "invalid value"),
        ("exp(exp(W1[h,d] ** 2 + 9))", "exp(exp(W1[h,d] ** 2 + 9))", "overflow"),
        ("W1[h,d] * x[7,d]", "7", "x has 5 entries here, counted from 0"),
    ],
)
def test_numbers_that_cannot_be_are_an_error_with_a_place(text, mark, message):
    formula = only("W1", text)
    with pytest.raises(FormulaError, match=message) as caught:
        formula(TRACE)
    assert text[caught.value.start : caught.value.end] == mark
    assert caught.value.tensor == "W1"


# Reports


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


def test_trees_are_equal_wherever_they_stand():
    assert parse("p[n,k]*2") == parse("  p[n, k]  *  2 ")
    assert shown(parse("p[n,k]*2")) == "p_nk 2"


# Files


def derivation(tmp_path, content, name="mine.yaml"):
    file = tmp_path / name
    file.write_text(content)
    return derivation_of(file)


def yaml_of(texts):
    return "gradients:\n" + "".join(f"  {left}: {text}\n" for left, text in texts.items())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file is empty"),
        ("- a\n", "line 1: the file must be a mapping, KEY: VALUE; got a list"),
        ("a: [\n", "line 2, column 1: this is no YAML"),
        ("description: x\n", "it has no key gradients"),
        ("gradient:\n  W1: 1\n", "line 1: there is no key 'gradient', did you mean gradients"),
        ("gradients: W1\n", "line 1: gradients must be a mapping, KEY: VALUE; got a single value"),
        ("gradients:\n  W1: [1]\n", "line 2: W1 must be text, got a list"),
        (yaml_of(CS446) + "  W1: 1\n", "line 6: W1 stands here twice"),
        (yaml_of({**CS446, "W1": "- x[n,d]"}), "line 4, column 7: this is no YAML"),
        (yaml_of({**CS446, "W1": "q[n,d]"}), "line 4: W1: there is no array 'q'"),
        (yaml_of({**CS446, "W1[h,d]": "q[n,d]"}), "W1 has two formulas"),
        ("description: {}\n" + yaml_of(CS446), "line 1: description must be text, got a mapping"),
        ("gradients:\n  W1: \x00\n", "this is no YAML"),
        ("---\na: 1\n---\nb: 1\n", "this is no YAML"),
    ],
)
def test_broken_files(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        derivation(tmp_path, content)


def test_a_file_may_hold_formulas_in_any_form_of_text(tmp_path):
    content = (
        "description: |\n  One line.\n\n  More on it.\nloss: softmax_cross_entropy\ngradients:\n"
        "  W2: >-\n    sum[n] (p[n,k] - y[n,k])\n    * phi(a1[n,h]) / N\n"
        f"  b2: '{CS446['b2']}'\n"
        f'  "W1[h,d]": |\n    sum[n,k] (p[n,k] - y[n,k]) * W2[k,h]\n    * dphi(a1[n,h]) * x[n,d] / N\n'
        f"  b1: {CS446['b1']} # a comment of YAML\n"
    )
    cls = derivation(tmp_path, content)
    assert cls.__doc__.startswith("One line. Derived for loss=softmax_cross_entropy.\n\nMore on it.")
    assert cls.formulas["b2"] == "∂Err/∂(b2)_k = Σ_n (p_nk − y_nk) / N"
    for tensor, expected in TRACE.backprop().items():
        np.testing.assert_allclose(cls().gradients(TRACE)[tensor], expected, rtol=1e-12, atol=1e-14)


def test_a_network_of_another_depth_is_refused_before_training():
    with pytest.raises(
        ValueError, match=r"'cs446' has formulas for W1, b1, W2, b2, the network has the tensors W1"
    ):
        experiment(derivation="cs446", hidden=(8, 4)).prepare(REG)
    with pytest.raises(ValueError, match=r"give model\.hidden 1 number"):
        experiment(derivation="cs446", hidden=()).prepare(REG)


def test_an_entry_that_the_network_has_not_is_refused_before_training(tmp_path):
    mine = derivation(tmp_path, yaml_of({**CS446, "b2": "sum[n] (p[n,k] - y[n,3]) / N"}))
    mine.name = "x"
    with pytest.raises(FormulaError, match=r"derivation 'x', b2: y has 3 entries here") as caught:
        experiment(derivation=mine()).prepare(REG)
    assert caught.value.text[caught.value.start] == "3"


def test_cs446_trains_as_backprop_does():
    ours, own = run(derivation="cs446", repeats=2, hidden=(8,)), run(repeats=2, hidden=(8,))
    assert ours.report.passed
    np.testing.assert_allclose(ours.theta, own.theta, rtol=1e-9, atol=1e-12)


def test_cs446_as_written_fails_in_these_two_tensors():
    with pytest.raises(GradcheckFailedError) as caught:
        run(derivation="cs446_as_written")
    assert {result.tensor for _, result in caught.value.report.failures} == {"W1", "b1"}
    rule = type(REG.build("derivation", "cs446_as_written")).rule
    t = TRACE
    delta = (t.p - t.y)[:, 0]
    single = t.W[1][None] * t.x[:, None] + t.b[1][:, None]
    W1 = np.einsum("n,h,nhd,nd->hd", delta, t.W[2][0], t.dphi(single), t.x) / t.N
    np.testing.assert_allclose(rule.formulas["W1"](t), W1, rtol=1e-12)
    b1 = (delta[:, None] * t.W[2][0] * t.dphi(t.a[1])).mean(0)
    np.testing.assert_allclose(rule.formulas["b1"](t), b1, rtol=1e-12)


def test_derivations_of_files_train_with_float32_and_short_batches():
    result = run(derivation="cs446", train={"dtype": "float32", "batch_size": 7})
    assert result.report.passed


# From the user's directory to the command

QUICK = ["dataset=iris", "train.epochs=2", "tracking=off"]


def backproof(*args, code=0):
    done = subprocess.run(
        [sys.executable, "-m", "backproof", *args], capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A directory of the user's own with one derivation, and an empty working directory."""
    (tmp_path / "mine/derivation").mkdir(parents=True)
    text = "description: My own rule.\nactivation: relu\n" + yaml_of(CS446)
    (tmp_path / "mine/derivation/paper.yaml").write_text(text)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("BACKPROOF_PLUGINS", str(tmp_path / "mine"))
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    monkeypatch.setenv("PYTHONPATH", root)
    return tmp_path / "mine"


def test_a_file_of_ones_own_trains_and_is_listed(folder):
    assert "✓ passed" in backproof("train", "derivation=paper", *QUICK).stdout
    listed = backproof("plugins", "derivation").stdout
    assert "paper  My own rule. Derived for activation=relu." in listed
    assert str(folder / "derivation/paper.yaml") in listed
    assert "∂Err/∂(b2)_k = Σ_n (p_nk − y_nk) / N" in listed
    assert "2 of 2 checks" in backproof("verify", "derivation", "paper").stdout
    errors = backproof("train", "derivation=paper", "model.hidden=[8,4]", *QUICK, code=2).stderr
    assert "derivation 'paper' has formulas for W1, b1, W2, b2, the network has" in errors


def test_a_wrong_formula_is_stopped_before_training(folder):
    (folder / "paper.yml").write_text(yaml_of({**CS446, "b2": "sum[n] (p[n,k] - y[n,k])"}))
    (folder / "derivation/paper.yaml").unlink()
    done = backproof("train", "derivation=paper", *QUICK, code=1)
    assert "the gradient check failed" in done.stderr
    assert "b2[" in done.stderr
    assert "W1" not in done.stderr.partition("diagnosis")[0]
    assert "sum over the samples, not their mean" in done.stderr or "1/N" in done.stderr


def found(folder, monkeypatch):
    registry.cache_clear()
    try:
        return registry()
    finally:
        registry.cache_clear()
        monkeypatch.delenv("BACKPROOF_PLUGINS")
        registry()


def test_a_broken_file_is_a_warning(folder, monkeypatch):
    bad = folder / "derivation/bad.yaml"
    bad.write_text(yaml_of({**CS446, "W1": CS446["W1"].replace("n,k]", "n]", 1)}))
    with pytest.warns(PluginWarning, match=r"bad.yaml is left out: FormulasError: line 4: W1: k is not summed"):
        plugins = found(folder, monkeypatch)
    assert "paper" in plugins.names("derivation")
    assert "bad" not in plugins.names("derivation")
    assert plugins.broken[0][0] == bad


def test_other_yaml_beside_the_kinds_folders_is_left_alone(folder, monkeypatch):
    (folder / "compose.yaml").write_text("services: []\n")
    (folder / "_draft.yaml").write_text("gradients: 1\n")
    (folder / "flat.yaml").write_text(yaml_of(CS446))
    assert {"flat", "paper"} <= set(found(folder, monkeypatch).names("derivation"))


@pytest.mark.parametrize("other", ["paper.yml", "paper.py"])
def test_two_files_of_one_name_are_an_error(folder, monkeypatch, other):
    content = yaml_of(CS446)
    if other.endswith("py"):
        content = (
            "from dataclasses import dataclass\nfrom backproof.contracts import Derivation\n\n\n"
            "@dataclass(frozen=True)\nclass Paper(Derivation):\n"
            "    def gradients(self, trace):\n        return {}\n"
        )
    (folder / "derivation" / other).write_text(content)
    with pytest.raises(PluginError, match="two plugins are called derivation 'paper'"):
        found(folder, monkeypatch)


def test_a_name_that_is_none(folder, monkeypatch):
    (folder / "derivation/my-rule.yaml").write_text(yaml_of(CS446))
    with pytest.warns(PluginWarning, match=r"my-rule.yaml cannot be a plugin's name"):
        found(folder, monkeypatch)


def test_the_ready_experiment_trains_with_the_wrong_gradient(folder):
    done = backproof(
        "train", "experiment=cs446_as_written", "train.epochs=1", "model.hidden=[8]", "tracking=off"
    )
    assert "✗ failed: W1, b1 of 4 tensors" in done.stdout
    assert "accuracy" in done.stdout


def test_options_of_a_formula_derivation_are_none():
    with pytest.raises(PluginError, match="has no hyperparameter"):
        REG.build("derivation", "cs446", {"lr": 1})
    assert not issubclass(FormulaError, InvalidValue)
