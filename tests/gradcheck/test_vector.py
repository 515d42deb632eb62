"""Functions with several outputs: products with vectors, and Jacobians."""

import numpy as np
import pytest
from backproof import check_jacobian, check_jvp, check_vjp

A = np.random.default_rng(0).normal(size=(3, 4))
x = np.random.default_rng(1).normal(size=4)


def linear_of_sine(x):
    return A @ np.sin(x)


class TestVjp:
    def test_one_input(self):
        assert check_vjp(linear_of_sine, lambda dout, x: np.cos(x) * (A.T @ dout), x)
        report = check_vjp(linear_of_sine, lambda dout, x: -np.cos(x) * (A.T @ dout), x)
        assert report.failed
        assert "x" in report.failure_message()

    def test_several_inputs_and_outputs_by_name(self):
        def f(x, w):
            return x @ w, np.sum(x**2)

        def vjp(dout, x, w):
            dy, ds = dout
            return dy @ w.T + 2 * ds * x, x.T @ dy

        rng = np.random.default_rng(2)
        inputs = rng.normal(size=(2, 3)), rng.normal(size=(3, 4))
        assert check_vjp(f, vjp, *inputs)
        report = check_vjp(f, lambda dout, x, w: (dout[0] @ w.T, x.T @ dout[0]), *inputs, names=["images", "w"])
        wrong = {
            result.tensor
            for section in report.sections
            for result in section.results
            if result.status == "failed"
        }
        assert wrong == {"images"}

    def test_a_gradient_that_ignores_dout_is_found(self):
        """With dout = 1 it would be right."""
        assert check_vjp(np.tanh, lambda dout, x: 1 - np.tanh(x) ** 2, x).failed

    def test_integer_inputs_are_passed_on(self):
        table, words = np.random.default_rng(3).normal(size=(5, 2)), np.array([0, 3, 3])

        def vjp(dout, table, words):
            grad = np.zeros_like(table)
            np.add.at(grad, words, dout)
            return grad, None

        assert check_vjp(lambda table, words: table[words], vjp, table, words)

        def overwrites(dout, table, words):
            grad = np.zeros_like(table)
            grad[words] = dout
            return grad

        assert check_vjp(lambda table, words: table[words], overwrites, table, words).failed

    def test_what_has_another_form_is_named(self):
        with pytest.raises(ValueError, match="backward must return dx, got a tuple of 2"):
            check_vjp(np.sin, lambda dout, x: (dout, dout), x, names=["x"])
        with pytest.raises(ValueError, match="no input holds floating-point numbers"):
            check_vjp(lambda i: i, lambda dout, i: None, np.array([1, 2]))
        with pytest.raises(ValueError, match="names must name 1 inputs, got 2"):
            check_vjp(np.sin, lambda dout, x: dout, x, names=["x", "y"])


class TestJvp:
    def test_one_input(self):
        assert check_jvp(linear_of_sine, lambda dx, x: A @ (np.cos(x) * dx), x)
        assert check_jvp(linear_of_sine, lambda dx, x: A @ (np.sin(x) * dx), x).failed

    def test_two_inputs(self):
        inputs = np.array([1.0, -2.0]), np.array([0.5, 3.0])
        assert check_jvp(lambda a, b: a * b, lambda t, a, b: t[0] * b + a * t[1], *inputs)
        report = check_jvp(lambda a, b: a * b, lambda t, a, b: t[0] * b, *inputs)
        statuses = {result.tensor: result.status for result in report.sections[0].results}
        assert statuses == {"a": "passed", "b": "failed"}


class TestArgumentOrder:
    """The vector comes first."""

    def test_where_shapes_tell_it_is_an_error(self):
        with pytest.raises(
            TypeError, match=r"the vector comes first, vjp\(dout, \*inputs\); this one takes it last"
        ):
            check_vjp(linear_of_sine, lambda x, dout: np.cos(x) * (A.T @ dout), x)
        M = np.random.default_rng(5).normal(size=(4, 2))
        with pytest.raises(TypeError, match=r"the vector comes first, jvp\(tangents, \*inputs\)"):
            check_jvp(np.matmul, lambda a, b, d: d[0] @ b + a @ d[1], A, M, names=["a", "b"])

    @pytest.mark.parametrize("checker", [check_vjp, check_jvp])
    def test_where_only_the_numbers_tell_it_is_a_finding(self, checker):
        report = checker(np.tanh, lambda x, vector: vector * (1 - np.tanh(x) ** 2), x)
        assert report.failed
        assert "this one takes it last" in report.findings[0]
        assert "this one takes it last" in str(report)
        assert report.to_dict()["findings"] == list(report.findings)

    @pytest.mark.parametrize("checker", [check_vjp, check_jvp])
    def test_another_mistake_has_no_such_finding(self, checker):
        assert checker(np.tanh, lambda vector, x: vector * (1 - np.tanh(x)), x).findings == ()
        with pytest.raises(ZeroDivisionError):
            checker(np.tanh, lambda vector, x: 1 / 0, x)


class TestJacobian:
    def test_a_function_and_a_matrix(self):
        assert check_jacobian(linear_of_sine, lambda x: A * np.cos(x), x)
        assert check_jacobian(linear_of_sine, A * np.cos(x), x)

    def test_the_wrong_row_is_named(self):
        J = A * np.cos(x)
        J[1, 2] *= 1.001
        report = check_jacobian(linear_of_sine, J, x)
        wrong = [result for result in report.sections[0].results if result.status == "failed"]
        assert [result.tensor for result in wrong] == ["J[1]"]
        assert wrong[0].worst.index == (2,)

    def test_transposed_is_found(self):
        M = np.random.default_rng(3).normal(size=(4, 4))
        assert check_jacobian(lambda x: M @ x, M, x)
        assert check_jacobian(lambda x: M @ x, M.T, x).failed

    def test_many_outputs_by_sums_of_rows(self):
        M = np.random.default_rng(3).normal(size=(300, 4))
        assert check_jacobian(lambda x: M @ x, M, x)
        wrong = M.copy()
        wrong[217, 1] += 0.1
        assert check_jacobian(lambda x: M @ x, wrong, x).failed

    def test_matrices_in_and_out(self):
        X = np.random.default_rng(4).normal(size=(2, 3))
        J = np.einsum("ik,jl->ijkl", np.eye(2), np.eye(3)) * 2
        assert check_jacobian(lambda X: 2 * X, J, X)

    def test_a_wrong_shape_is_named(self):
        with pytest.raises(ValueError, match="3 × 4 numbers, got shape \\(3,\\)"):
            check_jacobian(linear_of_sine, np.ones(3), x)

    def test_a_transposed_shape_is_refused(self):
        M = np.random.default_rng(3).normal(size=(6, 4))
        with pytest.raises(ValueError, match=r"6 × 4 numbers, got shape \(4, 6\), expected \(6, 4\)"):
            check_jacobian(lambda x: M @ x, M.T, x)
