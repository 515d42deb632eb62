"""The planted mistakes: backward rules with one wrong step, as people get them wrong.

A rule is a plain NumPy backward pass with six steps, each of which can be changed. It is written independently of
framework/backproof/nn/mlp.py and of the ledger of the diagnosis, and works for any depth.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from backproof.contracts import Array, Trace

Gradients = dict[str, Array]


#: The changes in a step: each takes its value as the last argument, and returns another one.
Changes = tuple[Callable[..., Any], ...]


@dataclass(frozen=True)
class Rule:
    """A backward pass; without changes, the right one for softmax cross-entropy."""

    dz: Changes = ()  # (t, ∂Err/∂z)
    back: Changes = ()  # (t, m, delta of layer m, ∂Err/∂h of the layer below)
    slope: Changes = ()  # (t, m, φ'(a) of layer m)
    weight: Changes = ()  # (t, m, delta, delta before φ', ∂Err/∂W)
    bias: Changes = ()  # the same with ∂Err/∂b
    after: Changes = ()  # (t, the finished gradients)

    def __call__(self, t: Trace) -> Gradients:
        grads: Gradients = {}
        delta = above = _changed(self.dz, (t,), (t.p - t.y) / t.N)
        for m in range(len(t.W), 0, -1):
            arguments = t, m, delta, above
            grads[f"W{m}"] = _changed(self.weight, arguments, delta.T @ t.h[m - 1])
            grads[f"b{m}"] = _changed(self.bias, arguments, delta.sum(axis=0))
            if m > 1:
                above = _changed(self.back, (t, m, delta), delta @ t.W[m])
                delta = above * _changed(self.slope, (t, m - 1), t.dphi(t.a[m - 1]))
        return _changed(self.after, (t,), grads)

    @property
    def steps(self) -> set[str]:
        """Return the steps that are changed."""
        return {field.name for field in dataclasses.fields(self) if getattr(self, field.name)}

    def with_(self, other: Rule) -> Rule:
        """Return a rule with both mistakes. In the same step, the other is made after this one."""
        names = [field.name for field in dataclasses.fields(self)]
        return Rule(**{name: getattr(self, name) + getattr(other, name) for name in names})


def _changed(changes: Changes, arguments: tuple[Any, ...], value: Any) -> Any:
    return functools.reduce(lambda result, change: change(*arguments, result), changes, value)


def dz(change: Callable[[Trace, Array], Array]) -> Rule:
    """Return a mistake in ∂Err/∂z."""
    return Rule(dz=(change,))


def back(change: Callable[[Trace, int, Array, Array], Array]) -> Rule:
    """Return a mistake in ∂Err/∂h, which is propagated back through W."""
    return Rule(back=(change,))


def slope(change: Callable[[Trace, int, Array], Array]) -> Rule:
    """Return a mistake in φ'."""
    return Rule(slope=(change,))


def weight(change: Callable[[Trace, int, Array, Array, Array], Array]) -> Rule:
    """Return a mistake in the gradients of the weights."""
    return Rule(weight=(change,))


def bias(change: Callable[[Trace, int, Array, Array, Array], Array]) -> Rule:
    """Return a mistake in the gradients of the biases."""
    return Rule(bias=(change,))


def after(change: Callable[[Trace, Gradients], Gradients]) -> Rule:
    """Return a mistake in the finished gradients."""
    return Rule(after=(change,))


def _first_of_class(t: Trace) -> Array:
    only = np.zeros_like(t.p)
    only[:, 0] = 1
    return only


def _exp(z: Array, axis: int) -> Array:
    e = np.exp(z - z.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def _rows(t: Trace, counts: dict[int, float]) -> Array:
    """Return (N, 1): how often each sample counts, 1 unless `counts` says otherwise."""
    times = np.ones((t.N, 1), t.z.dtype)
    for row, count in counts.items():
        times[row] = count
    return times


def _summand(t: Trace, m: int, delta: Array, above: Array, right: Array) -> Array:
    """Take φ' at (W1)_hd x_d + (b1)_h instead of the whole a_h, as the homework did."""
    if m == len(t.W):
        return right
    single = t.W[m][None] * t.h[m - 1][:, None, :] + t.b[m][None, :, None]
    return np.einsum("nh,nhd,nd->hd", above, t.dphi(single), t.h[m - 1])


def _updated(t: Trace, m: int, delta: Array, right: Array) -> Array:
    """Use the weights of the layer above after their update, with step size 0.1."""
    return delta @ (t.W[m] - 0.1 * (delta.T @ t.h[m - 1]))


def _dropout(t: Trace, m: int, right: Array) -> Array:
    """Apply a dropout mask that the forward pass did not have."""
    return right * (np.random.default_rng(m).random(t.a[m].shape) < 0.9)


def _one_entry(t: Trace, g: Gradients) -> Gradients:
    first = g["W1"].copy()
    first[-1, 0] += 1e-4 * np.abs(first).max()
    return {**g, "W1": first}


def _dead_column(t: Trace, g: Gradients) -> Gradients:
    first = g["W1"].copy()
    first[:, -1] = 0
    return {**g, "W1": first}


def _every_tensor(f: Callable[[Array], Array]) -> Rule:
    return after(lambda t, g: {name: f(gradient) for name, gradient in g.items()})


def _tensor(name: str, f: Callable[[Array], Array]) -> Rule:
    return after(lambda t, g: {**g, name: f(g[name])})


def _last(letter: str, f: Callable[[Array], Array]) -> Rule:
    """Change W or b of the last layer."""
    return after(lambda t, g: {**g, (name := f"{letter}{len(t.W)}"): f(g[name])})


def _decay(letter: str) -> Rule:
    def decayed(t: Trace, g: Gradients) -> Gradients:
        tensors = {f"{letter}{m}": tensor for m, tensor in (t.W if letter == "W" else t.b).items()}
        return {name: g[name] + 0.01 * tensors[name] if name in tensors else g[name] for name in g}

    return after(decayed)


#: The mistakes, by a description of what is wrong.
MISTAKES: dict[str, Rule] = {
    # ∂Err/∂z
    "y − p for p − y": dz(lambda t, d: -d),
    "p for p − y": dz(lambda t, d: t.p / t.N),
    "−y for p − y": dz(lambda t, d: -t.y / t.N),
    "z for p, the softmax forgotten": dz(lambda t, d: (t.z - t.y) / t.N),
    "exp z for p, not normalised": dz(lambda t, d: (np.exp(t.z) - t.y) / t.N),
    "softmax over samples, not classes": dz(lambda t, d: (_exp(t.z, 0) - t.y) / t.N),
    "times p(1 − p), as for squared error": dz(lambda t, d: d * t.p * (1 - t.p)),
    "the true class alone": dz(lambda t, d: d * t.y),
    "class 0 alone": dz(lambda t, d: d * _first_of_class(t)),
    "targets one class off": dz(lambda t, d: (t.p - np.roll(t.y, 1, axis=1)) / t.N),
    "targets one sample off": dz(lambda t, d: (t.p - np.roll(t.y, 1, axis=0)) / t.N),
    "labels smoothed by 0.01, the loss not": dz(lambda t, d: (t.p - 0.99 * t.y - 0.01 / t.y.shape[1]) / t.N),
    "a sum for the mean": dz(lambda t, d: d * t.N),
    "divided by N twice": dz(lambda t, d: d / t.N),
    "divided by K too": dz(lambda t, d: d / t.p.shape[1]),
    "divided by N − 1": dz(lambda t, d: d * (t.N / max(t.N - 1, 1))),
    "twice": dz(lambda t, d: 2 * d),
    "half": dz(lambda t, d: d / 2),
    "the last sample dropped": dz(lambda t, d: d * _rows(t, {-1: 0})),
    "the first sample twice": dz(lambda t, d: d * _rows(t, {0: 2})),
    # φ'
    "φ' omitted": slope(lambda t, m, s: np.ones_like(s)),
    "φ for φ'": slope(lambda t, m, s: t.h[m]),
    "φ' at h": slope(lambda t, m, s: t.dphi(t.h[m])),
    "φ' at a without the bias": slope(lambda t, m, s: t.dphi(t.a[m] - t.b[m])),
    "φ' at −a": slope(lambda t, m, s: t.dphi(-t.a[m])),
    "φ' twice": slope(lambda t, m, s: s * s),
    "φ' of the next unit": slope(lambda t, m, s: np.roll(s, 1, axis=1)),
    "1 − h², whatever φ": slope(lambda t, m, s: 1 - t.h[m] ** 2),
    "h(1 − h), as for the logistic": slope(lambda t, m, s: t.h[m] * (1 - t.h[m])),
    "1 at a > 0, whatever φ": slope(lambda t, m, s: (t.a[m] > 0).astype(s.dtype)),
    "leaky by 0.01 at a ≤ 0, φ not": slope(lambda t, m, s: s + 0.01 * (t.a[m] <= 0)),
    "dropout in the backward pass alone": slope(_dropout),
    "φ' in the first layer alone": slope(lambda t, m, s: s if m == 1 else np.ones_like(s)),
    "φ' at one summand": weight(_summand),
    # the product that goes back
    "Σ_k missing, unit 0 alone": back(lambda t, m, d, r: d[:, :1] @ t.W[m][:1]),
    "Σ_k without the last unit": back(lambda t, m, d, r: d[:, :-1] @ t.W[m][:-1]),
    "W reshaped, not transposed": back(lambda t, m, d, r: d @ t.W[m].T.reshape(t.W[m].shape)),
    "W's units in reverse": back(lambda t, m, d, r: d @ t.W[m][::-1]),
    "|W| for W": back(lambda t, m, d, r: d @ np.abs(t.W[m])),
    "the bias added to W": back(lambda t, m, d, r: d @ (t.W[m] + t.b[m][:, None])),
    "W after its own step": back(_updated),
    "−W for W": back(lambda t, m, d, r: -r),
    "divided by the units above": back(lambda t, m, d, r: r / len(t.W[m])),
    # weights
    "a for h below W": weight(lambda t, m, d, u, g: d.T @ (t.a[m - 1] if m > 1 else t.x)),
    "|h| for h below W": weight(lambda t, m, d, u, g: d.T @ np.abs(t.h[m - 1])),
    "h of the next sample": weight(lambda t, m, d, u, g: d.T @ np.roll(t.h[m - 1], 1, axis=0)),
    "h less its mean": weight(lambda t, m, d, u, g: d.T @ (t.h[m - 1] - t.h[m - 1].mean(axis=0))),
    "∂W reshaped, not transposed": weight(lambda t, m, d, u, g: np.ascontiguousarray(g.T).reshape(g.shape)),
    "W from the first sample alone": weight(lambda t, m, d, u, g: np.outer(d[0], t.h[m - 1][0])),
    "W without φ'": weight(lambda t, m, d, u, g: u.T @ t.h[m - 1]),
    # biases
    "b without φ'": bias(lambda t, m, d, u, g: u.sum(axis=0)),
    "b from the first sample alone": bias(lambda t, m, d, u, g: d[0].copy()),
    "b averaged twice": bias(lambda t, m, d, u, g: g / t.N),
    "b not averaged": bias(lambda t, m, d, u, g: g * t.N),
    "b of zero": bias(lambda t, m, d, u, g: np.zeros_like(g)),
    "b weighted by h": bias(lambda t, m, d, u, g: (d * t.h.get(m, t.z)).sum(axis=0)),
    # the finished gradients
    "all by 1.0005": _every_tensor(lambda g: 1.0005 * g),
    "all by 1.001": _every_tensor(lambda g: 1.001 * g),
    "all by 1 + 1e-5": _every_tensor(lambda g: (1 + 1e-5) * g),
    "b of the last layer by 1.001": _last("b", lambda g: 1.001 * g),
    "b of the last layer in reverse": _last("b", lambda g: g[::-1].copy()),
    "W of the last layer of zero": _last("W", np.zeros_like),
    "W1 with the sign changed": _tensor("W1", np.negative),
    "W1 with the last input forgotten": after(_dead_column),
    "W1 wrong in one entry, by 1e-4 of the largest": after(_one_entry),
    "clipped at half the largest entry": _every_tensor(
        lambda g: np.clip(g, -np.abs(g).max() / 2, np.abs(g).max() / 2)
    ),
    "scaled to norm 1": _every_tensor(lambda g: g / (np.linalg.norm(g) or 1)),
    "its sign alone": _every_tensor(np.sign),
    "rounded to float16": _every_tensor(lambda g: g.astype(np.float16).astype(g.dtype)),
    "a penalty on W, 0.01 W, not in the loss": _decay("W"),
    "a penalty on b, 0.01 b, not in the loss": _decay("b"),
}
