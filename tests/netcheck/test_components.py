"""Components checked one by one: right ones pass, and a mistake fails only the component it is in."""

import json
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from backproof import check_elementwise, check_hessian
from backproof.cli.main import main
from backproof.contracts import Derivation
from backproof.discovery.registry import registry
from backproof.gradcheck.hessian import hessian_vector_product
from backproof.netcheck.components import COMPONENTS
from backproof.netcheck.points import CHOICES, check_alone
from backproof.nn.mlp import Pass
from backproof.nn.objective import DataLoss

from tests.gradcheck.test_check import THETA, rosenbrock
from tests.helpers.experiments import experiment

REG = registry()
LOSSES = {
    "softmax_cross_entropy": "iris",
    "hinge": "iris",
    "sigmoid_cross_entropy": "breast_cancer",
    "absolute_error": "linnerud",
    "huber": "linnerud",
    "squared_error": "linnerud",
}


def check(*parts, **options):
    options.setdefault("train", {"batch_size": 8})
    return check_alone(experiment(**{"hidden": (5,), **options}).prepare(REG), parts)


def failed_parts(report):
    return {result.part for _, result in report.failures}


def damage(monkeypatch, kind, name, method, change):
    """Make a plugin's method wrong: call `change(*arguments)` after it, to change its result in place."""
    cls = REG.get(kind, name)
    right = getattr(cls, method)

    def wrong(self, *args):
        right(self, *args)
        change(*args)

    monkeypatch.setattr(cls, method, wrong)


def test_every_registered_loss_is_tested():
    assert set(LOSSES) == set(REG.names("loss"))


@pytest.mark.slow
@pytest.mark.parametrize("activation", REG.names("activation"))
def test_right_activations_pass(activation):
    report = check("activation", "inputs", "hessian", activation=activation)
    assert report.passed, report.failure_message()
    results = report.sections[0].results
    assert {result.part for result in results} == {"activation", "inputs", "hessian"}
    # All built-in backward passes accept complex numbers.
    assert {result.oracle for result in results} == {"complex step", "complex step of the gradient"}
    assert all(result.status == "passed" for result in results if result.part == "hessian")


@pytest.mark.parametrize("loss", LOSSES)
def test_right_losses_pass(loss):
    report = check("loss", "inputs", "hessian", loss=loss, dataset=LOSSES[loss], activation="tanh")
    assert report.passed, report.failure_message()
    assert {result.oracle for result in report.sections[0].results} == {
        "complex step",
        "complex step of the gradient",
    }


@pytest.mark.parametrize("penalty", [name for name in REG.names("penalty") if name != "none"])
def test_penalties(penalty, monkeypatch):
    options = {"penalty": (penalty, {"strength": 0.1})}
    report = check("penalty", **options)
    assert report.passed
    assert {result.part for result in report.sections[0].results} == {"penalty"}
    damage(monkeypatch, "penalty", penalty, "gradient", lambda theta, mask, grad, work: grad.__imul__(1.001))
    assert failed_parts(check("penalty", **options)) == {"penalty"}


def test_no_penalty_is_noted():
    assert "no penalty to check" in check("penalty", "loss").sections[0].notes[0]


def test_a_wrong_slope_fails_as_an_activation(monkeypatch):
    damage(monkeypatch, "activation", "tanh", "backward", lambda a, h, grad, work: grad.__imul__(1 + 1e-9))
    report = check(*COMPONENTS, activation="tanh")
    assert failed_parts(report) == {"activation", "inputs", "hessian"}
    assert "activation, φ'(a): it has a relative error of 1.00e-09" in report.failure_message()


def test_a_wrong_slope_at_a_kink_fails_as_an_activation(monkeypatch):
    damage(
        monkeypatch, "activation", "relu", "backward", lambda a, h, grad, work: np.copyto(grad, 2, where=a == 0)
    )
    report = check("activation", activation="relu")
    assert {result.tensor for _, result in report.failures} == {"φ'(a) on kinks"}
    assert report.sections[0].notes == ("φ'(0) = 2, not between the slopes on its two sides, 0 and 1",)


def test_every_subgradient_is_accepted(monkeypatch):
    damage(
        monkeypatch, "activation", "relu", "backward", lambda a, h, grad, work: np.copyto(grad, 1, where=a == 0)
    )
    report = check("activation", activation="relu")
    assert report.passed
    assert report.sections[0].notes == ("φ'(0) = 1, between the slopes on its two sides, 0 and 1",)


def test_a_wrong_loss_gradient_fails_as_a_loss(monkeypatch):
    damage(
        monkeypatch,
        "loss",
        "softmax_cross_entropy",
        "gradient",
        lambda z, y, grad: grad[..., :1].__imul__(1.01),
    )
    assert "loss" in failed_parts(check("loss", "activation"))
    assert failed_parts(check("activation")) == set()


def test_a_wrong_input_gradient_fails_only_inputs(monkeypatch):
    right = Pass.input_gradient
    monkeypatch.setattr(Pass, "input_gradient", lambda self: right(self) * 1.001)
    assert failed_parts(check(*COMPONENTS)) == {"inputs"}


def test_input_gradients_by_hand():
    """∂Err/∂x = W1ᵀ (φ'(a) W2ᵀ (p − y)) / N for every member of a stack."""
    prepared = experiment(activation="tanh", repeats=3).prepare(REG)
    net, X, y = prepared.net, prepared.data.train.X[:9], prepared.y[:9]
    gradients = DataLoss(net, X, y).input_gradient(prepared.theta)
    assert gradients.shape == (3, 9, 4)
    for theta, gradient in zip(prepared.theta, gradients, strict=True):
        t = net.layout.tensors(theta)
        h = np.tanh(X @ t["W1"].T + t["b1"])
        z = h @ t["W2"].T + t["b2"]
        p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
        np.testing.assert_allclose(gradient, ((p - y) / 9 @ t["W2"] * (1 - h**2)) @ t["W1"], atol=1e-15)


class TestHessian:
    def planted(self, change):
        @dataclass(frozen=True)
        class Planted(Derivation):
            name: ClassVar[str] = "planted"

            def gradients(self, trace):
                return change(trace)

        return Planted()

    def test_the_derivation_is_differentiated(self):
        def homework(trace, factor=1.0):
            delta2 = (trace.p - trace.y) / trace.N
            delta1 = delta2 @ trace.W[2] * trace.dphi(trace.a[1])
            return {
                "W2": factor * delta2.T @ trace.h[1],
                "b2": delta2.sum(0),
                "W1": delta1.T @ trace.x,
                "b1": delta1.sum(0),
            }

        report = check("hessian", activation="gelu", derivation=self.planted(homework))
        assert report.passed
        assert {r.oracle for r in report.sections[0].results} == {"complex step of the gradient"}
        report = check(
            "hessian", activation="gelu", derivation=self.planted(lambda trace: homework(trace, 1.001))
        )
        assert {r.tensor for _, r in report.failures} == {"W2", "w·Hu = u·Hw"}

    @pytest.mark.parametrize("behavior", ["raises", "drops the imaginary part"])
    def test_differences_are_used_and_reported_if_backward_is_real(self, behavior, monkeypatch):
        cls = REG.get("activation", "tanh")
        right = cls.backward

        def real(self, a, h, grad, work):
            if np.iscomplexobj(a):
                if behavior == "raises":
                    raise TypeError("real numbers only")
                a, h = a.real + 0j, h.real + 0j
            right(self, a, h, grad, work)

        monkeypatch.setattr(cls, "backward", real)
        report = check("hessian", activation="tanh")
        assert report.passed, report.failure_message()
        results = report.sections[0].results
        assert {result.oracle for result in results} == {"differences of the gradient"}
        reason = "does not accept complex numbers" if behavior == "raises" else "gives a different derivative"
        assert all(reason in result.note for result in results)
        assert max(result.tolerance for result in results) < 1e-6

    def test_a_function(self):
        assert check_hessian(rosenbrock, THETA).passed
        wrong = check_hessian(lambda t: (rosenbrock(t)[0], 1.0001 * rosenbrock(t)[1]), THETA)
        assert [result.tensor for _, result in wrong.failures] == ["theta"]

    def test_a_vector_field_that_is_not_a_gradient_is_not_symmetric(self):
        A = np.random.default_rng(0).standard_normal((12, 12))
        report = check_hessian(lambda t: (t @ A @ t / 2, A @ t), THETA)
        assert {result.tensor for _, result in report.failures} == {"theta", "w·Hu = u·Hw"}

    def test_the_product(self):
        A = np.random.default_rng(0).standard_normal((12, 12))
        u = np.arange(12.0)
        product = hessian_vector_product(lambda t: t * (A @ t**2), THETA, u)
        expected = u * (A @ THETA**2) + THETA * (A @ (2 * THETA * u))
        np.testing.assert_allclose(product.values, expected, rtol=1e-13)
        assert product.oracle == "complex step of the gradient"


def test_elementwise_functions():
    at = np.linspace(-3, 3, 61)
    check_elementwise(np.tanh, lambda a: 1 - np.tanh(a) ** 2, at).raise_if_failed()
    report = check_elementwise(np.tanh, lambda a: np.where(a > 2.95, 0, 1 - np.tanh(a) ** 2), at)
    assert report.failures[0][1].worst.index == (60,)


class TestCommand:
    ARGS = ("dataset=iris", "model.hidden=[5]")

    @pytest.mark.slow
    def test_parts_in_the_terminal_as_json_and_as_a_page(self, tmp_path, capsys):
        page = tmp_path / "check.html"
        assert main(["check", "--parts", "activation,inputs", f"--report={page}", *self.ARGS]) == 0
        output = capsys.readouterr().out
        assert "components of the network, each checked separately" in output
        assert "∂Err/∂x" in output
        assert "φ'(0) = 0, between" in output
        assert "∂Err/∂x" in page.read_text()
        assert main(["check", "--parts=all", "--json", *self.ARGS]) == 0
        stored = json.loads(capsys.readouterr().out)
        (alone,) = [section for section in stored["sections"] if section["moment"] == "by itself"]
        assert {result["part"] for result in alone["results"]} == set(COMPONENTS) - {"penalty"}
        assert len(stored["sections"]) == 6

    def test_a_failure_exits_with_1(self, monkeypatch, capsys):
        right = Pass.input_gradient
        monkeypatch.setattr(Pass, "input_gradient", lambda self: right(self) * 2)
        assert main(["check", "--parts", "inputs", *self.ARGS]) == 1
        captured = capsys.readouterr()
        assert "inputs, ∂Err/∂x: it has a relative error of 5.00e-01" in captured.out
        assert "diagnosis" not in captured.out

    @pytest.mark.parametrize(
        ("args", "message"),
        [
            (["--parts", "activaton"], "no part is called 'activaton', did you mean activation?"),
            (["--parts"], "option '--parts' requires an argument\n`backproof check --help`"),
            (["--parts", "--json"], "no part is called '--json'"),
            (["--report"], "option '--report' requires an argument\n`backproof check --help`"),
            (["--report", "--json"], "--report --json: expected a file in a folder that exists"),
        ],
    )
    def test_invalid_options(self, args, message, capsys):
        assert main(["check", *args]) == 2
        assert message in capsys.readouterr().err

    def test_help_names_every_part(self, capsys):
        assert main(["check", "--help"]) == 0
        output = capsys.readouterr().out
        assert all(f"{name} " in output for name in CHOICES)
