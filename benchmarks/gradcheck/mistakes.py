"""The planted mistakes: backward rules that are wrong in one place, as people get them wrong.

A rule is a plain NumPy backward pass with five places, each of which can be exchanged. It is written apart from
framework/mlp.py and from the ledger of the diagnosis, and takes all depths.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from framework.kinds import Array, Trace

Gradients = dict[str, Array]


def dz(t: Trace) -> Array:
    """∂Err/∂z_nk = (p_nk − y_nk) / N."""
    return (t.p - t.y) / t.N


def back(t: Trace, m: int, delta: Array) -> Array:
    """∂Err/∂h_nj of layer m − 1 = Σ_i ∂Err/∂a_ni (Wl)_ij."""
    return delta @ t.W[m]


def slope(t: Trace, m: int) -> Array:
    """φ'(a) of layer m."""
    return t.dphi(t.a[m])


def weight(t: Trace, m: int, delta: Array, above: Array) -> Array:
    """∂Err/∂(Wl)_ij = Σ_n ∂Err/∂a_ni h_nj. `above` is delta before it was multiplied by φ'."""
    return delta.T @ t.h[m - 1]


def bias(t: Trace, m: int, delta: Array, above: Array) -> Array:
    """∂Err/∂(bl)_i = Σ_n ∂Err/∂a_ni."""
    return delta.sum(axis=0)


def after(t: Trace, g: Gradients) -> Gradients:
    """What is done with the finished gradients: nothing."""
    return g


@dataclass(frozen=True)
class Rule:
    """A backward pass; with its defaults, the right one for softmax cross-entropy."""

    dz: Callable[[Trace], Array] = dz
    back: Callable[[Trace, int, Array], Array] = back
    slope: Callable[[Trace, int], Array] = slope
    weight: Callable[[Trace, int, Array, Array], Array] = weight
    bias: Callable[[Trace, int, Array, Array], Array] = bias
    after: Callable[[Trace, Gradients], Gradients] = after

    def __call__(self, t: Trace) -> Gradients:
        grads: Gradients = {}
        delta = above = self.dz(t)
        for layer in range(len(t.W), 0, -1):
            grads[f"W{layer}"] = self.weight(t, layer, delta, above)
            grads[f"b{layer}"] = self.bias(t, layer, delta, above)
            if layer > 1:
                above = self.back(t, layer, delta)
                delta = above * self.slope(t, layer - 1)
        return self.after(t, grads)

    @property
    def places(self) -> set[str]:
        """Where it is not the right rule."""
        right = Rule()
        return {f.name for f in dataclasses.fields(self) if getattr(self, f.name) != getattr(right, f.name)}

    def with_(self, other: Rule) -> Rule:
        """Both mistakes at once. They must be at different places."""
        if self.places & other.places:
            raise ValueError(
                f"both mistakes are at {', '.join(self.places & other.places)}: take different places"
            )
        return dataclasses.replace(self, **{place: getattr(other, place) for place in other.places})


def _first_of_class(t: Trace) -> Array:
    only = np.zeros_like(t.p)
    only[:, 0] = 1
    return only


def _exp(z: Array, axis: int) -> Array:
    e = np.exp(z - z.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def _rows(t: Trace, counts: dict[int, float]) -> Array:
    """(N, 1): 1, or for some samples how often each is counted."""
    times = np.ones((t.N, 1), t.z.dtype)
    for row, count in counts.items():
        times[row] = count
    return times


def _summand(t: Trace, m: int, delta: Array, above: Array) -> Array:
    """The homework as it was written: φ' at (W1)_hd x_d + (b1)_h instead of the whole a_h."""
    if m == len(t.W):
        return weight(t, m, delta, above)
    single = t.W[m][None] * t.h[m - 1][:, None, :] + t.b[m][None, :, None]
    return np.einsum("nh,nhd,nd->hd", above, t.dphi(single), t.h[m - 1])


def _updated(t: Trace, m: int, delta: Array) -> Array:
    """The layer above has already made its step, of size 0.1, when its weights are used."""
    return delta @ (t.W[m] - 0.1 * (delta.T @ t.h[m - 1]))


def _dropout(t: Trace, m: int) -> Array:
    """A mask of dropout that the forward pass did not have."""
    kept = np.random.default_rng(m).random(t.a[m].shape) < 0.9
    return slope(t, m) * kept


def _one_entry(t: Trace, g: Gradients) -> Gradients:
    g["W1"][-1, 0] += 1e-4 * np.abs(g["W1"]).max()
    return g


def _dead_column(t: Trace, g: Gradients) -> Gradients:
    g["W1"][:, -1] = 0
    return g


def _each(f: Callable[[Array], Array]) -> Callable[[Trace, Gradients], Gradients]:
    return lambda t, g: {name: f(each) for name, each in g.items()}


def _one(name: str, f: Callable[[Array], Array]) -> Callable[[Trace, Gradients], Gradients]:
    return lambda t, g: {**g, name: f(g[name])}


def _last(letter: str, f: Callable[[Array], Array]) -> Callable[[Trace, Gradients], Gradients]:
    """The same for W or b of the last layer."""
    return lambda t, g: {**g, (name := f"{letter}{len(t.W)}"): f(g[name])}


def _decay(letter: str) -> Callable[[Trace, Gradients], Gradients]:
    def decayed(t: Trace, g: Gradients) -> Gradients:
        for layer, W in (t.W if letter == "W" else t.b).items():
            g[f"{letter}{layer}"] = g[f"{letter}{layer}"] + 0.01 * W
        return g

    return decayed


#: By name: the sentence is what was done wrong.
MISTAKES: dict[str, Rule] = {
    # ∂Err/∂z
    "y − p for p − y": Rule(dz=lambda t: -dz(t)),
    "p for p − y": Rule(dz=lambda t: t.p / t.N),
    "−y for p − y": Rule(dz=lambda t: -t.y / t.N),
    "z for p, the softmax forgotten": Rule(dz=lambda t: (t.z - t.y) / t.N),
    "exp z for p, not normalised": Rule(dz=lambda t: (np.exp(t.z) - t.y) / t.N),
    "softmax over samples, not classes": Rule(dz=lambda t: (_exp(t.z, 0) - t.y) / t.N),
    "times p(1 − p), as for squared error": Rule(dz=lambda t: dz(t) * t.p * (1 - t.p)),
    "the true class alone": Rule(dz=lambda t: dz(t) * t.y),
    "class 0 alone": Rule(dz=lambda t: dz(t) * _first_of_class(t)),
    "targets one class off": Rule(dz=lambda t: (t.p - np.roll(t.y, 1, axis=1)) / t.N),
    "targets one sample off": Rule(dz=lambda t: (t.p - np.roll(t.y, 1, axis=0)) / t.N),
    "labels smoothed by 0.01, the loss not": Rule(dz=lambda t: (t.p - 0.99 * t.y - 0.01 / t.y.shape[1]) / t.N),
    "a sum for the mean": Rule(dz=lambda t: dz(t) * t.N),
    "divided by N twice": Rule(dz=lambda t: dz(t) / t.N),
    "divided by K too": Rule(dz=lambda t: dz(t) / t.p.shape[1]),
    "divided by N − 1": Rule(dz=lambda t: dz(t) * (t.N / max(t.N - 1, 1))),
    "twice": Rule(dz=lambda t: 2 * dz(t)),
    "half": Rule(dz=lambda t: dz(t) / 2),
    "the last sample dropped": Rule(dz=lambda t: dz(t) * _rows(t, {-1: 0})),
    "the first sample twice": Rule(dz=lambda t: dz(t) * _rows(t, {0: 2})),
    # φ'
    "φ' omitted": Rule(slope=lambda t, m: np.ones_like(t.a[m])),
    "φ for φ'": Rule(slope=lambda t, m: t.h[m]),
    "φ' at h": Rule(slope=lambda t, m: t.dphi(t.h[m])),
    "φ' at a without the bias": Rule(slope=lambda t, m: t.dphi(t.a[m] - t.b[m])),
    "φ' at −a": Rule(slope=lambda t, m: t.dphi(-t.a[m])),
    "φ' twice": Rule(slope=lambda t, m: slope(t, m) ** 2),
    "φ' of the next unit": Rule(slope=lambda t, m: np.roll(slope(t, m), 1, axis=1)),
    "1 − h², whatever φ": Rule(slope=lambda t, m: 1 - t.h[m] ** 2),
    "h(1 − h), as for the logistic": Rule(slope=lambda t, m: t.h[m] * (1 - t.h[m])),
    "1 at a > 0, whatever φ": Rule(slope=lambda t, m: (t.a[m] > 0).astype(t.a[m].dtype)),
    "leaky by 0.01 at a ≤ 0, φ not": Rule(slope=lambda t, m: slope(t, m) + 0.01 * (t.a[m] <= 0)),
    "dropout in the backward pass alone": Rule(slope=_dropout),
    "φ' in the first layer alone": Rule(slope=lambda t, m: slope(t, m) if m == 1 else np.ones_like(t.a[m])),
    "φ' at one summand": Rule(weight=_summand),
    # the product that goes back
    "Σ_k missing, unit 0 alone": Rule(back=lambda t, m, d: d[:, :1] @ t.W[m][:1]),
    "Σ_k without the last unit": Rule(back=lambda t, m, d: d[:, :-1] @ t.W[m][:-1]),
    "W reshaped, not transposed": Rule(back=lambda t, m, d: d @ t.W[m].T.reshape(t.W[m].shape)),
    "W's units in reverse": Rule(back=lambda t, m, d: d @ t.W[m][::-1]),
    "|W| for W": Rule(back=lambda t, m, d: d @ np.abs(t.W[m])),
    "the bias added to W": Rule(back=lambda t, m, d: d @ (t.W[m] + t.b[m][:, None])),
    "W after its own step": Rule(back=_updated),
    "−W for W": Rule(back=lambda t, m, d: -(d @ t.W[m])),
    "divided by the units above": Rule(back=lambda t, m, d: back(t, m, d) / len(t.W[m])),
    # weights
    "a for h below W": Rule(weight=lambda t, m, d, u: d.T @ (t.a[m - 1] if m > 1 else t.x)),
    "|h| for h below W": Rule(weight=lambda t, m, d, u: d.T @ np.abs(t.h[m - 1])),
    "h of the next sample": Rule(weight=lambda t, m, d, u: d.T @ np.roll(t.h[m - 1], 1, axis=0)),
    "h less its mean": Rule(weight=lambda t, m, d, u: d.T @ (t.h[m - 1] - t.h[m - 1].mean(axis=0))),
    "∂W reshaped, not transposed": Rule(
        weight=lambda t, m, d, u: (t.h[m - 1].T @ d).reshape(t.W[m].shape).copy()
    ),
    "W from the first sample alone": Rule(weight=lambda t, m, d, u: np.outer(d[0], t.h[m - 1][0])),
    "W without φ'": Rule(weight=lambda t, m, d, u: u.T @ t.h[m - 1]),
    # biases
    "b without φ'": Rule(bias=lambda t, m, d, u: u.sum(axis=0)),
    "b from the first sample alone": Rule(bias=lambda t, m, d, u: d[0].copy()),
    "b averaged twice": Rule(bias=lambda t, m, d, u: d.mean(axis=0)),
    "b not averaged": Rule(bias=lambda t, m, d, u: d.sum(axis=0) * t.N),
    "b of zero": Rule(bias=lambda t, m, d, u: np.zeros_like(t.b[m])),
    "b weighted by h": Rule(bias=lambda t, m, d, u: (d * t.h.get(m, t.z)).sum(axis=0)),
    # the finished gradients
    "all by 1.0005": Rule(after=_each(lambda g: 1.0005 * g)),
    "all by 1.001": Rule(after=_each(lambda g: 1.001 * g)),
    "all by 1 + 1e-5": Rule(after=_each(lambda g: (1 + 1e-5) * g)),
    "b of the last layer by 1.001": Rule(after=_last("b", lambda g: 1.001 * g)),
    "b of the last layer in reverse": Rule(after=_last("b", lambda g: g[::-1].copy())),
    "W of the last layer of zero": Rule(after=_last("W", np.zeros_like)),
    "W1 with the sign changed": Rule(after=_one("W1", np.negative)),
    "W1 with the last input forgotten": Rule(after=_dead_column),
    "W1 wrong in one entry, by 1e-4 of the largest": Rule(after=_one_entry),
    "clipped at half the largest entry": Rule(
        after=_each(lambda g: np.clip(g, -np.abs(g).max() / 2, np.abs(g).max() / 2))
    ),
    "scaled to norm 1": Rule(after=_each(lambda g: g / (np.linalg.norm(g) or 1))),
    "its sign alone": Rule(after=_each(np.sign)),
    "rounded to float16": Rule(after=_each(lambda g: g.astype(np.float16).astype(g.dtype))),
    "a penalty on W, 0.01 W, not in the loss": Rule(after=_decay("W")),
    "a penalty on b, 0.01 b, not in the loss": Rule(after=_decay("b")),
}
