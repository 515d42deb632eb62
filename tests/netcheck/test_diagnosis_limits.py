"""Limits of the diagnosis: unknown mistakes are located, ties are listed, right gradients have no findings."""

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
    entry,
    every_tensor,
    network,
    only,
    planted,
)


@pytest.mark.parametrize("activation", REG.names("activation"))
@pytest.mark.parametrize("loss", REG.names("loss"))
def test_a_right_gradient_has_no_findings(activation, loss):
    diagnosis = diagnosed(network((5, 6, 4, 3), activation, planted(backward(dz=lambda t: t.dloss())), loss))
    assert diagnosis.ok, diagnosis.message()
    assert "nothing is wrong" in diagnosis.message()


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
    "shrunk": (backward(end=every_tensor(lambda t, name, g: np.tanh(g))), "W2, b2"),
    "not finite": (backward(end=only("W1", lambda t, g: g * np.nan)), "W1"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", STRANGE)
def test_an_unknown_mistake_is_located(name):
    rule, place = STRANGE[name]
    diagnosis = diagnosed(network((5, 4, 3), "tanh", planted(rule)))
    assert not diagnosis.named, diagnosis.message()
    assert diagnosis.unknown[0].place == place
    patterns = " ".join(pattern for finding in diagnosis.unknown for pattern in finding.structure)
    expected = {
        "half of the samples": "other weights",
        "two rows": "only the rows 0, 1 are wrong",
        "not finite": "not finite",
    }
    assert expected.get(name, "") in patterns
    if name in ("cubed", "half of the samples"):
        assert diagnosis.unknown[0].tensors == ("W1", "b1", "W2", "b2")
        assert "follow from it" in diagnosis.unknown[0].sentence


#: Planted mistakes in a network 5-6-4-3, and the steps that are then right, wrong, and wrong only as a result.
LOCATED = {
    "right": (backward(), {"right": "∂Err/∂z W3 b3 ∂Err/∂h2 φ'(a2) W2 b2 ∂Err/∂h1 φ'(a1) W1 b1"}),
    "a product with the weights": (
        backward(back=lambda t, d, m: d @ t.W[m] ** 3 if m == 3 else d @ t.W[m]),
        {"right": "∂Err/∂z W3 b3 φ'(a1)", "wrong": "∂Err/∂h2", "follows": "W2 b2 ∂Err/∂h1 W1 b1"},
    ),
    "a slope": (
        backward(slope=lambda t, m: np.cos(t.a[m]) if m == 2 else t.dphi(t.a[m])),
        {"right": "∂Err/∂z W3 b3 ∂Err/∂h2 φ'(a1)", "wrong": "φ'(a2)", "follows": "W2 b2 ∂Err/∂h1 W1 b1"},
    ),
    "weights only": (
        backward(end=only("W2", lambda t, g: g + 1)),
        {"right": "∂Err/∂z W3 b3 ∂Err/∂h2 φ'(a2) b2 ∂Err/∂h1 φ'(a1) W1 b1", "wrong": "W2"},
    ),
    "biases only": (
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
        trace, gradients = trace_and_gradients(net, theta, x, y[None])
        _, right = trace_and_gradients(dataclasses.replace(net, derivation=None), theta, x, y[None])
        probes.append(Case(trace, gradients, right))
    steps = {}
    for step in locate(probes):
        steps.setdefault(step.state, []).append(step.place)
    assert {state: " ".join(places) for state, places in steps.items()} == expected


def test_a_mistake_visible_only_in_sums_over_samples_is_located_there():
    diagnosis = diagnosed(network((5, 4, 3), "tanh", planted(PLANTED["last_sample_dropped_from_mean"])))
    assert "for a single sample every step is right" in diagnosis.message()


@pytest.mark.slow
def test_several_mistakes_are_all_named():
    rule = backward(
        dz=lambda t: t.p / t.N,
        back=lambda t, d, m: d[:, :1] @ t.W[m][:1],
        slope=lambda t, m: t.dphi(t.h[m]),
        end=only("b1", lambda t, g: -g),
    )
    diagnosis = diagnosed(network((5, 6, 4, 3), "tanh", planted(rule)))
    assert diagnosis.named == ("no_target", "only_unit_0", "phi_prime_at_h", "sign")
    assert [finding.tensors for finding in diagnosis.findings][-1] == ("b1",)


def test_an_entry_and_another_mistake_are_both_named():
    rule = backward(slope=lambda t, m: t.dphi(t.h[m]), end=only("W1", entry))
    diagnosis = diagnosed(network((5, 4, 3), "tanh", planted(rule)))
    assert diagnosis.named == ("phi_prime_at_h", "one_entry")
    # A tiny network lacks this entry, so there may be no example; a note then says so.
    assert diagnosis.counterexample is not None or any("no example" in note for note in diagnosis.notes)


def test_a_mistake_in_one_formula_only_is_reported_for_that_tensor():
    def rule(t):
        g = backward()(t)
        return {**g, "W1": ((t.p - t.y) / t.N @ t.W[2]).T @ t.x}

    diagnosis = diagnosed(network((5, 4, 3), "tanh", planted(rule)))
    assert [(finding.name, finding.tensors) for finding in diagnosis.findings] == [
        ("phi_prime_omitted", ("W1",))
    ]
    assert "in the gradient of W1 but not of b1" in diagnosis.message()


def test_ties_are_listed():
    """With three outputs, a mean over the units and a factor of 1/K are the same."""
    diagnosis = diagnosed(network((5, 4, 3), "tanh", planted(backward(back=lambda t, d, m: d @ t.W[m] / 3))))
    names = {finding.name for finding in diagnosis.findings}
    names |= {tie.name for finding in diagnosis.findings for tie in finding.ties}
    assert names == {"mean_over_units", "mean_over_outputs"}
    assert "or, with the same numbers: " in diagnosis.message()
