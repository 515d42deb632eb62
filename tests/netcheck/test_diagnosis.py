"""The diagnosis names what is wrong with a gradient, says what it cannot tell apart, and claims nothing more."""

import dataclasses
import functools
import itertools
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from backproof.contracts import Derivation
from backproof.discovery.registry import registry
from backproof.netcheck import diagnose as diagnosing
from backproof.netcheck.diagnose import diagnose_network, traced
from backproof.netcheck.diagnosis import Case, diagnose, penalty_findings
from backproof.netcheck.diagnosis.backward import Backward, ledger
from backproof.netcheck.diagnosis.localize import locate
from backproof.nn.mlp import MLP, Pass
from backproof.render import diagnosis_page

REG = registry()
ROOT = Path(__file__).parents[2]
#: No two axes of one network have the same size.
NETWORKS = {1: (5, 3), 2: (5, 4, 3), 3: (5, 6, 4, 3)}
ACTIVATIONS = ("tanh", "relu", "gelu")


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
    """A derivation that computes its gradients by `rule(trace)`."""

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
    """A backward pass written apart from the framework's, with a place to put a mistake at each step."""

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


def each(change):
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


def own_tensor(t, name):
    return (t.W if name[0] == "W" else t.b)[int(name[1:])]


def by_norm(g, most):
    norm = np.sqrt(sum((each**2).sum() for each in g.values()))
    return {name: each * min(1, most / norm) for name, each in g.items()}


def drop_last(t):
    dz = (t.p - t.y) / t.N
    dz[-1] = 0
    return dz


def drop_last_from_mean(t):
    return drop_last(t) * t.N / (t.N - 1) if t.N > 1 else (t.p - t.y) / t.N


#: By the name that is expected: a rule with this one mistake.
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
    "regulariser": backward(end=each(lambda t, name, g: g + 0.03 * own_tensor(t, name))),
    "sign_regulariser": backward(end=each(lambda t, name, g: g + 0.03 * np.sign(own_tensor(t, name)))),
    "constant_factor": backward(end=each(lambda t, name, g: 1.0005 * g)),
    "one_entry": backward(end=only("W1", entry)),
    "labels_smoothed": backward(dz=lambda t: (t.p - 0.9 * t.y - 0.1 / 3) / t.N),
    "leaky_slope": backward(slope=lambda t, m: t.dphi(t.a[m]) + 0.01 * (t.a[m] <= 0)),
    "power_of_N": backward(dz=lambda t: (t.p - t.y) / np.sqrt(t.N)),
    "clipped": backward(end=each(lambda t, name, g: np.clip(g, -0.03, 0.04))),
    "clipped_by_norm": backward(end=lambda t, g: by_norm(g, 0.4)),
    "slope_raised": backward(slope=lambda t, m: t.dphi(t.a[m]) + 0.1),
    "weights_squared": backward(back=lambda t, d, m: d @ t.W[m] ** 2),
    "one_added_to_input": backward(weights=lambda t, d, m: d.T @ (t.h[m - 1] + 1)),
}
#: They have no place in a network without hidden layers.
HIDDEN = {
    name for name in PLANTED if name.startswith(("phi_", "only_unit", "no_weights", "absolute", "slope_"))
}
HIDDEN |= {"nothing_comes_back", "pre_activation", "leaky_slope", "weights_squared"}
#: They have the numbers of another one: Σ_k (p_k − y_k) = 0, so that nothing comes back without W.
CANCELS = {"no_weights"}
#: What is right for an activation, and so no mistake.
RIGHT = {("relu", "phi_prime_at_h")}


def planted_cells():
    """Every mistake at every depth that it can be made at, each with another activation."""
    for at, name in enumerate(PLANTED):
        for depth in NETWORKS:
            if depth > 1 or name not in HIDDEN:
                yield name, depth, ACTIVATIONS[(at + depth) % 3]
    yield "phi_prime_at_h", 2, "relu"


@pytest.mark.parametrize(("name", "depth", "activation"), list(planted_cells()))
def test_a_planted_mistake_is_named_alone(name, depth, activation):
    found = diagnosed(network(NETWORKS[depth], activation, planted(PLANTED[name])))
    if (activation, name) in RIGHT:
        assert found.ok
        assert name in {one.name for one in found.equivalent}
        return
    if name in CANCELS:
        assert name in {tie.name for one in found.findings for tie in one.ties}, found.message()
    else:
        assert found.named == (name,), found.message()
    assert not found.unknown
    assert all(one.residual < 1e-8 for one in found.findings)
    assert name in found.message()


@functools.cache
def points(depth, activation, loss="softmax_cross_entropy"):
    """Traces of a network, and its right gradients, at four points."""
    net, rng = network(NETWORKS[depth], activation, loss=loss), np.random.default_rng(depth)
    found = []
    for N in (11, 7, 4, 1):
        X, y = rng.normal(0, 1, (N, net.sizes[0])), targets(rng, N, net.sizes[-1], loss)
        found.append(traced(net, rng.normal(0, 0.6, net.layout.P), X, y))
    return found


def cases(depth, activation, mistakes):
    """Cases with these mistakes of the ledger in them; None where one cannot be made there."""
    found = []
    for trace, right in points(depth, activation):
        penalty = {name: 0.1 * own_tensor(trace, name) * (name[0] == "W") for name in right}
        own = Backward(Case(trace, right, right, penalty))
        made = [one for one in ledger(trace, penalty=True) if one in mistakes]
        given = {
            name: own.gradient(name, frozenset(one for one in made if name in one.scope(depth)))
            for name in right
        }
        if any(each is None for each in given.values()):
            return None
        found.append(Case(trace, given, right, penalty))
    return found


def said(found):
    """Each mistake that was found, with those that have the same numbers."""
    main = [{(one.name, one.place), *((tie.name, tie.place) for tie in one.ties)} for one in found.findings]
    return [main, *([{(one.name, one.place)} for one in tie] for tie in found.ties)]


@pytest.mark.parametrize(("depth", "activation"), list(zip(NETWORKS, ACTIVATIONS, strict=True)))
def test_every_entry_of_the_ledger_is_found(depth, activation):
    made = 0
    for one in ledger(points(depth, activation)[0][0], penalty=True):
        planted_cases = cases(depth, activation, [one])
        if planted_cases is None:
            continue
        made += 1
        found = diagnose(planted_cases)
        place = one.name, one.where
        if found.ok:
            assert place in {(same.name, same.place) for same in found.equivalent}
        else:
            assert any(len(findings) == 1 and place in findings[0] for findings in said(found)), (one, found)
    assert made > 60 * depth


def test_random_pairs_are_found():
    """Some are answered by a single mistake that has their numbers."""
    rng, count, named, simpler = np.random.default_rng(8), 0, 0, 0
    while count < 40:
        depth, activation = int(rng.integers(1, 4)), str(rng.choice(ACTIVATIONS))
        pair = list(
            rng.choice(np.array(ledger(points(depth, activation)[0][0], penalty=False)), 2, replace=False)
        )
        planted_cases = cases(depth, activation, pair) if pair[0].place != pair[1].place else None
        if planted_cases is None:
            continue
        count += 1
        found = diagnose(planted_cases)
        harmless = {(one.name, one.place) for one in found.equivalent}
        wanted = {(one.name, one.where) for one in pair} - harmless
        named += any(
            len(findings) == len({*wanted}) and all(any(one in each for each in findings) for one in wanted)
            for findings in said(found)
        )
        simpler += not found.unknown and len(found.findings) < len(wanted)
    assert named + simpler == count
    assert named >= 0.95 * count


def test_the_homework_as_written_has_exactly_its_two_mistakes():
    found = diagnosed(network((5, 7, 3), "relu", REG.build("derivation", "cs446_as_written")))
    assert [(one.name, one.tensors) for one in found.findings] == [
        ("only_unit_0", ("W1", "b1")),
        ("phi_prime_at_summand", ("W1",)),
    ]
    assert not found.ties
    assert not any(one.ties for one in found.findings)
    text = found.message()
    assert "right: ∂Err/∂(W1)_hd = Σ_n Σ_k (p_nk − y_nk) (W2)_kh φ'((a1)_nh) x_nd / N" in text
    assert "given: ∂Err/∂(W1)_hd = Σ_n (p_n0 − y_n0) (W2)_0h φ'((W1)_hd x_nd + (b1)_h) x_nd / N" in text
    assert "equivalent here, no mistake: φ' is taken at h1" in text
    assert diagnosed(network((5, 7, 3), "relu", REG.build("derivation", "cs446"))).ok


def test_the_counterexample_can_be_worked_by_hand():
    found = diagnosed(network((5, 7, 3), "relu", REG.build("derivation", "cs446_as_written"))).counterexample
    v = {name: np.array(value) for name, value in found.values.items()}
    assert all((v[name] == np.rint(v[name])).all() for name in ("x", "y", "W1", "b1", "W2", "b2"))
    assert max(*found.sizes, found.N) <= 3
    assert all(np.abs(v[name]).max() <= 2 for name in ("x", "W1", "b1", "W2", "b2"))
    a = v["x"] @ v["W1"].T + v["b1"]
    z = np.maximum(a, 0) @ v["W2"].T + v["b2"]
    p = softmax(z, 1)
    np.testing.assert_allclose(p, v["p"])
    delta = (p - v["y"]) / found.N @ v["W2"] * (a > 0)
    right = delta.T @ v["x"]
    single = (v["W1"] * v["x"][:, None, :] + v["b1"][:, None]) > 0
    one_class = np.outer((p - v["y"])[:, 0], v["W2"][0]) / found.N
    given = np.einsum("nh,nhd,nd->hd", one_class, single, v["x"])
    assert found.tensor == "W1"
    assert found.right == pytest.approx(right[found.index])
    assert found.given == pytest.approx(given[found.index])
    assert found.right != found.given
    # What the derivation made of it on the way.
    shown = found.index
    assert v["given φ'(a1)"][0][shown] == single[0][shown]
    np.testing.assert_allclose((v["given ∂Err/∂a1"] * v["x"][:, None, :]).sum(0)[shown], found.given)


@pytest.mark.parametrize("activation", REG.names("activation"))
@pytest.mark.parametrize("loss", REG.names("loss"))
def test_a_right_gradient_is_not_accused(activation, loss):
    found = diagnosed(network((5, 6, 4, 3), activation, planted(backward(dz=lambda t: t.dloss())), loss))
    assert found.ok, found.message()
    assert "nothing is wrong" in found.message()


STRANGE = {
    "cubed": (backward(dz=lambda t: (t.p - t.y) ** 3 / t.N), "∂Err/∂z"),
    "half of the samples": (
        backward(dz=lambda t: (t.p - t.y) / t.N * (0.3 + 0.7 * (np.arange(t.N)[:, None] % 2))),
        "∂Err/∂z",
    ),
    "cubed weights": (backward(back=lambda t, d, m: d @ t.W[m] ** 3), "∂Err/∂h1"),
    "another slope": (backward(slope=lambda t, m: np.cos(t.a[m])), "φ'(a1)"),
    "added numbers": (
        backward(end=only("W2", lambda t, g: g + np.sin(np.arange(g.size)).reshape(g.shape))),
        "W2",
    ),
    "two rows": (backward(end=only("W1", lambda t, g: g * np.array([[0], [0], [1], [1]]))), "W1"),
    "shrunk": (backward(end=each(lambda t, name, g: np.tanh(g))), "W2, b2"),
    "not finite": (backward(end=only("W1", lambda t, g: g * np.nan)), "W1"),
}


@pytest.mark.parametrize("name", STRANGE)
def test_what_has_no_name_is_unknown_at_its_place(name):
    rule, place = STRANGE[name]
    found = diagnosed(network((5, 4, 3), "tanh", planted(rule)))
    assert not found.named, found.message()
    assert found.unknown[0].place == place
    facts = " ".join(fact for one in found.unknown for fact in one.structure)
    expected = {
        "half of the samples": "other weights",
        "two rows": "only the rows 0, 1 are wrong",
        "not finite": "not finite",
    }
    assert expected.get(name, "") in facts
    if name in ("cubed", "half of the samples"):
        assert found.unknown[0].tensors == ("W1", "b1", "W2", "b2")
        assert "follows from it" in found.unknown[0].sentence


#: What is planted, and what is then right, wrong, and wrong only by what is above, in a network 5-6-4-3.
LOCATED = {
    "right": (backward(), {"right": "∂Err/∂z W3 b3 ∂Err/∂h2 φ'(a2) W2 b2 ∂Err/∂h1 φ'(a1) W1 b1"}),
    "a product that goes back": (
        backward(back=lambda t, d, m: d @ t.W[m] ** 3 if m == 3 else d @ t.W[m]),
        {"right": "∂Err/∂z W3 b3 φ'(a1)", "wrong": "∂Err/∂h2", "follows": "W2 b2 ∂Err/∂h1 W1 b1"},
    ),
    "a slope": (
        backward(slope=lambda t, m: np.cos(t.a[m]) if m == 2 else t.dphi(t.a[m])),
        {"right": "∂Err/∂z W3 b3 ∂Err/∂h2 φ'(a1)", "wrong": "φ'(a2)", "follows": "W2 b2 ∂Err/∂h1 W1 b1"},
    ),
    "weights alone": (
        backward(end=only("W2", lambda t, g: g + 1)),
        {"right": "∂Err/∂z W3 b3 ∂Err/∂h2 φ'(a2) b2 ∂Err/∂h1 φ'(a1) W1 b1", "wrong": "W2"},
    ),
    "biases alone": (
        backward(end=only("b1", lambda t, g: 0 * g)),
        {"right": "∂Err/∂z W3 b3 ∂Err/∂h2 φ'(a2) W2 b2 ∂Err/∂h1 φ'(a1) W1", "wrong": "b1"},
    ),
}


@pytest.mark.parametrize("name", LOCATED)
@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "squared_error"])
def test_the_first_wrong_step_is_located(name, loss):
    rule, expected = LOCATED[name]
    net = network(NETWORKS[3], "tanh", planted(rule), loss)
    rng = np.random.default_rng(1)
    theta, x = rng.normal(0, 0.6, net.layout.P), rng.normal(0, 1, (1, 5))
    if loss == "squared_error":
        net = dataclasses.replace(net, derivation=planted(lambda t: rule(dataclasses.replace(t, p=t.z))))
    probes = []
    for y in np.eye(3):
        trace, given = traced(net, theta, x, y[None])
        _, right = traced(dataclasses.replace(net, derivation=None), theta, x, y[None])
        probes.append(Case(trace, given, right))
    found = {}
    for step in locate(probes):
        found.setdefault(step.state, []).append(step.place)
    assert {state: " ".join(places) for state, places in found.items()} == expected


def test_what_shows_only_in_sums_over_samples_is_said_to_be_there():
    found = diagnosed(network((5, 4, 3), "tanh", planted(PLANTED["last_sample_dropped_from_mean"])))
    assert "for a single sample every step is right" in found.message()


def test_several_mistakes_are_all_named():
    rule = backward(
        dz=lambda t: t.p / t.N,
        back=lambda t, d, m: d[:, :1] @ t.W[m][:1],
        slope=lambda t, m: t.dphi(t.h[m]),
        end=only("b1", lambda t, g: -g),
    )
    found = diagnosed(network((5, 6, 4, 3), "tanh", planted(rule)))
    assert found.named == ("no_target", "only_unit_0", "phi_prime_at_h", "sign")
    assert [one.tensors for one in found.findings][-1] == ("b1",)


def test_an_entry_and_another_mistake_are_both_named():
    rule = backward(slope=lambda t, m: t.dphi(t.h[m]), end=only("W1", entry))
    found = diagnosed(network((5, 4, 3), "tanh", planted(rule)))
    assert found.named == ("phi_prime_at_h", "one_entry")
    # An entry of this network is no entry of a tiny one: there may be no example, and that is said.
    assert found.counterexample is not None or any("no example" in note for note in found.notes)


def test_a_mistake_in_one_formula_only_is_said_to_be_there_only():
    def rule(t):
        g = backward()(t)
        return {**g, "W1": ((t.p - t.y) / t.N @ t.W[2]).T @ t.x}

    found = diagnosed(network((5, 4, 3), "tanh", planted(rule)))
    assert [(one.name, one.tensors) for one in found.findings] == [("phi_prime_omitted", ("W1",))]
    assert "in the gradient of W1 but not of b1" in found.message()


def test_what_the_numbers_cannot_tell_apart_is_listed():
    """With three units below the loss, a mean over them and a factor 1/K are the same."""
    found = diagnosed(network((5, 4, 3), "tanh", planted(backward(back=lambda t, d, m: d @ t.W[m] / 3))))
    names = {one.name for one in found.findings} | {tie.name for one in found.findings for tie in one.ties}
    assert names == {"mean_over_units", "mean_over_outputs"}
    assert "or, with the same numbers: " in found.message()


def momentum():
    kept = {}

    def rule(t):
        for name, g in backward()(t).items():
            kept[name] = 0.9 * kept.get(name, 0) + g
        return dict(kept)

    return rule


def test_momentum_in_the_gradient_is_named_with_its_factor():
    found = diagnosed(network((5, 4, 3), "tanh", planted(momentum())))
    assert found.named == ("momentum",)
    assert "0.9 times" in found.message()


def test_a_rule_with_a_memory_is_not_repeatable():
    count = itertools.count()
    found = diagnosed(network((5, 4, 3), "tanh", planted(backward(dz=lambda t: next(count) * (t.p - t.y)))))
    assert found.named == ("not_repeatable",)


def test_a_wrong_slope_in_a_plugin_is_told_from_a_wrong_rule(monkeypatch):
    cls = REG.get("activation", "softsign")
    right = cls.backward
    monkeypatch.setattr(
        cls, "backward", lambda self, a, h, g, work: (right(self, a, h, g, work), np.multiply(g, 1.01, g))
    )
    found = diagnosed(network((5, 4, 3), "softsign"))
    assert found.named == ("activation_slope",)
    assert found.findings[0].tensors == ("W1", "b1")


def test_a_wrong_gradient_in_a_loss_is_named(monkeypatch):
    cls = REG.get("loss", "huber")
    monkeypatch.setattr(cls, "gradient", lambda self, z, y, grad: np.subtract(z, y, grad))
    assert diagnosed(network((5, 4, 3), "tanh", loss="huber")).named == ("loss_gradient",)


def test_a_mistake_in_the_network_itself_is_named(monkeypatch):
    right = Pass.backprop

    def wrong(self, x, y, z):
        right(self, x, y, z)
        self._into_first *= z.shape[1]

    monkeypatch.setattr(Pass, "backprop", wrong)
    found = diagnosed(network((5, 4, 3), "tanh"))
    assert [(one.name, one.tensors) for one in found.findings] == [("no_mean", ("W1", "b1"))]


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda g, e: 2 * g, "penalty_doubled"),
        (lambda g, e: 0 * g, "penalty_forgotten"),
        (lambda g, e: -g, "penalty_sign"),
        (lambda g, e: 1.5 * g, "penalty_factor"),
        (lambda g, e: g**2, "unknown"),
    ],
)
def test_the_penalty_is_diagnosed_apart(change, name):
    right = {"W1": np.array([[1.0, -2.0]]), "b1": np.zeros(1)}
    given = {tensor: change(each, right) for tensor, each in right.items()}
    assert [one.name for one in penalty_findings(given, right)] == [name]
    assert [one.tensors for one in penalty_findings(given, right)] == [("W1",)]
    assert not penalty_findings(right, right)
    biased = {**right, "b1": np.ones(1)}
    assert [(one.name, one.tensors) for one in penalty_findings(biased, right)] == [
        ("penalty_on_biases", ("b1",))
    ]


def test_a_penalty_in_the_gradient_of_the_loss_is_named():
    rule = backward(end=each(lambda t, name, g: g + 0.2 * own_tensor(t, name) * (name[0] == "W")))
    found = diagnosed(network((5, 4, 3), "tanh", planted(rule)), penalty=("l2", {"strength": 0.2}))
    assert found.named == ("penalty_twice",)


def test_a_large_network_is_diagnosed_by_a_smaller_one():
    found = diagnosed(network((300, 200, 10), "relu", REG.build("derivation", "cs446_as_written")))
    assert found.named == ("only_unit_0", "phi_prime_at_summand")
    assert "found on a network 13-11-10 of the same depth" in found.message()


def test_a_rule_for_its_own_sizes_only_is_diagnosed_at_these(monkeypatch):
    def rule(t):
        assert t.x.shape[1] == 9
        return backward(dz=lambda t: t.p / t.N)(t)

    monkeypatch.setattr(diagnosing, "LARGEST", 10)
    monkeypatch.setattr(diagnosing, "SMALLER", (4, 3))
    found = diagnosed(network((9, 4, 3), "tanh", planted(rule)))
    assert found.named == ("no_target",)
    assert found.counterexample is None
    assert "no example" in found.message()


def test_json_and_message_are_plain():
    found = diagnosed(network((5, 4, 3), "tanh", planted(PLANTED["no_target"])))
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert plain["schema"] == 1
    assert not plain["ok"]
    assert plain["findings"][0]["name"] == "no_target"
    assert plain["counterexample"]["values"]["W1"]
    assert max(map(len, found.message().splitlines())) <= 130


def test_the_page_shows_the_diagnosis_and_needs_nothing_else():
    found = diagnosed(network((5, 7, 3), "relu", REG.build("derivation", "cs446_as_written")))
    text = "\n".join(diagnosis_page.diagnosis(found))
    assert "<code>only_unit_0</code> at ∂Err/∂h1, in the gradients of W1, b1" in text
    assert '<span class="failed">∂Err/∂h1 ✗</span>' in text
    assert '<span class="follows">b1 ↓</span>' in text
    # What differs between the right formula and the one given is marked, its indices below the line.
    assert "<mark>Σ<sub>k</sub> (p<sub>nk</sub></mark>" in text
    assert "<mark>(p<sub>n0</sub></mark>" in text
    assert '<tr class="other"><th>given ∂Err/∂W1[' in text
    assert "<script" not in text
    assert "http" not in text


def test_a_formula_is_shown_as_it_was_written_where_the_numbers_say_it_otherwise():
    """Σ_k (p − y) is zero, so that a product of sums is zero: both are shown."""
    found = diagnosed(network((5, 7, 3), "relu", REG.build("derivation", "cs446")))
    assert found.ok
    written = {
        "W1": "∂Err/∂(W1)_hd = Σ_n (Σ_k (p_nk − y_nk)) (Σ_k (W2)_kh) φ'((a1)_nh) x_nd / N",
        "b1": "∂Err/∂(b1)_h = 0",
    }
    rule = backward(end=only("W1", lambda t, g: 0 * g))
    found = dataclasses.replace(diagnosed(network((5, 7, 3), "relu", planted(rule))), written=written)
    assert f"  written: {written['W1']}" in found.message()
    assert "(b1)" not in found.message().partition("written")[2].partition("smallest")[0]
    same = {"W1": "∂Err/∂(W1)_hd = Σ_nk φ((a1)_nh)"}
    given = "∂Err/∂(W1)_hd = Σ_n Σ_k (h1)_nh"
    finding = dataclasses.replace(found.findings[0], right="∂Err/∂(W1)_hd = 1", given=given)
    assert dataclasses.replace(found, findings=(finding,), written=same).otherwise() == []


@pytest.mark.parametrize("width", [80, 100])
def test_a_diagnosis_fits_the_terminal(width):
    found = diagnosed(network((5, 7, 3), "relu", REG.build("derivation", "cs446_as_written")))
    assert max(map(len, found.message(width).splitlines())) <= width


def test_what_is_no_set_of_cases_is_refused():
    one, *_ = cases(2, "tanh", [])
    with pytest.raises(ValueError, match="at least 3 cases, got 1"):
        diagnose([one])
    with pytest.raises(ValueError, match="must give the gradients of W1, W2, b1, b2, got W1"):
        diagnose([dataclasses.replace(one, given={"W1": one.given["W1"]})] * 3)


@pytest.mark.slow
def test_the_same_is_said_in_every_process():
    """Sets of strings have another order in every process."""
    code = (
        "from tests.netcheck.test_diagnosis import *\n"
        "for name in ('regulariser', 'reshaped'):\n"
        "    print(diagnosed(network((5, 6, 4, 3), 'relu', planted(PLANTED[name]))).message())\n"
        "print(diagnosed(network((5, 6, 4, 3), 'relu', planted(STRANGE['shrunk'][0]))).message())\n"
    )
    said_by = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in "123"
    }
    assert len(said_by) == 1
