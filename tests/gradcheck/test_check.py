"""The gradient checker on functions with known gradients, right ones and planted errors."""

import dataclasses
import json
import math

import numpy as np
import pytest
from backproof import check
from backproof.gradcheck import (
    CheckOptions,
    GradcheckReport,
    Part,
    check_parts,
    taylor_test,
)
from backproof.gradcheck.differences import differences
from backproof.gradcheck.directions import MOST_ROWS, Axes, Concatenated, Dense
from backproof.gradcheck.oracles import central_differences, complex_step
from backproof.gradcheck.precision import compare_dtypes
from hypothesis import given
from hypothesis import strategies as st

from tests.helpers.fuzz import examples


def rosenbrock(theta):
    """The function and its gradient, by hand."""
    x, y = theta[:-1], theta[1:]
    value = np.sum(100 * (y - x**2) ** 2 + (1 - x) ** 2)
    grad = np.zeros_like(theta)
    grad[:-1] = -400 * x * (y - x**2) - 2 * (1 - x)
    grad[1:] += 200 * (y - x**2)
    return value, grad


def quartics(theta):
    """(S,) values of Σ c θ^4 and of a bilinear term, for theta (S, P)."""
    c = np.arange(1, theta.shape[-1] + 1)
    return (c * theta**4).sum(-1) + theta[..., 0] * theta[..., -1]


def quartics_grad(theta):
    c = np.arange(1, len(theta) + 1)
    grad = 4 * c * theta**3
    grad[0] += theta[-1]
    grad[-1] += theta[0]
    return grad


def whole(P):
    return {"theta": np.arange(P)}


THETA = np.random.default_rng(3).standard_normal(12)


class TestOracles:
    @pytest.mark.parametrize(("oracle", "tolerance"), [(complex_step, 1e-14), (central_differences, 1e-8)])
    def test_agrees_with_the_closed_form(self, oracle, tolerance):
        slopes, _ = oracle(quartics, THETA, Axes(np.arange(12)))
        np.testing.assert_allclose(slopes, quartics_grad(THETA), rtol=tolerance, atol=tolerance)

    @pytest.mark.parametrize("count", [1, 31, 32, 33, 65, 200])
    def test_any_number_of_directions_in_ranges_of_32(self, count):
        v = np.random.default_rng(0).standard_normal((count, 12))
        sizes = []

        def counted(theta):
            sizes.append(len(theta))
            return quartics(theta)

        slopes, _ = complex_step(counted, THETA, Dense(np.arange(12), v))
        np.testing.assert_allclose(slopes, v @ quartics_grad(THETA), rtol=1e-12)
        assert len(set(sizes)) == 1, "a value function keeps its memory"
        assert max(sizes) <= MOST_ROWS
        assert sum(sizes) - count < len(sizes), "little is done twice"

    @pytest.mark.slow
    @given(st.lists(st.tuples(st.booleans(), st.integers(0, 50)), max_size=5))
    @examples(40)
    def test_directions_together_are_those_one_after_the_other(self, given):
        rng = np.random.default_rng(0)
        index = np.array([2, 5, 7])
        parts = [
            Dense(index, rng.standard_normal((n, 3))) if dense else Axes(rng.integers(0, 12, n))
            for dense, n in given
        ]
        together = Concatenated(parts)
        for oracle in (complex_step, central_differences):
            derivatives, errors = oracle(quartics, THETA, together)
            for part, rows in zip(parts, together.rows, strict=True):
                slopes, own_errors = oracle(quartics, THETA, part)
                np.testing.assert_array_equal(derivatives[rows], slopes)
                np.testing.assert_array_equal(errors[rows], own_errors)

    def test_differences_bound_their_own_error(self):
        slopes, errors = central_differences(quartics, THETA, Axes(np.arange(12)))
        assert np.all(np.abs(slopes - quartics_grad(THETA)) <= errors)
        assert errors.max() < 1e-8 * np.abs(slopes).max()

    @pytest.mark.parametrize("spread", [(-6, 6), (-1, 1)])
    @pytest.mark.parametrize("shape", ["tanh", "exp", "log-sum-exp", "quartic", "some zero"])
    def test_differences_find_a_step_for_each_coordinate(self, spread, shape):
        """Coordinates of 1e-6 beside those of 1e6: one step for all of them fits none."""
        rng = np.random.default_rng(1)
        s, x = 10.0 ** rng.uniform(*spread, 60), rng.standard_normal(60)
        if shape == "some zero":
            x[::3] = 0
        f, slope = {
            "tanh": (lambda u: np.tanh(u).sum(-1), lambda u: 1 - np.tanh(u) ** 2),
            "exp": (lambda u: np.exp(u).sum(-1), np.exp),
            "log-sum-exp": (lambda u: np.log(np.exp(u).sum(-1)), lambda u: np.exp(u) / np.exp(u).sum()),
            "quartic": (lambda u: (u**4).sum(-1), lambda u: 4 * u**3),
            "some zero": (lambda u: np.sin(u + 1).sum(-1), lambda u: np.cos(u + 1)),
        }[shape]
        slopes, errors = central_differences(lambda t: f(t / s), x * s, Axes(np.arange(60)))
        off, right = np.abs(slopes - slope(x) / s), np.abs(slope(x) / s)
        assert np.all(off <= 2 * errors)
        assert np.median(errors / right) < 1e-9
        assert np.max(errors * s) < 1e-8 * np.abs(slope(x)).max()

    def test_differences_measure_the_noise_of_float32(self):
        def low(points):
            return np.array([np.float32(np.sin(each.astype(np.float32) + 1).sum()) for each in points])

        slopes, errors = central_differences(low, THETA, Axes(np.arange(12)))
        assert np.all(np.abs(slopes - np.cos(THETA + 1)) <= 2 * errors)
        assert 1e-6 < np.median(errors) < 1e-2

    @pytest.mark.parametrize("offset", [1e-1, -1e-3, 1e-5, -1e-7, 1e-9])
    def test_a_step_stays_on_its_side_of_a_kink(self, offset):
        estimate = differences(
            lambda t: np.abs(t[:, 0] - 1) + t[:, 1], np.array([1 + offset, 1]), Axes(np.arange(2))
        )
        assert estimate.values[0] == pytest.approx(np.sign(offset), abs=2 * estimate.errors[0])
        assert estimate.errors[0] < 1e-3
        assert not estimate.kinked.any()

    @pytest.mark.parametrize("offset", [0, 1e-13, -1e-12])
    def test_a_kink_that_no_step_avoids_is_recognised(self, offset):
        estimate = differences(lambda t: np.maximum(t[:, 0] - 1, 0), np.array([1 + offset]), Axes(np.arange(1)))
        assert estimate.kinked.all()
        # The side that it is on lies within the error, at the kink both sides, and little else.
        for side in {0: (0, 1), 1: (1,), -1: (0,)}[np.sign(offset)]:
            assert abs(estimate.values[0] - side) <= estimate.errors[0] * (1 + 1e-9)
        assert estimate.errors[0] < 0.6


def hinges(at_kink):
    """Σ c max(θ, 0), its slope at 0 taken to be c · at_kink."""
    c = np.arange(1.0, 13)
    c[3] = -3.0

    def f(theta):
        real = np.real(theta)
        return (np.where(real > 0, theta, 0) * c).sum(), np.where(real == 0, at_kink, real > 0) * c

    return f


def real_hinges(at_kink):
    """The same of a function that knows no complex numbers."""

    def f(theta):
        if np.iscomplexobj(theta):
            raise TypeError("real numbers only")
        return hinges(at_kink)(theta)

    return f


class TestKinks:
    """Entries 0, 3 and 7 lie on a kink."""

    theta = np.where(np.isin(np.arange(12), [0, 3, 7]), 0, THETA)

    @pytest.mark.parametrize("f", [hinges, real_hinges], ids=["complex step", "differences"])
    @pytest.mark.parametrize("at_kink", [0.0, 0.25, 1.0])
    def test_any_slope_between_the_two_sides_is_right(self, f, at_kink):
        result = check(f(at_kink), self.theta).sections[0].results[0]
        assert result.status == "passed"
        assert result.relative_error < 1e-9

    @pytest.mark.parametrize("f", [hinges, real_hinges], ids=["complex step", "differences"])
    @pytest.mark.parametrize("at_kink", [-0.01, 1.01, 2.0, np.nan])
    def test_no_other_is(self, f, at_kink):
        report = check(f(at_kink), self.theta)
        assert not report.passed
        assert report.failures[0][1].worst.index[0] in (0, 3, 7)

    @pytest.mark.parametrize("f", [hinges, real_hinges], ids=["complex step", "differences"])
    @pytest.mark.parametrize("entry", [1, 11])
    def test_a_mistake_beside_a_kink_is_found(self, f, entry):
        def wrong(theta):
            value, grad = f(0.5)(theta)
            grad[theta > 0] *= 1 + 1e-6
            return value, grad

        assert not check(wrong, self.theta).passed

    def test_the_result_says_so(self):
        result = check(hinges(0.5), self.theta).sections[0].results[0]
        assert result.note.startswith("3 of 12 entries lie on a kink: any slope between")

    def test_a_strong_curvature_is_no_kink(self):
        """Near its minimum the slope of a parabola changes its sign within a tiny step."""
        theta = np.array([1 + 1e-9])
        assert check(lambda t: (((t - 1) ** 2).sum(), 2 * (t - 1)), theta).passed
        assert not check(lambda t: (((t - 1) ** 2).sum(), 4 * (t - 1)), theta).passed


class TestCheck:
    def test_accepts_a_right_gradient_to_rounding(self):
        report = check(rosenbrock, THETA)
        assert report.passed
        assert report.max_relative_error < 1e-14
        assert report.sections[0].results[0].oracle == "complex step"

    @pytest.mark.slow
    @given(seed=st.integers(0, 2**32 - 1), P=st.integers(2, 40))
    @examples(100)
    def test_accepts_right_gradients_anywhere(self, seed, P):
        theta = np.random.default_rng(seed).standard_normal(P) * 10.0 ** np.random.default_rng(seed).uniform(
            -3, 3
        )
        assert check(rosenbrock, theta).passed

    @pytest.mark.parametrize("entry", [0, 5, 11])
    @pytest.mark.parametrize("factor", [1.0005, 0.999, -1.0, 2.0, 0.0])
    def test_rejects_one_wrong_entry_and_names_it(self, entry, factor):
        def wrong(theta):
            value, grad = rosenbrock(theta)
            grad[entry] *= factor
            return value, grad

        report = check(wrong, THETA)
        assert not report.passed
        worst = report.failures[0][1].worst
        assert worst.index == (entry,)
        assert worst.expected == pytest.approx(rosenbrock(THETA)[1][entry], rel=1e-12)
        assert worst.got == pytest.approx(factor * worst.expected, rel=1e-12)
        assert f"theta[{entry}]: got" in report.failure_message()
        with pytest.raises(AssertionError, match=rf"theta\[{entry}\]"):
            report.raise_if_failed()

    @pytest.mark.parametrize("slope", [2.001, 1.999, 2 + 1e-8])
    def test_a_slope_of_2_001_for_2_fails(self, slope):
        assert not check(lambda t: (2 * t.sum(), np.full_like(t, slope)), np.ones(3)).passed

    def test_a_function_for_real_numbers_is_checked_by_differences(self):
        def real_only(theta):
            return float(np.abs(theta.real).sum()), np.sign(theta)

        report = check(real_only, THETA)
        assert report.passed
        assert report.sections[0].results[0].oracle == "central differences"
        assert not check(lambda t: (real_only(t)[0], 1.001 * np.sign(t)), THETA).passed

    def test_a_function_that_drops_the_imaginary_part_is_not_believed(self):
        report = check(lambda t: (np.abs(t**2).sum(), 2 * t), THETA)
        assert report.passed
        assert report.sections[0].results[0].oracle == "central differences"

    def test_tensors_by_name(self):
        def f(params):
            W, b = params["W"], params["b"]
            return (W**2).sum() + (b**3).sum(), {"W": 2 * W, "b": 3.003 * b**2}

        report = check(f, {"W": np.ones((2, 3)), "b": np.arange(1.0, 3)})
        assert [result.tensor for _, result in report.failures] == ["b"]
        assert report.failures[0][1].worst.index == (1,)

    def test_says_which_shape_is_wrong(self):
        with pytest.raises(ValueError, match=r"must have its shape \(3,\), got \(2,\)"):
            check(lambda t: (t.sum(), np.ones(2)), np.ones(3))
        with pytest.raises(ValueError, match="tensors W, got V"):
            check(lambda t: (t["W"].sum(), {"V": np.ones(3)}), {"W": np.ones(3)})
        with pytest.raises(ValueError, match="oracle must be"):
            check(rosenbrock, THETA, oracle="torch")

    @pytest.mark.parametrize(
        ("f", "theta", "message"),
        [
            (lambda t: t.sum(), np.ones(3), r"f must return \(loss, gradient\), got float64"),
            (lambda t: None, np.ones(3), r"f must return \(loss, gradient\), got NoneType"),
            (lambda t: (t.sum(), None), np.ones(3), "the gradient of theta must be numbers, got NoneType"),
            (lambda t: (t**2, 2 * t), np.ones(3), r"the loss must be one number, got an array of shape \(3,\)"),
            (
                lambda t: (t["W"].sum(), np.ones(3)),
                {"W": np.ones(3)},
                "its gradient a dict with W, got ndarray",
            ),
            (lambda t: (t.sum(), {"W": t}), np.ones(3), "its gradient an array, as theta is, got dict"),
            (lambda t: (t.sum(), t), [[1, 2], [3]], "theta must be numbers in a regular shape"),
            (lambda t: (t.sum(), t), "abc", "theta must be numbers, got str"),
            (lambda t: (t.sum(), t), [], "theta holds no number"),
            (lambda t: (t.sum(), t), [1, np.inf], r"theta\[1\] is inf: theta must be finite"),
            (lambda t: (t.sum(), t), np.ones(2) + 1j, "theta must be real, got complex128"),
            (
                lambda t: (np.multiply(t, 2, out=t).sum(), np.ones(3)),
                np.ones(3),
                r"f wrote into its parameters, at theta\[0\]",
            ),
        ],
    )
    def test_what_it_cannot_take_is_named(self, f, theta, message):
        with pytest.raises((ValueError, TypeError), match=message):
            check(f, theta)

    @pytest.mark.parametrize("theta", [[1.0, -2.0, 0.5], 2.0, np.array([1, 2, 3]), THETA.astype(np.float32)])
    def test_lists_numbers_integers_and_float32(self, theta):
        check(lambda t: (np.sum(t**3), 3 * t**2), theta).raise_if_failed()

    def test_a_function_that_computes_in_float32(self):
        def low(theta, factor=1.0):
            t = np.asarray(theta, dtype=np.float32)
            return np.sum(t**3), np.float32(factor) * 3 * t**2

        report = check(low, THETA)
        assert report.passed
        assert report.sections[0].results[0].oracle == "central differences"
        assert report.sections[0].results[0].tolerance < 1e-3
        assert report.sections[0].taylor.order == pytest.approx(2, abs=0.2)
        assert not check(lambda t: low(t, 1.01), THETA).passed

    def test_a_gradient_in_float32_of_a_loss_in_float64(self):
        result = check(lambda t: (np.sum(t**3), (3 * t**2).astype(np.float32)), THETA).sections[0].results[0]
        assert (result.status, result.oracle) == ("passed", "complex step")
        assert 1e-6 < result.tolerance < 1e-4

    def test_a_loss_that_is_no_number_fails(self):
        for bad in (np.nan, np.inf):
            report = check(lambda t, bad=bad: (bad * t.sum(), 3 * t), THETA)
            assert "the loss is not finite here" in report.failure_message()

    def test_the_complex_step_where_it_cannot_work_is_refused(self):
        with pytest.raises(ValueError, match="cannot be checked by the complex step"):
            check(real_hinges(0.5), np.ones(12), oracle="complex_step")

    def test_an_explicit_oracle_is_obeyed(self):
        def drops_the_imaginary_part(t):
            return float(np.real(t).sum()), np.ones(3)

        assert check(drops_the_imaginary_part, np.ones(3))
        assert check(drops_the_imaginary_part, np.ones(3), oracle="complex_step").failed

    def test_preconditions_and_taylor_of_a_function(self):
        report = check(rosenbrock, THETA)
        assert {each.name: each.met for each in report.preconditions} == {
            "the loss repeats bit for bit": True,
            "the gradient repeats bit for bit": True,
            "loss and gradient are finite": True,
            "several points": False,
        }
        taylor = report.to_dict()["sections"][0]["taylor"]
        assert taylor["order"] == pytest.approx(2, abs=0.05)
        assert taylor["window"][0] > 100 * taylor["window"][1]

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_a_number_that_is_none_beside_a_derivative_of_zero_fails(self, bad):
        report = check(lambda t: (0 * t.sum(), np.array([0, bad, 0])), np.ones(3))
        assert report.failures[0][1].worst.index == (1,)

    def test_nothing_to_see_is_not_called_passed(self):
        assert check(lambda t: (1.0, 0 * t), np.ones(3)).summary().startswith("untested: none of 1")

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_what_is_not_finite_fails(self, bad):
        def f(theta):
            value, grad = rosenbrock(theta)
            grad[4] = bad
            return value, grad

        report = check(f, THETA)
        assert not report.passed
        assert report.failures[0][1].worst.index == (4,)
        assert json.loads(json.dumps(report.to_dict(), allow_nan=False))["passed"] is False

    def test_a_zero_gradient_is_untested_not_passed(self):
        report = check(lambda t: (0 * t.sum(), 0 * t), np.ones(3))
        assert report.sections[0].results[0].status == "nothing to check"
        assert report.status == "untested"
        assert not report

    def test_a_lost_gradient_is_no_zero_gradient(self):
        assert not check(lambda t: (t.sum(), 0 * t), np.ones(3)).passed

    def test_cancellation_widens_the_tolerance_and_no_more(self):
        # At the optimum of log Σ exp z − z0 the gradient is p − y, tiny beside its terms.
        def loss(factor):
            def f(z):
                e = np.exp(z - z.real.max())
                grad = e / e.sum()
                grad[0] -= 1
                return np.log(e.sum()) + z.real.max() - z[0], factor * grad

            return f

        z = np.array([25.0, 0.0, -1.0])
        right = check(loss(1.0), z)
        assert right.passed
        assert 1e-9 < right.sections[0].results[0].tolerance < 1e-1
        assert not check(loss(1.1), z).passed


class TestLargeTensors:
    """Beyond `all_coordinates_up_to`: directions, and a search."""

    options = CheckOptions(all_coordinates_up_to=0, coordinates=3)
    P = 5000
    theta = np.random.default_rng(0).standard_normal(P)

    def section(self, gradient, options=options):
        return check_parts(
            [Part("loss", quartics, gradient)], self.theta, whole(self.P), options, moment="fresh"
        )

    def test_accepts_a_right_gradient(self):
        result = self.section(quartics_grad).results[0]
        assert result.status == "passed"
        assert (result.checked, result.directions) == (3, 8)
        assert result.relative_error < 1e-13

    @pytest.mark.parametrize("entry", [0, 1234, 4999])
    def test_finds_the_one_wrong_entry(self, entry):
        def gradient(theta):
            grad = quartics_grad(theta)
            grad[entry] += 1e-3 * np.linalg.norm(grad) / np.sqrt(len(grad))
            return grad

        result = self.section(gradient).results[0]
        assert result.status == "failed"
        assert result.worst.index == (entry,)

    def test_a_wrong_factor_everywhere(self):
        result = self.section(lambda t: 1.001 * quartics_grad(t)).results[0]
        assert result.relative_error == pytest.approx(1e-3, rel=0.5)
        assert result.worst.got == pytest.approx(1.001 * result.worst.expected, rel=1e-9)

    def test_without_single_entries(self):
        assert self.section(quartics_grad, CheckOptions(all_coordinates_up_to=0, coordinates=0)).passed


class TestFloat32:
    def compared(self, low):
        section = check_parts(
            [Part("loss", quartics, quartics_grad)], THETA, whole(12), CheckOptions(), moment="fresh"
        )
        return compare_dtypes(low, quartics_grad, THETA, section, whole(12), np.dtype(np.float32))[0]

    def test_rounding_passes(self):
        result = self.compared(quartics_grad(THETA.astype(np.float32)))
        assert result.status == "passed"
        assert 0 < result.relative_error < 1e-6

    def test_a_mistake_does_not(self):
        low = quartics_grad(THETA.astype(np.float32))
        low[9] *= 1.01  # the largest entry
        result = self.compared(low)
        assert result.status == "failed"
        assert result.worst.index == (9,)

    def test_a_kink_within_rounding_passes_both_ways(self):
        theta = np.array([1e-9, 1.0, -1.0])

        def values(points):
            return (np.where(points.real > 0, points, 0) * [1, 2, 3]).sum(-1)

        def gradient(at):
            # A pre-activation that float32 computes as 1 + 1e-9 − 1 falls on the kink.
            return np.where((at + 1) - 1 > 0, 1.0, 0.0) * [1, 2, 3] * (at != 0)

        section = check_parts([Part("loss", values, gradient)], theta, whole(3), CheckOptions(), moment="fresh")
        assert section.passed
        low = np.array([0.0, 2.0, 0.0], dtype=np.float32)
        jitter = np.random.default_rng(0)

        def at_the_kink(at):
            return np.where(at + jitter.uniform(-1e-7, 1e-7, 3) > 0, 1.0, 0.0) * [1, 2, 3]

        assert (
            compare_dtypes(low, at_the_kink, theta, section, whole(3), np.dtype(np.float32))[0].status
            != "failed"
        )


class TestReport:
    def report(self, factor=1.0):
        return check(lambda t: (rosenbrock(t)[0], factor * rosenbrock(t)[1]), THETA)

    def test_the_largest_error_as_a_power_of_ten(self):
        assert self.report(1.1).log10_error == pytest.approx(math.log10(0.1 / 1.1), rel=1e-9)
        assert self.report(-1e9).log10_error <= 3

    def test_an_error_of_zero_has_a_logarithm(self):
        exact = check(lambda t: (t.sum(), np.ones_like(t)), np.ones(3))
        assert exact.log10_error == -17

    def test_where_nothing_was_compared_there_is_no_error(self):
        untested = [dataclasses.replace(r, status="untested") for r in self.report().sections[0].results]
        section = dataclasses.replace(self.report().sections[0], results=tuple(untested))
        assert GradcheckReport((section,)).log10_error is None

    @pytest.mark.parametrize("error", [math.inf, math.nan, 1e9])
    def test_an_error_without_bound_is_clipped(self, error):
        report = self.report(1.1)
        results = tuple(dataclasses.replace(r, relative_error=error) for r in report.sections[0].results)
        section = dataclasses.replace(report.sections[0], results=results)
        assert GradcheckReport((section,)).log10_error == 3

    def test_json_round_trip(self):
        stored = json.loads(json.dumps(self.report(1.1).to_dict(), allow_nan=False))
        assert stored["schema"] == "backproof.gradcheck/1"
        result = stored["sections"][0]["results"][0]
        assert result["status"] == "failed"
        assert result["worst"]["got"] == pytest.approx(1.1 * result["worst"]["expected"])

    def test_an_empty_report_has_not_passed(self):
        with pytest.raises(ValueError, match="checked nothing"):
            _ = GradcheckReport(()).passed

    def test_one_line(self):
        assert self.report().summary().startswith("passed: 1 comparisons of 1 tensors, largest")
        assert self.report(1.1).summary() == "failed: theta of 1 tensors"


class TestTaylor:
    def test_order_two_for_the_right_gradient_and_one_for_a_wrong_one(self):
        direction = np.random.default_rng(1).standard_normal(12)
        right = taylor_test(lambda t: rosenbrock(t)[0], rosenbrock(THETA)[1], THETA, direction)
        wrong = taylor_test(lambda t: rosenbrock(t)[0], 1.01 * rosenbrock(THETA)[1], THETA, direction, h=1e-4)
        assert right.passed
        assert right.order == pytest.approx(2, abs=0.1)
        assert not wrong.passed
        assert wrong.order == pytest.approx(1, abs=0.2)

    @pytest.mark.parametrize("factor", [1.01, 1.0001])
    def test_the_window_is_the_one_at_small_steps(self, factor):
        """Large steps see the curvature and order 2, whatever the gradient."""
        direction = np.random.default_rng(1).standard_normal(12)
        remainder = taylor_test(lambda t: rosenbrock(t)[0], factor * rosenbrock(THETA)[1], THETA, direction)
        assert remainder.order == pytest.approx(1, abs=0.15)
        assert remainder.window[0] < 1e-3
        assert str(remainder).startswith(f"order {remainder.order:.2f} from h = ")

    def test_a_kink_on_the_way_is_outside_the_window(self):
        remainder = taylor_test(
            lambda t: float((np.abs(t - 1.01) + t**2).sum()), np.array([1.0]), np.ones(1), np.ones(1)
        )
        assert remainder.passed
        assert remainder.window[0] < 0.01

    def test_a_linear_function_has_no_remainder(self):
        assert taylor_test(lambda t: 2 * t.sum(), np.full(3, 2.0), np.ones(3), np.ones(3)).order == math.inf
