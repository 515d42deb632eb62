"""Traces, correct formulas and random formulas for the tests of derivations."""

import math
import random

import numpy as np
import pytest
from backproof.discovery.registry import registry
from backproof.formulas.errors import FormulasError
from backproof.formulas.rule import Rule
from backproof.nn.derivation import member_trace
from backproof.nn.mlp import MLP, Pass
from hypothesis import strategies as st

REG = registry()


CS446 = {
    "W2": "sum[n] (p[n,k] - y[n,k]) * phi(a1[n,h]) / N",
    "b2": "sum[n] (p[n,k] - y[n,k]) / N",
    "W1": "sum[n,k] (p[n,k] - y[n,k]) * W2[k,h] * dphi(a1[n,h]) * x[n,d] / N",
    "b1": "sum[n,k] (p[n,k] - y[n,k]) * W2[k,h] * dphi(a1[n,h]) / N",
}


def trace_of(sizes, N=5, activation="tanh", seed=0, dtype=np.float64):
    """Return a trace of a random network of these sizes: (D, H1, ..., K)."""
    net = MLP(sizes, REG.build("activation", activation), REG.build("loss", "softmax_cross_entropy"))
    rng = np.random.default_rng(seed)
    theta = rng.standard_normal((1, net.layout.P)).astype(dtype)
    network_pass = Pass(net, theta, np.zeros_like(theta), N)
    x = np.ones((1, N, sizes[0] + 1), dtype)
    x[..., :-1] = rng.standard_normal((1, N, sizes[0]))
    y = net.loss.encode(rng.integers(0, sizes[-1], N), sizes[-1], dtype)[None]
    memory = np.empty((1, sizes[-1], N), dtype)
    network_pass.forward(x.swapaxes(1, 2), memory)
    return member_trace(network_pass, 0, x, y, memory.swapaxes(1, 2))


TRACE = trace_of((4, 3, 2))  # D, H, K and N all differ


def derived_rule(depth):
    """Return the correct formulas for any depth."""
    hidden = "ghijlm"
    texts = {}
    for layer in range(1, depth + 1):
        summed, factors = ["n"], ["(p[n,k] - y[n,k])"]
        above = "k"
        for m in range(depth - 1, layer - 1, -1):
            summed.append(above)
            letter = hidden[m]
            factors += [f"W{m + 1}[{above},{letter}]", f"dphi(a{m}[n,{letter}])"]
            above = letter
        below = "d" if layer == 1 else hidden[layer - 1]
        body = f"sum[{','.join(summed)}] " + " * ".join(factors)
        texts[f"W{layer}"] = f"{body} * h{layer - 1}[n,{below}] / N"
        texts[f"b{layer}"] = f"{body} / N"
    return texts


def only(left, text, depth=2):
    """Return the formula of one tensor, read together with correct formulas of the others."""
    tensor = left.partition("[")[0]
    others = {k: v for k, v in derived_rule(depth).items() if k != tensor}
    return Rule.read({**others, left: text}).formulas[tensor]


def rejected(tensor, text, depth=2):
    """Return the error for a formula that is rejected."""
    with pytest.raises(FormulasError) as caught:
        only(tensor, text, depth)
    (error,) = caught.value.errors
    return error


D, H, K, N = range(4), range(3), range(2), range(5)


#: The values of each letter, and the letters of each array's axes.
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
    """Generate random formulas: a text, its value at an assignment of letters, and its free letters."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def entry(self, bound, name=None):
        name = name or self.random.choice([*ENTRIES])
        array = TRACE.p if name == "p" else TRACE.x if name == "x" else getattr(TRACE, name[0])[int(name[1])]
        indices = []
        for axis in ENTRIES[name]:
            if self.random.random() < 0.1:
                indices.append(0)
            else:
                indices.append(
                    self.random.choice([letter for letter in axis if letter in bound or letter in "nkhd"])
                )
        text = f"{name}[{','.join(map(str, indices))}]"
        letters = {index for index in indices if index != 0}
        return text, lambda e: array[tuple(e.get(index, index) for index in indices)], letters

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
            right_text, right_value, right_letters = self.factor(level, bound)
            if self.random.random() < 0.3:
                text += f" / (2 + ({right_text}) ** 2)"
                value = lambda e, a=value, b=right_value: a(e) / (2 + b(e) ** 2)  # noqa: E731
            else:
                text += f" * {right_text}"
                value = lambda e, a=value, b=right_value: a(e) * b(e)  # noqa: E731
            letters = letters | right_letters
        if level and self.random.random() < 0.4:
            right_text, right_value, right_letters = self.sum(level - 1, bound)
            return (
                f"{text} * {right_text}",
                lambda e, a=value, b=right_value: a(e) * b(e),
                letters | right_letters,
            )
        return text, value, letters

    def sum(self, level, bound):
        letter = self.random.choice([candidate for candidate in "mgjhd" if candidate not in bound])
        inner = bound | {letter}
        (name,) = self.random.sample([n for n, axes in ENTRIES.items() if letter in "".join(axes)], 1)
        text, value, letters = self.term(level, inner)
        if letter not in letters:
            factor_text, factor_value, factor_letters = "", None, set()
            while letter not in factor_letters:
                factor_text, factor_value, factor_letters = self.entry(inner, name)
            text, letters = f"{factor_text} * {text}", letters | factor_letters
            value = lambda e, a=value, b=factor_value: a(e) * b(e)  # noqa: E731
        whole = lambda e: sum(value({**e, letter: i}) for i in LETTERS[letter])  # noqa: E731
        return f"sum[{letter}] {text}", whole, letters - {letter}

    def total(self, level, bound):
        text, value, letters = self.term(level, bound)
        if self.random.random() < 0.2:
            text, value = f"-{text}", (lambda e, a=value: -a(e))
        for _ in range(self.random.randint(0, 1)):
            right_text, right_value, right_letters = self.term(level, bound)
            if self.random.random() < 0.5:
                text, value = f"{text} - {right_text}", (lambda e, a=value, b=right_value: a(e) - b(e))
            else:
                text, value = f"{text} + {right_text}", (lambda e, a=value, b=right_value: a(e) + b(e))
            letters = letters | right_letters
        return text, value, letters


random_formulas = st.integers(0, 2**32).map(lambda seed: Writer(seed).total(2, frozenset("nk")))


def yaml_of(texts):
    return "gradients:\n" + "".join(f"  {left}: {text}\n" for left, text in texts.items())
