"""A backward pass written independently of the framework's, in which each step can be replaced by a mistake."""

import functools
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from backproof.contracts import Derivation
from backproof.discovery.registry import registry
from backproof.netcheck.diagnose import diagnose_network
from backproof.netcheck.diagnosis import Case
from backproof.netcheck.diagnosis.backward import Backward, ledger
from backproof.nn.derivation import trace_and_gradients
from backproof.nn.mlp import MLP

REG = registry()


#: Sizes by depth. All sizes of a network differ.
NETWORKS = {1: (5, 3), 2: (5, 4, 3), 3: (5, 6, 4, 3)}


def network(sizes, activation="tanh", derivation=None, loss="softmax_cross_entropy"):
    return MLP(sizes, REG.build("activation", activation), REG.build("loss", loss), derivation)


def targets(rng, N, K, loss="softmax_cross_entropy"):
    if loss in ("softmax_cross_entropy", "hinge"):
        return np.eye(K)[rng.integers(0, K, N)]
    return (
        rng.integers(0, 2, (N, K)).astype(float)
        if loss == "sigmoid_cross_entropy"
        else rng.normal(0, 1, (N, K))
    )


def diagnosed(net, *, penalty=("none", {}), seed=0):
    rng = np.random.default_rng(seed)
    theta = rng.normal(0, 0.5, (1, net.layout.P))
    X, y = rng.normal(0, 1, (40, net.sizes[0])), targets(rng, 40, net.sizes[-1], net.loss.name)
    return diagnose_network(net, X, y, REG.build("penalty", *penalty), theta, seed=seed)


def planted(rule):
    """Return a derivation that computes its gradients by `rule(trace)`."""

    @dataclass(frozen=True)
    class Planted(Derivation):
        name: ClassVar[str] = "planted"

        def gradients(self, trace):
            return rule(trace)

    return Planted()


def backward(
    dz=lambda t: (t.p - t.y) / t.N,
    back=lambda t, d, m: d @ t.W[m],
    slope=lambda t, m: t.dphi(t.a[m]),
    weights=lambda t, d, m: d.T @ t.h[m - 1],
    biases=lambda t, d, m: d.sum(0),
    end=lambda t, g: g,
):
    """Return a backward pass, written independently of the framework's, with some steps replaced."""

    def rule(t):
        gradients, delta = {}, dz(t)
        for m in range(len(t.W), 0, -1):
            gradients[f"W{m}"], gradients[f"b{m}"] = weights(t, delta, m), biases(t, delta, m)
            if m > 1:
                delta = back(t, delta, m) * slope(t, m - 1)
        return end(t, gradients)

    return rule


def only(tensor, change):
    return lambda t, g: {**g, tensor: change(t, g[tensor])}


def every_tensor(change):
    return lambda t, g: {name: change(t, name, value) for name, value in g.items()}


def summand(t, d, m):
    if m > 1:
        return d.T @ t.h[m - 1]
    back = (t.p - t.y) / t.N @ t.W[len(t.W)]
    for layer in range(len(t.W) - 1, 1, -1):
        back = back * t.dphi(t.a[layer]) @ t.W[layer]
    single = t.W[1] * t.x[:, None, :] + t.b[1][:, None]
    return np.einsum("nh,nhd,nd->hd", back, t.dphi(single), t.x)


def softmax(z, axis):
    return np.exp(z) / np.exp(z).sum(axis, keepdims=True)


def entry(t, g):
    g = g.copy()
    g[1, 2] *= 1.0 + 1e-5
    return g


def parameter(t, name):
    return (t.W if name[0] == "W" else t.b)[int(name[1:])]


def clip_by_norm(g, limit):
    norm = np.sqrt(sum((value**2).sum() for value in g.values()))
    return {name: value * min(1, limit / norm) for name, value in g.items()}


def drop_last(t):
    dz = (t.p - t.y) / t.N
    dz[-1] = 0
    return dz


def drop_last_from_mean(t):
    return drop_last(t) * t.N / (t.N - 1) if t.N > 1 else (t.p - t.y) / t.N


#: Rules with one mistake, by the name that the diagnosis should give.
PLANTED = {
    "no_target": backward(dz=lambda t: t.p / t.N),
    "no_prediction": backward(dz=lambda t: -t.y / t.N),
    "sign": backward(dz=lambda t: (t.y - t.p) / t.N),
    "logits": backward(dz=lambda t: (t.z - t.y) / t.N),
    "no_normalisation": backward(dz=lambda t: (np.exp(t.z) - t.y) / t.N),
    "softmax_over_samples": backward(dz=lambda t: (softmax(t.z, 0) - t.y) / t.N),
    "sigmoid_for_softmax": backward(dz=lambda t: (1 / (1 + np.exp(-t.z)) - t.y) / t.N),
    "squared_loss": backward(dz=lambda t: (t.p - t.y) * t.p * (1 - t.p) / t.N),
    "not_through_link": backward(dz=lambda t: -t.y / t.p / t.N),
    "only_output_1": backward(dz=lambda t: (t.p - t.y) * (np.arange(3) == 1) / t.N),
    "only_true_class": backward(dz=lambda t: (t.p - t.y) * t.y / t.N),
    "no_mean": backward(dz=lambda t: t.p - t.y),
    "mean_twice": backward(dz=lambda t: (t.p - t.y) / t.N**2),
    "double": backward(dz=lambda t: 2 * (t.p - t.y) / t.N),
    "half": backward(dz=lambda t: 0.5 * (t.p - t.y) / t.N),
    "mean_over_N_minus_1": backward(dz=lambda t: (t.p - t.y) / max(1, t.N - 1)),
    "last_sample_dropped": backward(dz=drop_last),
    "last_sample_dropped_from_mean": backward(dz=drop_last_from_mean),
    "phi_prime_omitted": backward(slope=lambda t, m: 1),
    "phi_for_phi_prime": backward(slope=lambda t, m: t.h[m]),
    "phi_prime_at_h": backward(slope=lambda t, m: t.dphi(t.h[m])),
    "phi_prime_without_bias": backward(slope=lambda t, m: t.dphi(t.a[m] - t.b[m])),
    "phi_prime_at_summand": backward(weights=summand),
    "only_unit_0": backward(back=lambda t, d, m: d[:, :1] @ t.W[m][:1]),
    "no_weights": backward(back=lambda t, d, m: np.repeat(d.sum(1)[:, None], t.W[m].shape[1], 1)),
    "absolute_weights": backward(back=lambda t, d, m: d @ np.abs(t.W[m])),
    "nothing_comes_back": backward(back=lambda t, d, m: 0 * d @ t.W[m]),
    "pre_activation": backward(weights=lambda t, d, m: d.T @ (t.a[m - 1] if m > 1 else t.x)),
    "input_of_other_samples": backward(weights=lambda t, d, m: d.T @ np.roll(t.h[m - 1], 1, 0)),
    "product_of_means": backward(weights=lambda t, d, m: np.outer(d.sum(0), t.h[m - 1].mean(0))),
    "reshaped": backward(weights=lambda t, d, m: (t.h[m - 1].T @ d).reshape(d.shape[1], -1)),
    "only_first_sample": backward(biases=lambda t, d, m: d[0]),
    "no_gradient": backward(biases=lambda t, d, m: 0 * d[0]),
    "regulariser": backward(end=every_tensor(lambda t, name, g: g + 0.03 * parameter(t, name))),
    "sign_regulariser": backward(end=every_tensor(lambda t, name, g: g + 0.03 * np.sign(parameter(t, name)))),
    "constant_factor": backward(end=every_tensor(lambda t, name, g: 1.0005 * g)),
    "one_entry": backward(end=only("W1", entry)),
    "labels_smoothed": backward(dz=lambda t: (t.p - 0.9 * t.y - 0.1 / 3) / t.N),
    "leaky_slope": backward(slope=lambda t, m: t.dphi(t.a[m]) + 0.01 * (t.a[m] <= 0)),
    "power_of_N": backward(dz=lambda t: (t.p - t.y) / np.sqrt(t.N)),
    "clipped": backward(end=every_tensor(lambda t, name, g: np.clip(g, -0.03, 0.04))),
    "clipped_by_norm": backward(end=lambda t, g: clip_by_norm(g, 0.4)),
    "slope_raised": backward(slope=lambda t, m: t.dphi(t.a[m]) + 0.1),
    "weights_squared": backward(back=lambda t, d, m: d @ t.W[m] ** 2),
    "one_added_to_input": backward(weights=lambda t, d, m: d.T @ (t.h[m - 1] + 1)),
}


@functools.cache
def points(depth, activation, loss="softmax_cross_entropy"):
    """Return traces of a network and its correct gradients, at four points."""
    net, rng = network(NETWORKS[depth], activation, loss=loss), np.random.default_rng(depth)
    results = []
    for N in (11, 7, 4, 1):
        X, y = rng.normal(0, 1, (N, net.sizes[0])), targets(rng, N, net.sizes[-1], loss)
        results.append(trace_and_gradients(net, rng.normal(0, 0.6, net.layout.P), X, y))
    return results


def cases(depth, activation, mistakes):
    """Return cases with these mistakes of the ledger; None if one of them cannot be made."""
    results = []
    for trace, right in points(depth, activation):
        penalty = {name: 0.1 * parameter(trace, name) * (name[0] == "W") for name in right}
        backward_pass = Backward(Case(trace, right, right, penalty))
        faults = [fault for fault in ledger(trace, penalty=True) if fault in mistakes]
        wrong = {
            name: backward_pass.gradient(name, frozenset(f for f in faults if name in f.scope(depth)))
            for name in right
        }
        if any(gradient is None for gradient in wrong.values()):
            return None
        results.append(Case(trace, wrong, right, penalty))
    return results
