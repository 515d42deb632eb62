"""The diagnosis names each planted mistake, and no other."""

import itertools

import numpy as np
import pytest
from backproof.netcheck import diagnose as diagnose_module
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
    every_tensor,
    network,
    parameter,
    planted,
    points,
    softmax,
)

ACTIVATIONS = ("tanh", "relu", "gelu")


#: Mistakes that a network without hidden layers cannot have.
HIDDEN = {
    name for name in PLANTED if name.startswith(("phi_", "only_unit", "no_weights", "absolute", "slope_"))
}


HIDDEN |= {"nothing_comes_back", "pre_activation", "leaky_slope", "weights_squared"}


#: Mistakes with the same numbers as another one: Σ_k (p_k − y_k) = 0, so nothing is propagated back without W.
CANCELS = {"no_weights"}


#: What is right for some activation, and so not a mistake.
RIGHT = {("relu", "phi_prime_at_h")}


def planted_cells():
    """Yield every mistake at every possible depth, with the activations in turn."""
    for i, name in enumerate(PLANTED):
        for depth in NETWORKS:
            if depth > 1 or name not in HIDDEN:
                yield name, depth, ACTIVATIONS[(i + depth) % 3]
    yield "phi_prime_at_h", 2, "relu"


@pytest.mark.slow
@pytest.mark.parametrize(("name", "depth", "activation"), list(planted_cells()))
def test_a_planted_mistake_is_the_only_one_named(name, depth, activation):
    diagnosis = diagnosed(network(NETWORKS[depth], activation, planted(PLANTED[name])))
    if (activation, name) in RIGHT:
        assert diagnosis.ok
        assert name in {alternative.name for alternative in diagnosis.equivalent}
        return
    if name in CANCELS:
        assert name in {tie.name for finding in diagnosis.findings for tie in finding.ties}, diagnosis.message()
    else:
        assert diagnosis.named == (name,), diagnosis.message()
    assert not diagnosis.unknown
    assert all(finding.residual < 1e-8 for finding in diagnosis.findings)
    assert name in diagnosis.message()


def explanations(diagnosis):
    """Return each explanation as a list with one set per mistake: the mistake and its ties, by name and place."""
    main = [
        {(finding.name, finding.place), *((tie.name, tie.place) for tie in finding.ties)}
        for finding in diagnosis.findings
    ]
    return [main, *([{(mistake.name, mistake.place)} for mistake in tie] for tie in diagnosis.ties)]


@pytest.mark.slow
@pytest.mark.parametrize(("depth", "activation"), list(zip(NETWORKS, ACTIVATIONS, strict=True)))
def test_every_entry_of_the_ledger_is_found(depth, activation):
    count = 0
    for fault in ledger(points(depth, activation)[0][0], penalty=True):
        planted_cases = cases(depth, activation, [fault])
        if planted_cases is None:
            continue
        count += 1
        diagnosis = diagnose(planted_cases)
        mistake = fault.name, fault.where
        if diagnosis.ok:
            assert mistake in {(fault.name, fault.place) for fault in diagnosis.equivalent}
        else:
            assert any(
                len(explanation) == 1 and mistake in explanation[0] for explanation in explanations(diagnosis)
            ), (fault, diagnosis)
    assert count > 60 * depth


@pytest.mark.slow
def test_random_pairs_are_found():
    """Some pairs are explained by a single mistake with the same numbers."""
    rng, count, named, simpler = np.random.default_rng(8), 0, 0, 0
    while count < 40:
        depth, activation = int(rng.integers(1, 4)), str(rng.choice(ACTIVATIONS))
        pair = list(
            rng.choice(np.array(ledger(points(depth, activation)[0][0], penalty=False)), 2, replace=False)
        )
        planted_cases = cases(depth, activation, pair) if pair[0].step != pair[1].step else None
        if planted_cases is None:
            continue
        count += 1
        diagnosis = diagnose(planted_cases)
        harmless = {(fault.name, fault.place) for fault in diagnosis.equivalent}
        mistakes = {(fault.name, fault.where) for fault in pair} - harmless
        named += any(
            len(explanation) == len(mistakes)
            and all(any(mistake in ties for ties in explanation) for mistake in mistakes)
            for explanation in explanations(diagnosis)
        )
        simpler += not diagnosis.unknown and len(diagnosis.findings) < len(mistakes)
    assert named + simpler == count
    assert named >= 0.95 * count


@pytest.mark.slow
def test_the_homework_as_written_has_exactly_its_two_mistakes():
    diagnosis = diagnosed(network((5, 7, 3), "relu", REG.build("derivation", "cs446_as_written")))
    assert [(finding.name, finding.tensors) for finding in diagnosis.findings] == [
        ("only_unit_0", ("W1", "b1")),
        ("phi_prime_at_summand", ("W1",)),
    ]
    assert not diagnosis.ties
    assert not any(finding.ties for finding in diagnosis.findings)
    text = diagnosis.message()
    assert "right: ∂Err/∂(W1)_hd = Σ_n Σ_k (p_nk − y_nk) (W2)_kh φ'((a1)_nh) x_nd / N" in text
    assert "given: ∂Err/∂(W1)_hd = Σ_n (p_n0 − y_n0) (W2)_0h φ'((W1)_hd x_nd + (b1)_h) x_nd / N" in text
    assert "equivalent here, not a mistake: φ' is taken at h1" in text
    assert diagnosed(network((5, 7, 3), "relu", REG.build("derivation", "cs446"))).ok


def test_the_counterexample_can_be_worked_by_hand():
    example = diagnosed(network((5, 7, 3), "relu", REG.build("derivation", "cs446_as_written"))).counterexample
    v = {name: np.array(value) for name, value in example.values.items()}
    assert all((v[name] == np.rint(v[name])).all() for name in ("x", "y", "W1", "b1", "W2", "b2"))
    assert max(*example.sizes, example.N) <= 3
    assert all(np.abs(v[name]).max() <= 2 for name in ("x", "W1", "b1", "W2", "b2"))
    a = v["x"] @ v["W1"].T + v["b1"]
    z = np.maximum(a, 0) @ v["W2"].T + v["b2"]
    p = softmax(z, 1)
    np.testing.assert_allclose(p, v["p"])
    delta = (p - v["y"]) / example.N @ v["W2"] * (a > 0)
    right = delta.T @ v["x"]
    single = (v["W1"] * v["x"][:, None, :] + v["b1"][:, None]) > 0
    one_class = np.outer((p - v["y"])[:, 0], v["W2"][0]) / example.N
    wrong = np.einsum("nh,nhd,nd->hd", one_class, single, v["x"])
    assert example.tensor == "W1"
    assert example.right == pytest.approx(right[example.index])
    assert example.given == pytest.approx(wrong[example.index])
    assert example.right != example.given
    # The derivation's intermediate results.
    index = example.index
    assert v["given φ'(a1)"][0][index] == single[0][index]
    np.testing.assert_allclose((v["given ∂Err/∂a1"] * v["x"][:, None, :]).sum(0)[index], example.given)


def momentum():
    velocity = {}

    def rule(t):
        for name, g in backward()(t).items():
            velocity[name] = 0.9 * velocity.get(name, 0) + g
        return dict(velocity)

    return rule


def test_momentum_in_the_gradient_is_named_with_its_factor():
    diagnosis = diagnosed(network((5, 4, 3), "tanh", planted(momentum())))
    assert diagnosis.named == ("momentum",)
    assert "0.9 times" in diagnosis.message()


def test_a_rule_with_state_is_not_repeatable():
    count = itertools.count()
    diagnosis = diagnosed(network((5, 4, 3), "tanh", planted(backward(dz=lambda t: next(count) * (t.p - t.y)))))
    assert diagnosis.named == ("not_repeatable",)


def test_a_wrong_slope_in_a_plugin_is_distinguished_from_a_wrong_rule(monkeypatch):
    cls = REG.get("activation", "softsign")
    right = cls.backward
    monkeypatch.setattr(
        cls, "backward", lambda self, a, h, g, work: (right(self, a, h, g, work), np.multiply(g, 1.01, g))
    )
    diagnosis = diagnosed(network((5, 4, 3), "softsign"))
    assert diagnosis.named == ("activation_slope",)
    assert diagnosis.findings[0].tensors == ("W1", "b1")


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
    diagnosis = diagnosed(network((5, 4, 3), "tanh"))
    assert [(finding.name, finding.tensors) for finding in diagnosis.findings] == [("no_mean", ("W1", "b1"))]


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
def test_the_penalty_is_diagnosed_separately(change, name):
    right = {"W1": np.array([[1.0, -2.0]]), "b1": np.zeros(1)}
    gradients = {tensor: change(gradient, right) for tensor, gradient in right.items()}
    assert [finding.name for finding in penalty_findings(gradients, right)] == [name]
    assert [finding.tensors for finding in penalty_findings(gradients, right)] == [("W1",)]
    assert not penalty_findings(right, right)
    biased = {**right, "b1": np.ones(1)}
    assert [(finding.name, finding.tensors) for finding in penalty_findings(biased, right)] == [
        ("penalty_on_biases", ("b1",))
    ]


def test_a_penalty_in_the_gradient_of_the_loss_is_named():
    rule = backward(end=every_tensor(lambda t, name, g: g + 0.2 * parameter(t, name) * (name[0] == "W")))
    diagnosis = diagnosed(network((5, 4, 3), "tanh", planted(rule)), penalty=("l2", {"strength": 0.2}))
    assert diagnosis.named == ("penalty_twice",)


def test_a_large_network_is_diagnosed_on_a_smaller_one():
    diagnosis = diagnosed(network((300, 200, 10), "relu", REG.build("derivation", "cs446_as_written")))
    assert diagnosis.named == ("only_unit_0", "phi_prime_at_summand")
    assert "found on a network 13-11-10 of the same depth" in diagnosis.message()


def test_a_rule_for_fixed_sizes_is_diagnosed_at_those_sizes(monkeypatch):
    def rule(t):
        assert t.x.shape[1] == 9
        return backward(dz=lambda t: t.p / t.N)(t)

    monkeypatch.setattr(diagnose_module, "MOST_PARAMETERS", 10)
    monkeypatch.setattr(diagnose_module, "SMALL_SIZES", (4, 3))
    diagnosis = diagnosed(network((9, 4, 3), "tanh", planted(rule)))
    assert diagnosis.named == ("no_target",)
    assert diagnosis.counterexample is None
    assert "no example" in diagnosis.message()
