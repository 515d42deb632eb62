"""Activations against SciPy and closed forms, and the teeth of their conformance checks."""

from dataclasses import dataclass

import numpy as np
import pytest
from scipy import special

from framework.conformance import activation as conformance
from framework.conformance.base import ConformanceError
from framework.kinds import Activation
from framework.registry import registry

REG = registry()
A = np.concatenate([np.linspace(-8, 8, 321), [-300.0, -40.0, 40.0, 300.0]])
ALPHA, SCALE = 1.6732632423543772, 1.0507009873554805


def softplus(a):
    return np.logaddexp(0, a)


def normal_density(a):
    return np.exp(-(a**2) / 2) / np.sqrt(2 * np.pi)


def u(a):
    return np.sqrt(2 / np.pi) * (a + 0.044715 * a**3)


# name -> φ and φ' from the papers' formulas, written plainly.
CLOSED = {
    "relu": (lambda a: np.maximum(a, 0), lambda a: (a > 0) * 1.0),
    "leaky_relu": (lambda a: np.where(a > 0, a, 0.01 * a), lambda a: np.where(a > 0, 1, 0.01)),
    "elu": (lambda a: np.where(a > 0, a, np.exp(np.minimum(a, 0)) - 1), lambda a: np.exp(np.minimum(a, 0))),
    "selu": (
        lambda a: SCALE * np.where(a > 0, a, ALPHA * (np.exp(np.minimum(a, 0)) - 1)),
        lambda a: SCALE * np.where(a > 0, 1, ALPHA * np.exp(np.minimum(a, 0))),
    ),
    "gelu": (
        lambda a: a * 0.5 * special.erfc(-a / np.sqrt(2)),
        lambda a: 0.5 * special.erfc(-a / np.sqrt(2)) + a * normal_density(a),
    ),
    "gelu_tanh": (
        lambda a: 0.5 * a * (1 + np.tanh(u(a))),
        lambda a: (
            0.5 * (1 + np.tanh(u(a)))
            + 0.5 * a * (1 - np.tanh(u(a)) ** 2) * np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * a**2)
        ),
    ),
    "silu": (
        lambda a: a * special.expit(a),
        lambda a: special.expit(a) + a * special.expit(a) * special.expit(-a),
    ),
    "mish": (
        lambda a: a * np.tanh(softplus(a)),
        lambda a: np.tanh(softplus(a)) + a * special.expit(a) / np.cosh(np.minimum(softplus(a), 300)) ** 2,
    ),
    "softplus": (softplus, special.expit),
    "softsign": (lambda a: a / (1 + np.abs(a)), lambda a: (1 + np.abs(a)) ** -2.0),
    "tanh": (np.tanh, lambda a: np.cosh(a) ** -2.0),
    "sigmoid": (special.expit, lambda a: special.expit(a) * special.expit(-a)),
    "hard_tanh": (lambda a: np.clip(a, -1, 1), lambda a: (np.abs(a) < 1) * 1.0),
    "sine": (np.sin, np.cos),
    "identity": (lambda a: a, np.ones_like),
}


def test_every_activation_has_its_closed_form_here():
    assert set(CLOSED) == {
        e.name for e in REG.entries("activation") if "backproof_plugin" not in e.cls.__module__
    }


@pytest.mark.parametrize("name", CLOSED)
def test_values_and_slopes(name):
    phi, dphi = CLOSED[name]
    plugin = REG.build("activation", name)
    np.testing.assert_allclose(conformance.value(plugin, A), phi(A), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(conformance.slope(plugin, A), dphi(A), rtol=1e-12, atol=3e-15)


@pytest.mark.parametrize(
    ("name", "params", "phi"),
    [
        ("leaky_relu", {"slope": 0.2}, lambda a: np.where(a > 0, a, 0.2 * a)),
        ("elu", {"alpha": 2.0}, lambda a: np.where(a > 0, a, 2 * (np.exp(np.minimum(a, 0)) - 1))),
        ("softplus", {"beta": 3.0}, lambda a: np.logaddexp(0, 3 * a) / 3),
        ("sine", {"omega": 30.0}, lambda a: np.sin(30 * a)),
    ],
)
def test_hyperparameters(name, params, phi):
    plugin = REG.build("activation", name, params)
    np.testing.assert_allclose(conformance.value(plugin, A), phi(A), rtol=1e-12, atol=1e-15)
    for check in conformance.CHECKS:
        check(plugin)


class TestTeeth:
    """Each check fails for an activation that breaks what it is about."""

    def wrong(self, check, **methods):
        @dataclass(frozen=True)
        class Wrong(Activation):
            def forward(self, a, out):
                np.tanh(a, out)

            def backward(self, a, h, grad, work):
                grad *= 1 - h * h

        for check_ in conformance.CHECKS:
            check_(Wrong())
        broken = type("Broken", (Wrong,), methods)()
        with pytest.raises(ConformanceError):
            check(broken)

    @pytest.mark.parametrize("factor", [1.001, -1.0, 0.0, 1 + 1e-9])
    def test_derivative(self, factor):
        def backward(self, a, h, grad, work):
            grad *= factor * (1 - h * h)

        self.wrong(conformance.check_derivative, backward=backward)

    def test_derivative_by_differences(self):
        def backward(self, a, h, grad, work):
            grad *= 1.00001 * (1 - h * h)

        self.wrong(conformance.check_derivative, backward=backward, complex_step=False)

    def test_multiplies(self):
        def backward(self, a, h, grad, work):
            grad[...] = 1 - h * h

        self.wrong(conformance.check_multiplies, backward=backward)

    def test_inputs(self):
        def backward(self, a, h, grad, work):
            h *= h
            grad *= 1 - h

        self.wrong(conformance.check_inputs, backward=backward)

    def test_kinks_that_are_none(self):
        self.wrong(conformance.check_kinks, kinks=(0.0,))

    def test_kinks_not_declared(self):
        def forward(self, a, out):
            out[...] = a * (np.real(a) > 0.5)

        def backward(self, a, h, grad, work):
            grad *= a > 0.5

        self.wrong(conformance.check_kinks, forward=forward, backward=backward)

    def test_no_subgradient(self):
        def forward(self, a, out):
            out[...] = a * (np.real(a) > 0)

        def backward(self, a, h, grad, work):
            grad *= np.where(a == 0, 1.5, a > 0)

        self.wrong(conformance.check_kinks, forward=forward, backward=backward, kinks=(0.0,))

    def test_dtypes(self):
        def forward(self, a, out):
            out[...] = np.tanh(a) + (1e-4 if a.dtype == np.float32 else 0)

        self.wrong(conformance.check_dtypes, forward=forward)

    def test_large(self):
        def forward(self, a, out):
            with np.errstate(over="ignore", invalid="ignore"):
                out[...] = (np.exp(a) - np.exp(-a)) / (np.exp(a) + np.exp(-a))

        self.wrong(conformance.check_large, forward=forward)

    def test_nan(self):
        def forward(self, a, out):
            out[...] = np.tanh(np.nan_to_num(a))

        self.wrong(conformance.check_nan, forward=forward)

    def test_layout(self):
        def backward(self, a, h, grad, work):
            grad *= 1 - h * h
            grad /= 1 + 1e-14 * a.shape[0]

        self.wrong(conformance.check_layout, backward=backward)
