"""What the diagnosis cannot name or tell apart it says so, at its place; it accuses nothing that is right."""

import dataclasses

import numpy as np
import pytest
from backproof.netcheck.diagnosis import Case
from backproof.netcheck.diagnosis.localize import locate
from backproof.nn.derivation import trace_and_gradients

from tests.helpers.mistakes import (
    NETWORKS,
    PLANTED,
    REG,
    backward,
    diagnosed,
    each,
    entry,
    network,
    only,
    planted,
)


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


@pytest.mark.slow
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
        assert "follow from it" in found.unknown[0].sentence


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
        trace, given = trace_and_gradients(net, theta, x, y[None])
        _, right = trace_and_gradients(dataclasses.replace(net, derivation=None), theta, x, y[None])
        probes.append(Case(trace, given, right))
    found = {}
    for step in locate(probes):
        found.setdefault(step.state, []).append(step.place)
    assert {state: " ".join(places) for state, places in found.items()} == expected


def test_what_shows_only_in_sums_over_samples_is_said_to_be_there():
    found = diagnosed(network((5, 4, 3), "tanh", planted(PLANTED["last_sample_dropped_from_mean"])))
    assert "for a single sample every step is right" in found.message()


@pytest.mark.slow
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
