"""The gradient check of a whole network: planted mistakes are caught and named, right gradients pass."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from backproof.contracts import Derivation
from backproof.experiment.run import GradcheckFailedError
from backproof.nn.mlp import Pass

from tests.helpers.experiments import Watcher, experiment, run, run_prepared
from tests.helpers.netcheck import REG, missing_mean, planted


def scaled(grads, trace):
    return {name: 1.001 * grad for name, grad in grads.items()}


def one_coordinate(grads, trace):
    grads["W1"][3, 2] += 1e-6 * np.abs(grads["W1"]).max()
    return grads


def lost_bias(grads, trace):
    grads["b1"][:] = 0
    return grads


def sign(grads, trace):
    grads["W2"] *= -1
    return grads


def transposed_layer(grads, trace):
    grads["b2"] = grads["b2"][::-1].copy()
    return grads


def one_class_only(grads, trace):
    """Omit the sum over k, as the homework did."""
    delta = (trace.p - trace.y)[:, :1] @ trace.W[2][:1] * trace.dphi(trace.a[1]) / trace.N
    return {**grads, "W1": delta.T @ trace.x, "b1": delta.sum(0)}


def slope_of_one_summand(grads, trace):
    """Take φ' at W_hd x_d + b_h instead of the whole a_h, as the homework did."""
    back = (trace.p - trace.y) @ trace.W[2] / trace.N
    single = trace.W[1][None] * trace.x[:, None, :] + trace.b[1][None, :, None]
    return {**grads, "W1": np.einsum("nh,nhd,nd->hd", back, trace.dphi(single), trace.x)}


PLANTED = {
    scaled: {"W1", "b1", "W2", "b2"},
    one_coordinate: {"W1"},
    lost_bias: {"b1"},
    sign: {"W2"},
    missing_mean: {"W1", "b1", "W2", "b2"},
    transposed_layer: {"b2"},
    one_class_only: {"W1", "b1"},
    slope_of_one_summand: {"W1"},
}


def plant_in_backprop(monkeypatch, mistake):
    """Plant a mistake in the network's own backward pass."""
    right = Pass.backprop

    def wrong(self, x, y, z):
        right(self, x, y, z)
        for layer, G in enumerate(self.net.layout.blocks(self.grad), start=1):
            mistake(layer, G, z.shape[1])

    monkeypatch.setattr(Pass, "backprop", wrong)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("large", [False, True], ids=["all", "sampled"])
@pytest.mark.parametrize("mistake", PLANTED, ids=lambda mistake: mistake.__name__)
def test_planted_mistakes_are_caught_and_the_tensors_named(mistake, large, dtype):
    options = {"all_coordinates_up_to": 0, "coordinates": 2} if large else {}
    watcher = Watcher()
    prepared = experiment(derivation=planted(mistake), gradcheck=options, train={"dtype": dtype}).prepare(REG)
    with pytest.raises(GradcheckFailedError) as caught:
        run_prepared(prepared, watcher)
    assert not watcher.epochs, "training must not start"
    results = [result for _, result in caught.value.report.failures if result.part == "loss"]
    assert {result.tensor for result in results} == PLANTED[mistake]
    for result in results:
        assert result.worst.got != result.worst.expected
        assert f"{result.tensor}[" in str(caught.value)
    if mistake is one_coordinate:
        assert results[0].worst.index == (3, 2)


NATIVE = {
    "scale": lambda layer, G, B: np.multiply(G, 1.001, G),
    "one coordinate": lambda layer, G, B: G[..., 1, 2:3].__iadd__(1e-3) if layer == 1 else None,
    "lost bias": lambda layer, G, B: G[..., -1].fill(0) if layer == 2 else None,
    "sign": lambda layer, G, B: np.negative(G, G) if layer == 1 else None,
    "missing 1/N": lambda layer, G, B: np.multiply(G, B, G),
}


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", NATIVE)
def test_mistakes_in_the_network_itself_are_caught(monkeypatch, name, dtype):
    plant_in_backprop(monkeypatch, NATIVE[name])
    with pytest.raises(GradcheckFailedError, match=r"got .* expected"):
        run(hidden=(5, 4), train={"dtype": dtype}, repeats=2)


def test_a_mistake_only_in_float32_arithmetic_is_caught(monkeypatch):
    right = Pass.backprop

    def wrong(self, x, y, z):
        right(self, x, y, z)
        if z.dtype == np.float32:
            self.net.layout.blocks(self.grad)[0][...] *= 1.01

    monkeypatch.setattr(Pass, "backprop", wrong)
    with pytest.raises(GradcheckFailedError) as caught:
        run(train={"dtype": "float32"})
    assert {(r.part, r.tensor) for _, r in caught.value.report.failures} == {
        ("float32", "W1"),
        ("float32", "b1"),
    }
    assert run(train={"dtype": "float64"}).report.passed


@pytest.mark.parametrize("penalty", [name for name in REG.names("penalty") if name != "none"])
def test_penalties_are_checked_separately(penalty, monkeypatch):
    cls = REG.get("penalty", penalty)
    result = run(penalty=(penalty, {"strength": 0.1}))
    assert {r.part for r in result.report.sections[0].results} == {"loss", "penalty"}
    right = cls.gradient

    def wrong(self, theta, mask, grad, work):
        right(self, theta, mask, grad, work)
        right(self, theta, mask, grad, work)

    monkeypatch.setattr(cls, "gradient", wrong)
    with pytest.raises(GradcheckFailedError) as caught:
        run(penalty=(penalty, {"strength": 0.1}))
    assert {(r.part, r.tensor) for _, r in caught.value.report.failures} == {
        ("penalty", "W1"),
        ("penalty", "W2"),
    }


@pytest.mark.parametrize("activation", REG.names("activation"))
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_right_gradients_pass_fresh_and_trained(activation, dtype):
    report = run(activation=activation, train={"epochs": 15, "dtype": dtype}, hidden=(6, 5)).report
    assert [section.moment for section in report.sections] == ["fresh", "trained"]
    assert report.passed, report.failure_message()
    assert report.max_relative_error < 1e-11


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_right_gradients_pass_after_long_training(seed, dtype):
    """Where p is close to y, the gradient is as small as the rounding errors of its terms."""
    report = run(
        dataset="iris", seed=seed, optimizer=("adam", {"lr": 0.05}), train={"epochs": 400, "dtype": dtype}
    ).report
    assert report.passed, report.failure_message()


def test_large_networks_are_sampled():
    report = run(dataset="digits", hidden=(64,), train={"epochs": 1}).report
    result = report.sections[0].results[0]
    assert (result.directions, result.checked) == (8, 12)


def test_on_failure_warn_continues_training():
    watcher = Watcher()
    prepared = experiment(derivation=planted(sign), gradcheck={"on_failure": "warn"}).prepare(REG)
    result = run_prepared(prepared, watcher)
    assert len(watcher.epochs) == 3
    assert not result.report.passed


def test_a_disabled_check_checks_nothing():
    result = run(gradcheck={"enabled": False}, derivation=planted(sign))
    assert result.report is None


def test_a_derivation_trains_like_backprop():
    """Training with a hand-derived rule and with backprop agrees up to rounding."""

    @dataclass(frozen=True)
    class Homework(Derivation):
        name: ClassVar[str] = "homework"

        def gradients(self, trace):
            delta2 = (trace.p - trace.y) / trace.N
            delta1 = delta2 @ trace.W[2] * trace.dphi(trace.a[1])
            return {
                "W2": delta2.T @ trace.h[1],
                "b2": delta2.sum(0),
                "W1": delta1.T @ trace.x,
                "b1": delta1.sum(0),
            }

    derived, backprop = run(derivation=Homework(), repeats=2), run(repeats=2)
    np.testing.assert_allclose(derived.theta, backprop.theta, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (lambda t: None, "must return a dict of gradients by tensor name, got NoneType"),
        (lambda t: {"W1": 0}, "must return the gradients of W1, b1, W2, b2, got W1"),
        (
            lambda t: {**t.backprop(), "W2": t.backprop()["W2"].T},
            r"gradient of W2 must have its shape \(3, 8\), got \(8, 3\)",
        ),
    ],
)
def test_an_invalid_gradient_is_rejected(rule, message):
    @dataclass(frozen=True)
    class Wrong(Derivation):
        name: ClassVar[str] = "wrong"

        def gradients(self, trace):
            return rule(trace)

    with pytest.raises(ValueError, match=message):
        run(derivation=Wrong())


def test_a_derivation_cannot_change_the_network():
    @dataclass(frozen=True)
    class Overwriting(Derivation):
        name: ClassVar[str] = "overwriting"

        def gradients(self, trace):
            trace.W[1][...] = 0
            return trace.backprop()

    with pytest.raises(
        ValueError, match=r"(?s)read-only\n    tests/netcheck/test_network.py, line \d+, in gradients:\n"
    ):
        run(derivation=Overwriting())


def test_the_line_of_an_error_in_a_derivation_is_shown():
    @dataclass(frozen=True)
    class Raises(Derivation):
        name: ClassVar[str] = "raises"

        def gradients(self, trace):
            return {"W1": trace.x @ trace.x}  # shapes that do not fit

    with pytest.raises(
        ValueError, match=r"(?s)^derivation 'raises' raised ValueError: matmul.*shapes that do not"
    ):
        run(derivation=Raises())
