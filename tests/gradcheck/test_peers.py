"""The tests that other libraries have of their gradient checkers, translated: what they accept, what they reject.

Each test names its model. docs/gradient-check.md has the table, and what does not apply here.
"""

import numpy as np
import pytest
from backproof import check, check_hessian, check_jacobian, check_jvp, check_vjp
from scipy.special import expit, logsumexp

x = np.random.default_rng(0).normal(size=(2, 3))


class TestTorch:
    """test/test_autograd.py"""

    def test_single_input(self):
        """test_gradcheck_single_input"""
        assert check_vjp(lambda x: 5 * x, lambda dout, x: 5 * dout, x)

    def test_nondeterministic(self):
        """test_gradcheck_nondeterministic: a backward pass that jitters."""
        rng = np.random.default_rng(0)

        def jittered(jitter):
            return lambda dout, x: dout * (1 + rng.random(x.shape) * jitter)

        assert check_vjp(lambda x: 1 * x, jittered(0.0), x)
        assert check_vjp(lambda x: 1 * x, jittered(1e-6), x).failed
        assert check_vjp(lambda x: 1 * x, jittered(1e-6), x, nondet_tol=1e-5, tolerance=1e-5)
        assert check_vjp(lambda x: 1 * x, jittered(1e-3), x, nondet_tol=1e-5, tolerance=1e-5).failed

    def test_shape_depends_on_values(self):
        """test_gradcheck_output_shape_or_dtype_depend_on_values"""

        def f(x):
            return np.concatenate([x, x]) if (np.real(x) >= 1).all() else x

        with pytest.raises(ValueError, match="same shapes wherever f is evaluated"):
            check_vjp(f, lambda dout, x: dout.reshape(-1, len(x)).sum(axis=0), np.ones(1))

    def test_dtype_depends_on_values(self):
        """test_gradcheck_output_shape_or_dtype_depend_on_values"""

        def f(x):
            return x if (np.real(x) >= 1).all() else np.real(x).astype(np.float32)

        with pytest.raises(ValueError, match="same dtype wherever f is evaluated"):
            check_vjp(f, lambda dout, x: dout, np.ones(1), oracle="central_differences")

    def test_no_differentiable_output(self):
        """test_gradcheck_check_no_differentiable_outputs: the gradient is claimed to be zero."""
        assert check_vjp(lambda x: np.array([x.sum()]), lambda dout, x: np.zeros_like(x), x).failed

    @pytest.mark.parametrize("wrong", ["first", "second"])
    def test_jacobian_mismatch(self, wrong):
        """test_gradcheck_jacobian_mismatch: 1e-2 is added to one gradient."""

        def vjp(dout, a, b):
            return dout * 2 * a * b + 1e-2 * (wrong == "first"), dout * a**2 + 1e-2 * (wrong == "second")

        report = check_vjp(lambda a, b: a**2 * b, vjp, x, x + 2)
        tensors = {result.tensor for _, result in report.failures}
        assert tensors == {"a" if wrong == "first" else "b"}

    def test_backward_must_multiply_by_grad_output(self):
        """test_gradcheck_backward_mul_by_grad_output"""
        assert check_vjp(lambda x: x**3, lambda dout, x: 3 * x**2, x).failed

    def test_numerical_jacobian(self):
        """test_gradcheck_get_numerical_jacobian: (2x + y, x + 2y)"""
        first, second = np.eye(4) * 2, np.eye(4)
        inputs = x.ravel()[:4]

        def f(inputs):
            a, b = inputs[:2], inputs[2:]
            return np.concatenate([2 * a + b, a + 2 * b])

        J = np.block([[first[:2, :2], second[:2, :2]], [second[:2, :2], first[:2, :2]]])
        assert check_jacobian(f, J, inputs)
        assert check_jacobian(f, J + 1e-6, inputs).failed

    @pytest.mark.parametrize("factor", [1.0, 1.1])
    def test_forward_mode(self, factor):
        """test_gradcheck_forward_ad: the tangent of the second input is 1.1 times the right one."""
        report = check_jvp(lambda a, b: a * b, lambda t, a, b: t[0] * b + factor * a * t[1], x, x + 2)
        assert report.passed == (factor == 1.0)

    def test_overlapping_memory(self):
        """test_gradcheck_dense_and_sparse_inputs, and `expand`: an input whose entries share their memory. Here f
        gets copies, and the gradient by each entry can be checked."""
        shared = np.broadcast_to(np.array([1.5]), (3,))
        assert check_vjp(lambda v: v**2, lambda dout, v: 2 * v * dout, shared)

    def test_float32_input(self):
        """test_gradcheck_validates_inputs warns of it; here f gets float64."""
        assert check_vjp(lambda x: x**2, lambda dout, x: 2 * x * dout, x.astype(np.float32))

    def test_second_order(self):
        """test_gradgradcheck: x³ by its gradient's derivative."""
        theta = np.array([0.5, -2.0])
        assert check_hessian(lambda t: (np.sum(t**3), 3 * t**2), theta, hessian=lambda t: np.diag(6 * t))
        assert check_hessian(lambda t: (np.sum(t**3), 3 * t**2), theta, hessian=lambda t: np.diag(3 * t)).failed


class TestJax:
    """jax.test_util.check_grads, as tests/api_test.py, lax_control_flow_test.py and nn_test.py call it."""

    @pytest.mark.parametrize("at", [2.14, 1.72])
    def test_branches(self, at):
        """testCondGrad"""

        def f(x):
            return (np.sin(x), np.cos(x)) if np.real(x) >= 2 else (3 * x, 3.0)

        assert check(f, at)
        assert check(lambda x: (f(x)[0], 1.02 * f(x)[1]), at).failed

    def test_a_guarded_square_root(self):
        """The double `where` of the FAQ: its gradient at 0 is 0."""

        def f(t):
            safe = np.where(np.real(t) > 0, t, 1.0)
            return np.sum(np.where(np.real(t) > 0, np.sqrt(safe), 0)), np.where(
                np.real(t) > 0, 0.5 / np.sqrt(safe), 0
            )

        assert check(f, np.array([4.0, -1.0, 0.3]))

    def test_a_tie_of_a_maximum_is_split(self):
        """testMaxGrad: each of two largest gets one half."""

        def f(t):
            top = np.real(t) == np.real(t).max()
            return np.real(t).max(), top / top.sum()

        assert check(f, np.array([1.0, 3.0, 3.0]))

    @pytest.mark.parametrize(
        ("f", "df"),
        [
            (lambda t: np.maximum(np.real(t), 0), lambda t: (np.real(t) > 0) * 1.0),
            (lambda t: np.abs(np.real(t)), lambda t: np.sign(np.real(t))),
            (lambda t: t * np.sin(t), lambda t: np.sin(t) + t * np.cos(t)),
            (expit, lambda t: expit(t) * (1 - expit(t))),
        ],
        ids=["relu", "abs", "x sin x", "expit"],
    )
    def test_at_zero(self, f, df):
        """testReluGrad and others, also where the slope is zero or a kink."""
        theta = np.array([0.0, 0.7, -1.2])
        assert check(lambda t: (np.sum(f(t)), df(t)), theta)
        assert check(lambda t: (np.sum(f(t)), df(t) + 0.5 * (np.real(t) == 0.7)), theta).failed

    def test_log_sum_exp_of_infinities_elsewhere(self):
        """testLogSumExp"""

        def f(t):
            return logsumexp(t), np.exp(t - logsumexp(t))

        assert check(f, np.array([800.0, 799.0, 2.0]))

    def test_a_custom_rule_that_is_wrong(self):
        """testCustomJvp with another factor."""
        assert check_jvp(np.sin, lambda dx, x: np.cos(x) * dx, x)
        assert check_jvp(np.sin, lambda dx, x: 2 * np.cos(x) * dx, x).failed

    def test_sort_and_cumulative_sum(self):
        """testSortGrad, testCumSumGrad"""

        def vjp_of_sort(dout, t):
            back = np.empty_like(dout)
            back[np.argsort(np.real(t))] = dout
            return back

        t = np.array([3.0, -1.0, 2.0])
        assert check_vjp(np.sort, vjp_of_sort, t)
        assert check_vjp(np.cumsum, lambda dout, t: np.cumsum(dout[::-1])[::-1], t)
        assert check_vjp(np.cumsum, lambda dout, t: np.cumsum(dout), t).failed

    def test_second_order(self):
        """check_grads(f, (x,), order=2)"""
        assert check_hessian(lambda t: (np.sum(np.sin(t)), np.cos(t)), np.array([0.3, 2.0]))
        assert check_hessian(lambda t: (np.sum(np.sin(t)), np.cos(t) + 0.1 * t), np.array([0.3, 2.0])).failed


class TestOthers:
    def test_logit_of_scipy(self):
        """scipy/optimize/tests/test_optimize.py: test_check_grad"""

        def logistic(t):
            return 1 / (1 + np.exp(-t))

        def derivative(t):
            return np.exp(-t) / (1 + np.exp(-t)) ** 2

        assert check(lambda t: np.sum(logistic(t)), np.array([1.5]), grad=derivative)
        assert check(
            lambda t: np.sum(logistic(t)), np.array([1.5]), grad=lambda t: 1.0001 * derivative(t)
        ).failed

    def test_himmelblau(self):
        """pyadjoint, numdifftools and scipy: gradient, and Hessian at a minimum."""

        def f(t):
            a, b = t[0] ** 2 + t[1] - 11, t[0] + t[1] ** 2 - 7
            return a**2 + b**2, np.array([4 * t[0] * a + 2 * b, 2 * a + 4 * t[1] * b])

        def hessian(t):
            a, b = t[0] ** 2 + t[1] - 11, t[0] + t[1] ** 2 - 7
            mixed = 4 * t[0] + 4 * t[1]
            return np.array([[4 * a + 8 * t[0] ** 2 + 2, mixed], [mixed, 4 * b + 8 * t[1] ** 2 + 2]])

        for theta in (np.array([3.0, 2.0]), np.array([-1.0, 0.5])):
            assert check_hessian(f, theta, hessian=hessian)
        assert check(f, np.array([-1.0, 0.5]))
        assert check_jacobian(lambda t: f(t)[1], hessian, np.array([-1.0, 0.5]))

    def test_two_arguments(self):
        """autograd/test_util.py: argnum"""

        def f(a, b):
            return a @ b

        rng = np.random.default_rng(1)
        inputs = rng.normal(size=(2, 3)), rng.normal(size=(3, 2))
        right = {"a": lambda dout, a, b: dout @ b.T, "b": lambda dout, a, b: a.T @ dout}
        for wrong in (None, "a", "b"):

            def vjp(dout, a, b, wrong=wrong):
                return tuple(rule(dout, a, b) * (1 + 1e-3 * (name == wrong)) for name, rule in right.items())

            assert check_vjp(f, vjp, *inputs).passed == (wrong is None)

    def test_a_gradient_in_half_precision(self):
        """numdifftools and chex compare with a tolerance; here it is that of the dtype."""
        theta = np.array([1.0, -2.0, 0.5])
        assert check(lambda t: (np.sum(t**2), (2 * np.real(t)).astype(np.float16)), theta)
        assert check(lambda t: (np.sum(t**2), (2.1 * np.real(t)).astype(np.float16)), theta).failed

    @pytest.mark.parametrize(("a", "b"), [(1, 2), (1, 3), (2, 3)])
    def test_taylor_of_pyadjoint(self, a, b):
        """A wrong gradient has remainders of order 1, a right one of order 2."""
        theta = np.array([0.3, 1.1])
        right = check(lambda t: (np.sum(np.sin(a * t) * b), a * b * np.cos(a * t)), theta)
        wrong = check(lambda t: (np.sum(np.sin(a * t) * b), b * np.cos(a * t) * 1.3), theta)
        assert right.sections[0].taylor.order == pytest.approx(2, abs=0.3)
        assert wrong.sections[0].taylor.order == pytest.approx(1, abs=0.3)
