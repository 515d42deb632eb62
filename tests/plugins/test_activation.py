"""Activations against SciPy and closed forms, and wrong ones that the conformance checks must find."""

from dataclasses import dataclass

import hypothesis.strategies as st
import numpy as np
import pytest
from backproof.conformance import activation as conformance
from backproof.contracts import Activation
from backproof.contracts.errors import ConformanceError
from backproof.discovery.registry import registry
from hypothesis import given
from scipy import special

REG = registry()
A = np.concatenate([np.linspace(-8, 8, 321), [-300.0, -40.0, 40.0, 300.0]])
ALPHA, SCALE = 1.6732632423543772, 1.0507009873554805


def softplus(a):
    return np.logaddexp(0, a)


def normal_density(a):
    return np.exp(-(a**2) / 2) / np.sqrt(2 * np.pi)


def u(a):
    return np.sqrt(2 / np.pi) * (a + 0.044715 * a**3)


# name -> φ and φ', written directly from the papers' formulas.
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


def test_every_activation_has_a_closed_form():
    assert set(CLOSED) == {
        e.name for e in REG.entries("activation") if "backproof_plugin" not in e.cls.__module__
    }


@pytest.mark.parametrize("name", CLOSED)
def test_values_and_slopes(name):
    phi, dphi = CLOSED[name]
    plugin = REG.build("activation", name)
    np.testing.assert_allclose(conformance.value(plugin, A), phi(A), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(conformance.slope(plugin, A), dphi(A), rtol=1e-12, atol=3e-15)


# φ and φ' for hyperparameters other than the defaults.
OTHERS = {
    ("leaky_relu", 0.0): (lambda a: np.maximum(a, 0), lambda a: (a > 0) * 1.0),
    ("leaky_relu", 0.2): (lambda a: np.where(a > 0, a, 0.2 * a), lambda a: np.where(a > 0, 1, 0.2)),
    ("elu", 0.5): (
        lambda a: np.where(a > 0, a, 0.5 * np.expm1(np.minimum(a, 0))),
        lambda a: np.where(a > 0, 1, 0.5 * np.exp(np.minimum(a, 0))),
    ),
    ("elu", 2.0): (
        lambda a: np.where(a > 0, a, 2 * np.expm1(np.minimum(a, 0))),
        lambda a: np.where(a > 0, 1, 2 * np.exp(np.minimum(a, 0))),
    ),
    ("softplus", 0.1): (lambda a: np.logaddexp(0, 0.1 * a) / 0.1, lambda a: special.expit(0.1 * a)),
    ("softplus", 3.0): (lambda a: np.logaddexp(0, 3 * a) / 3, lambda a: special.expit(3 * a)),
    ("sine", 30.0): (lambda a: np.sin(30 * a), lambda a: 30 * np.cos(30 * a)),
}
HYPER = {"leaky_relu": "slope", "elu": "alpha", "softplus": "beta", "sine": "omega"}


@pytest.mark.parametrize(("name", "number"), OTHERS)
def test_hyperparameters(name, number):
    phi, dphi = OTHERS[name, number]
    plugin = REG.build("activation", name, {HYPER[name]: number})
    np.testing.assert_allclose(conformance.value(plugin, A), phi(A), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(conformance.slope(plugin, A), dphi(A), rtol=1e-12, atol=3e-15)
    for check in conformance.CHECKS:
        check(plugin)


@pytest.mark.parametrize("name", REG.names("activation"))
def test_complex_values_agree_at_large_numbers(name):
    """Up to 1e4 the complex form agrees with the real one, and its slope with that of `backward`."""
    plugin = REG.build("activation", name)
    if not plugin.complex_step:
        pytest.skip("has no complex form, and is checked by differences")
    a = np.concatenate([-np.logspace(4, 0.5, 200), np.logspace(0.5, 4, 200)])
    whole = conformance.value(plugin, a + 1e-30j)
    np.testing.assert_allclose(whole.real, conformance.value(plugin, a), rtol=1e-13, atol=2e-14)
    np.testing.assert_allclose(whole.imag / 1e-30, conformance.slope(plugin, a), rtol=1e-12, atol=2e-14)


@given(st.floats())
def test_relu_is_exact(number):
    a = np.array([number])
    expected = number if number > 0 else number * 0 if np.isnan(number) else 0
    np.testing.assert_array_equal(conformance.value(REG.build("activation", "relu"), a), expected)


def test_relu_slope_at_zero_is_that_of_the_homework():
    relu = REG.build("activation", "relu")
    assert relu.kinks == (0.0,)
    a = np.array([-1.0, -0.0, 0.0, 5e-324, 1.0])
    assert conformance.slope(relu, a).tolist() == [0, 0, 0, 1, 1]


def test_softplus_agrees_with_logaddexp_around_its_cutoff():
    a = np.linspace(60, 100, 4001)
    for dtype, rtol in ((np.float32, 2e-7), (np.float64, 3e-16)):
        got = conformance.value(REG.build("activation", "softplus"), a.astype(dtype))
        np.testing.assert_allclose(got, np.logaddexp(0, a), rtol=rtol)


@given(st.floats(0.01, 1), st.floats(-50, 50))
def test_elu_without_a_mask_is_elu(alpha, number):
    """At α ≤ 1 it is max(a, α (exp(a) − 1)), with the second term only below zero."""
    got = conformance.value(REG.build("activation", "elu", {"alpha": alpha}), np.array([number]))
    expected = number if number > 0 else alpha * np.expm1(number)
    np.testing.assert_allclose(got, expected, rtol=5e-16, atol=0)


@dataclass(frozen=True)
class Correct(Activation):
    """A tanh that passes every check, to plant errors in."""

    def forward(self, a, out):
        np.tanh(a, out)

    def backward(self, a, h, grad, work):
        grad *= 1 - h * h


class CorrectReLU(Correct):
    """A ReLU that passes every check."""

    kinks = (0.0,)

    def forward(self, a, out):
        out[...] = a * (np.real(a) > 0)

    def backward(self, a, h, grad, work):
        grad *= a > 0


def failed_checks(plugin):
    """Return the names of the checks that the plugin fails."""
    names = set()
    for check in conformance.CHECKS:
        try:
            check(plugin)
        except ConformanceError:
            names.add(check.__name__)
    return names


class TestPlantedErrors:
    """An activation with one error fails exactly the check for that error."""

    def wrong(self, check, base=Correct, **methods):
        assert failed_checks(base()) == set()
        assert failed_checks(type("Wrong", (base,), methods)()) == {check}

    @pytest.mark.parametrize("factor", [1.001, -1.0, 0.0, 1 + 1e-9])
    def test_derivative(self, factor):
        def backward(self, a, h, grad, work):
            grad *= factor * (1 - h * h)

        self.wrong("check_derivative", backward=backward)

    def test_derivative_by_differences(self):
        def backward(self, a, h, grad, work):
            grad *= 1.00001 * (1 - h * h)

        self.wrong("check_derivative", type("Real", (Correct,), {"complex_step": False}), backward=backward)

    def test_derivative_next_to_a_kink(self):
        def backward(self, a, h, grad, work):
            grad *= np.where(np.abs(a - 1e-6) < 1e-8, 0.5, a > 0)

        self.wrong("check_derivative", CorrectReLU, backward=backward)

    def test_derivative_of_large_numbers(self):
        def backward(self, a, h, grad, work):
            grad *= np.where(np.abs(a) > 5000, 0.5, 1 - h * h)

        self.wrong("check_derivative", backward=backward)

    def test_derivative_of_a_small_activation(self):
        """An error is judged by the size of the activation's slopes, not by 1."""

        def forward(self, a, out):
            out[...] = 1e-9 * np.tanh(a)

        def backward(self, a, h, grad, work):
            grad *= 1e-9 * (1 - np.tanh(a) ** 2)

        def twice(self, a, h, grad, work):
            grad *= 2e-9 * (1 - np.tanh(a) ** 2)

        small = type("Small", (Correct,), {"forward": forward, "backward": backward})
        self.wrong("check_derivative", small, backward=twice)

    def test_multiplies(self):
        def backward(self, a, h, grad, work):
            grad[...] = 1 - h * h

        self.wrong("check_multiplies", backward=backward)

    def test_multiplies_nan(self):
        def backward(self, a, h, grad, work):
            np.copyto(grad, 0, where=a <= 0)

        self.wrong("check_multiplies", CorrectReLU, backward=backward)

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_inputs_of_backward(self, dtype):
        def backward(self, a, h, grad, work):
            grad *= 1 - h * h
            if a.dtype == dtype:
                np.multiply(a, a, a)

        self.wrong("check_inputs", backward=backward)

    def test_inputs_h(self):
        def backward(self, a, h, grad, work):
            h *= h
            grad *= 1 - h

        self.wrong("check_inputs", backward=backward)

    @pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
    def test_inputs_of_forward(self, dtype):
        def forward(self, a, out):
            np.tanh(a, out)
            if a.dtype == dtype:
                a[...] = 0

        self.wrong("check_inputs", forward=forward)

    def test_declared_kink_that_does_not_exist(self):
        self.wrong("check_kinks", kinks=(0.0,))

    def test_kinks_not_declared(self):
        def forward(self, a, out):
            out[...] = (a - 0.5) * (np.real(a) > 0.5)

        def backward(self, a, h, grad, work):
            grad *= a > 0.5

        sound = type("Shifted", (Correct,), {"forward": forward, "backward": backward, "kinks": (0.5,)})
        self.wrong("check_kinks", sound, kinks=())
        self.wrong("check_kinks", sound, kinks=(0.5, 2.0))

    def test_not_a_subgradient(self):
        def forward(self, a, out):
            out[...] = np.where(np.real(a) == 0, 1.5, np.real(a) > 0) * a

        def backward(self, a, h, grad, work):
            grad *= np.where(a == 0, 1.5, a > 0)

        self.wrong("check_kinks", CorrectReLU, forward=forward, backward=backward)

    def test_another_branch_at_the_kink(self):
        def backward(self, a, h, grad, work):
            grad *= a >= 0

        self.wrong("check_kinks", CorrectReLU, backward=backward)

    def test_discontinuous(self):
        def forward(self, a, out):
            out[...] = np.tanh(a) + 0.5 * (np.real(a) > 0.7)

        def backward(self, a, h, grad, work):
            grad *= 1 - np.tanh(a) ** 2

        self.wrong("check_kinks", forward=forward, backward=backward)

    @pytest.mark.parametrize("dtype", [np.float32, np.complex128])
    def test_dtypes(self, dtype):
        def forward(self, a, out):
            np.tanh(a, out)
            if a.dtype == dtype:
                out += 1e-4

        self.wrong("check_dtypes", forward=forward)

    def test_dtypes_of_the_slope(self):
        def backward(self, a, h, grad, work):
            grad *= 1 - h * h
            if a.dtype == np.float32:
                grad *= np.float32(1.0001)

        self.wrong("check_dtypes", backward=backward)

    def test_dtypes_filled(self):
        """A value that is not written keeps what was in `out`."""

        def forward(self, a, out):
            if a.dtype != np.float32 or len(a) < 100:
                np.tanh(a, out)
            else:
                np.tanh(a[1:], out[1:])

        def backward(self, a, h, grad, work):
            grad *= 1 - np.tanh(a) ** 2

        self.wrong("check_dtypes", forward=forward, backward=backward)

    def test_large(self):
        def forward(self, a, out):
            with np.errstate(over="ignore", invalid="ignore"):
                out[...] = (np.exp(a) - np.exp(-a)) / (np.exp(a) + np.exp(-a))

        def backward(self, a, h, grad, work):
            grad *= np.cosh(np.clip(a, -80, 80)) ** -2

        self.wrong("check_large", forward=forward, backward=backward)

    def test_exponential_growth_is_allowed(self):
        def forward(self, a, out):
            np.exp(a, out)

        def backward(self, a, h, grad, work):
            grad *= h

        assert (
            failed_checks(type("Exponential", (Correct,), {"forward": forward, "backward": backward})())
            == set()
        )

    def test_nan(self):
        def forward(self, a, out):
            out[...] = np.tanh(np.nan_to_num(a))

        self.wrong("check_nan", forward=forward)

    def test_layout(self):
        def backward(self, a, h, grad, work):
            grad *= 1 - h * h
            if a.ndim == 3:
                grad /= 1 + 1e-15 * a.shape[0]

        self.wrong("check_layout", backward=backward)

    def test_layout_with_gaps(self):
        def forward(self, a, out):
            np.tanh(a, out)
            if not out.flags.c_contiguous:
                out *= 1 + 1e-15

        self.wrong("check_layout", forward=forward)

    def test_layout_writes_outside_out(self):
        """Memory next to `out` must not be written."""

        def forward(self, a, out):
            np.tanh(a, out)
            if out.base is not None:
                out.base[...] = np.where(out.base == 1, 2, out.base)

        self.wrong("check_layout", forward=forward)
