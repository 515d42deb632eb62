"""The diagnosis names each planted mistake, and no other."""

import itertools

import numpy as np
import pytest
from backproof.netcheck import diagnose as diagnosing
from backproof.netcheck.diagnosis import diagnose, penalty_findings
from backproof.netcheck.diagnosis.backward import ledger
from backproof.nn.mlp import Pass

from tests.helpers.mistakes import (
    NETWORKS,
    PLANTED,
    REG,
    backward,
    cases,
    diagnosed,
    each,
    network,
    own_tensor,
    planted,
    points,
    softmax,
)

ACTIVATIONS = ("tanh", "relu", "gelu")


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


@pytest.mark.slow
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


def said(found):
    """Each mistake that was found, with those that have the same numbers."""
    main = [{(one.name, one.place), *((tie.name, tie.place) for tie in one.ties)} for one in found.findings]
    return [main, *([{(one.name, one.place)} for one in tie] for tie in found.ties)]


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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
    assert "equivalent here, not a mistake: φ' is taken at h1" in text
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
        self.net.layout.blocks(self.grad)[0][...] *= z.shape[1]

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

    monkeypatch.setattr(diagnosing, "MOST_PARAMETERS", 10)
    monkeypatch.setattr(diagnosing, "SMALL_SIZES", (4, 3))
    found = diagnosed(network((9, 4, 3), "tanh", planted(rule)))
    assert found.named == ("no_target",)
    assert found.counterexample is None
    assert "no example" in found.message()
