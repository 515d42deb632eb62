"""Held-out mistakes: they were written after the last change to the ledger of the diagnosis.

They are counted separately: the fraction that is named shows what to expect for a mistake that nobody thought of
when the ledger was written. If you add one of them to the ledger, move it to mistakes.py and write a new one.
"""

from __future__ import annotations

import numpy as np
from backproof.contracts import Array, Trace

from benchmarks.gradcheck.mistakes import Gradients, Rule, after, back, bias, dz, slope, weight


def _predicted(t: Trace) -> Array:
    """Return (N, K) with 1 for the predicted class."""
    return np.eye(t.p.shape[1])[t.p.argmax(axis=1)].astype(t.p.dtype)


def _tempered(t: Trace, d: Array) -> Array:
    """Use the softmax of half the logits."""
    e = np.exp(t.z / 2 - (t.z / 2).max(axis=1, keepdims=True))
    return (e / e.sum(axis=1, keepdims=True) - t.y) / t.N


def _half(t: Trace, d: Array) -> Array:
    return d * (np.arange(t.N) < t.N // 2)[:, None]


def _weighted(t: Trace, d: Array) -> Array:
    """Count samples of class 0 twice, in the gradient only."""
    return d * (1 + t.y[:, :1])


def _sigmoid(t: Trace, m: int, s: Array) -> Array:
    return 1 / (1 + np.exp(-t.a[m]))


def _quick_gelu(t: Trace, m: int, s: Array) -> Array:
    """Return the slope of a σ(1.702 a)."""
    sigma = 1 / (1 + np.exp(-1.702 * t.a[m]))
    return sigma * (1 + 1.702 * t.a[m] * (1 - sigma))


def _normalised(t: Trace, m: int, s: Array) -> Array:
    a = t.a[m]
    return t.dphi((a - a.mean(axis=0)) / (a.std(axis=0) + 1e-3))


def _by_norm(t: Trace, g: Gradients) -> Gradients:
    norm = np.sqrt(sum(float((gradient**2).sum()) for gradient in g.values()))
    return {name: gradient * min(1.0, 0.2 / norm) for name, gradient in g.items()}


def _on_weights(t: Trace, g: Gradients, strength: float, of: str) -> Gradients:
    """Add a multiple of a function of each W to its gradient."""
    functions = {"W": lambda W: W, "square": np.square, "sign": np.sign}
    added = {f"W{m}": strength * functions[of](W) for m, W in t.W.items()}
    return {name: g[name] + added[name] if name in added else g[name] for name in g}


HELD_OUT: dict[str, Rule] = {
    "p − 1 for p − y": dz(lambda t, d: (t.p - 1) / t.N),
    "p less the class predicted": dz(lambda t, d: (t.p - _predicted(t)) / t.N),
    "the softmax of z / 2": dz(_tempered),
    "divided by 32, whatever N": dz(lambda t, d: d * (t.N / 32)),
    "the first half of the samples alone": dz(_half),
    "samples of class 0 twice": dz(_weighted),
    "σ(a) for φ'": slope(_sigmoid),
    "1 at h ≥ 0, whatever φ": slope(lambda t, m, s: (t.h[m] >= 0).astype(s.dtype)),
    "the slope of a σ(1.702 a)": slope(_quick_gelu),
    "φ' at the normalised a": slope(_normalised),
    "Σ_k without the first unit": back(lambda t, m, d, r: d[:, 1:] @ t.W[m][1:]),
    "rows of W of norm 1": back(
        lambda t, m, d, r: d @ (t.W[m] / np.linalg.norm(t.W[m], axis=1, keepdims=True))
    ),
    "W less its mean": back(lambda t, m, d, r: d @ (t.W[m] - t.W[m].mean())),
    "h of norm 1": weight(
        lambda t, m, d, u, g: d.T @ (t.h[m - 1] / (np.linalg.norm(t.h[m - 1], axis=1, keepdims=True) + 1e-3))
    ),
    "W from the last sample alone": weight(lambda t, m, d, u, g: np.outer(d[-1], t.h[m - 1][-1])),
    "W divided by its units": weight(lambda t, m, d, u, g: g / len(g)),
    "b of unit 0 for all": bias(lambda t, m, d, u, g: np.full_like(g, g[0])),
    "b times itself": bias(lambda t, m, d, u, g: g * t.b[m]),
    "b divided by K": bias(lambda t, m, d, u, g: g / t.p.shape[1]),
    "0.01 W² added": after(lambda t, g: _on_weights(t, g, 0.01, "square")),
    "0.1 W / N added": after(lambda t, g: _on_weights(t, g, 0.1 / t.N, "W")),
    "0.01 sign(W) added": after(lambda t, g: _on_weights(t, g, 0.01, "sign")),
    "all clipped to norm 0.2": after(_by_norm),
    "W1 with its inputs in reverse": after(lambda t, g: {**g, "W1": g["W1"][:, ::-1].copy()}),
    "W1 counted twice": after(lambda t, g: {**g, "W1": 2 * g["W1"]}),
    "rounded to float32": after(lambda t, g: {name: G.astype(np.float32) for name, G in g.items()}),
}
#: The names that the diagnosis may give them; those not listed have no name in the ledger.
HELD_OUT_NAMES: dict[str, set[str]] = {
    "divided by 32, whatever N": {"power_of_N"},
    "the first half of the samples alone": {"second_half_dropped"},
    "1 at h ≥ 0, whatever φ": {"step_for_phi_prime", "phi_prime_omitted"},
    "Σ_k without the first unit": {"first_unit_dropped"},
    "W from the last sample alone": {"only_last_sample"},
    "W divided by its units": {"constant_factor", "mean_over_outputs"},
    "b times itself": {"times_bias"},
    "b divided by K": {"mean_over_outputs"},
    "0.1 W / N added": {"regulariser"},
    "0.01 sign(W) added": {"sign_regulariser"},
    "all clipped to norm 0.2": {"clipped_by_norm"},
    "W1 with its inputs in reverse": {"input_reversed"},
    "W1 counted twice": {"double"},
    "rounded to float32": {"rounded_to_float32"},
}
