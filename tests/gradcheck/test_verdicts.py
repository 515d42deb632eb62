"""The verdicts of `check` on functions that other rules judge wrongly."""

import copy
import gc
import math

import numpy as np
import pytest
from backproof import check, check_hessian
from backproof.gradcheck.report import UntestedWarning

from tests.gradcheck.kinds import DECIDED

SEEDS = range(4)


def changed(f, change):
    """Return f with the largest tensor of its gradient changed."""

    def wrong(theta):
        loss, gradient = f(theta)
        if not isinstance(gradient, dict):
            return loss, change(np.array(gradient, dtype=float))
        return loss, {**gradient, "b": change(np.array(gradient["b"], dtype=float))}

    return wrong


def largest_by(factor):
    def change(gradient):
        gradient.ravel()[np.argmax(np.abs(gradient))] *= factor
        return gradient

    return change


MISTAKES = {
    "2 %": largest_by(1.02),
    "one sign": largest_by(-1.0),
    "one entry zero": largest_by(0.0),
    "doubled": lambda g: 2 * g,
    "zeros": lambda g: 0 * g,
}


@pytest.mark.parametrize("kind", DECIDED)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_right_gradient_passes_and_its_resolution_is_stated(kind, seed):
    make, resolution = DECIDED[kind]
    f, theta = make(np.random.default_rng(seed))
    report = check(f, theta)
    assert report, str(report)
    for result in report.sections[0].results:
        assert result.resolution is not None
        assert result.resolution <= resolution, str(report)


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("kind", DECIDED)
def test_a_mistake_fails(kind, mistake):
    f, theta = DECIDED[kind][0](np.random.default_rng(1))
    before = copy.deepcopy(theta)
    report = check(changed(f, MISTAKES[mistake]), theta)
    assert report.status == "failed", str(report)
    np.testing.assert_equal(theta, before)


@pytest.mark.parametrize("weight", [1e-5, 1e-6, 1e-7])
def test_a_lost_term_that_drops_the_imaginary_part_is_found(weight):
    t = np.random.default_rng(0).normal(size=6)
    assert check(lambda t: (np.sum(t**2) + weight * np.linalg.norm(t) ** 2, 2 * t), t).failed


class TestKinks:
    @pytest.mark.parametrize("slope", [-1.0, -0.3, 0.0, 0.5, 1.0])
    def test_any_slope_between_the_sides_passes_and_is_said(self, slope):
        def f(t):
            return np.sum(np.abs(t)), np.where(np.real(t) == 0, slope, np.sign(np.real(t)))

        report = check(f, np.array([0.0, 1.0, -2.0]))
        assert report.passed, str(report)
        assert "kink: -1 … 1" in str(report)

    @pytest.mark.parametrize("slope", [-1.1, 1.01, 3.0])
    def test_a_slope_outside_fails(self, slope):
        def f(t):
            return np.sum(np.abs(t)), np.where(np.real(t) == 0, slope, np.sign(np.real(t)))

        assert check(f, np.array([0.0, 1.0, -2.0])).failed

    def test_entries_within_bounds_one_by_one_can_be_wrong_together(self):
        """At a tie of a maximum the entries of the gradient add up to one."""

        def f(share):
            return lambda t: (np.max(np.real(t)), share * (np.real(t) == np.max(np.real(t))))

        t = np.array([1.0, 1.0, 0.2])
        assert check(f(0.5), t).passed
        assert check(f(1.0), t).failed
        assert check(f(0.0), t).failed

    def test_sorted_in_a_group_lasso_at_zero(self):
        def f(t):
            norm = np.linalg.norm(t)
            return norm, t / norm if norm else np.zeros(3)

        assert check(f, np.zeros(3)).passed
        assert check(lambda t: (np.linalg.norm(t), np.full(3, 2.0)), np.zeros(3)).failed


class TestStatus:
    def test_untested_is_not_passed(self):
        def f(t):
            return np.float16(np.sum(np.real(t) ** 2)), 2 * np.real(t)

        report = check(f, np.random.default_rng(0).normal(size=5))
        assert report.status == "untested"
        assert not report
        assert not report.passed
        with pytest.raises(AssertionError, match="noise="):
            report.raise_if_failed()
        with pytest.warns(UntestedWarning, match="noise="):
            report.raise_if_failed(untested="warn")
        report.raise_if_failed(untested="ok")
        with pytest.raises(ValueError, match="error, warn or ok, got 'never'"):
            report.raise_if_failed(untested="never")

    def test_an_assertion_shows_the_table(self):
        report = check(lambda t: (np.sum(t**2), 3 * t), np.array([1.0, 2.0]))
        with pytest.raises(AssertionError) as caught:
            assert report
        assert "gradient check: failed" in str(caught.value)
        assert "every entry is 1.5 times what is expected" in str(report)

    def test_nothing_to_check_beside_something_passes(self):
        def f(t):
            return np.sum(t["w"] ** 2), {"w": 2 * t["w"], "unused": np.zeros(2)}

        report = check(f, {"w": np.array([1.0, 2.0]), "unused": np.ones(2)})
        assert [r.status for r in report.sections[0].results] == ["passed", "nothing to check"]
        assert report

    def test_nothing_but_nothing_to_check_is_untested(self):
        report = check(lambda t: (3.0, np.zeros(2)), np.ones(2))
        assert report.status == "untested"
        assert not report

    def test_a_gradient_that_ignores_theta_is_told_so(self):
        report = check(lambda t: (3.0, np.ones(2)), np.ones(2))
        assert report.failed
        assert "f does not change with theta" in report.failure_message()


class TestArguments:
    def test_an_explicit_oracle_is_obeyed_where_the_other_contradicts_it(self):
        f, theta = DECIDED["sin(1e6 t)"][0](np.random.default_rng(0))
        assert check(f, theta, oracle="complex_step").passed
        with pytest.raises(ValueError, match="oracle must be"):
            check(f, theta, oracle="newton")

    def test_gradient_as_a_second_function_with_arguments(self):
        def loss(t, a, *, power):
            return np.sum(a * t**power)

        def grad(t, a, *, power):
            return a * power * t ** (power - 1)

        theta, a = np.array([1.0, -2.0]), np.array([3.0, 0.5])
        assert check(loss, theta, grad=grad, args=(a,), kwargs={"power": 3})
        assert check(lambda t, a: np.sum(a * t**3), theta, grad=lambda t, a: 2 * a * t**2, args=(a,)).failed

    def test_bounds_are_kept(self):
        seen = []

        def f(t):
            seen.append(float(np.real(t[0])))
            return np.sum(np.sqrt(t)), 0.5 / np.sqrt(t)

        assert check(f, np.array([1.0]), bounds=(0.99, 1.5))
        assert min(seen) >= 0.99
        with pytest.raises(ValueError, match="outside of bounds"):
            check(f, np.array([2.0]), bounds=(0.0, 1.5))

    @pytest.mark.parametrize("P", [50, 2000])
    def test_calls_are_limited_and_directions_take_the_place_of_entries(self, P):
        calls = []

        def f(t):
            calls.append(None)
            return np.sum(t**2), 2 * t

        report = check(f, np.linspace(1, 2, P), max_calls=300)
        assert report.passed, str(report)
        assert len(calls) <= 300
        wrong = check(lambda t: (np.sum(t**2), 2 * t * (1 + 1e-3)), np.linspace(1, 2, P), max_calls=300)
        assert wrong.failed

    def test_a_tolerance_and_a_noise_that_are_given(self):
        t = np.array([1.0, 2.0])
        assert check(lambda t: (np.sum(t**2), 2.001 * t), t).failed
        assert check(lambda t: (np.sum(t**2), 2.001 * t), t, tolerance=1e-2).passed
        rng = np.random.default_rng(0)

        def noisy(t):
            return np.sum(np.real(t) ** 2) + 1e-6 * np.sin(1e12 * np.real(t).sum()), 2 * np.real(t)

        assert check(noisy, rng.normal(size=3), noise=1e-6).passed

    def test_the_last_bits_may_differ_where_that_is_allowed(self):
        rng = np.random.default_rng(0)

        def f(t):
            return np.sum(t**2) * (1 + 2.2e-16 * rng.integers(0, 3)), 2 * t

        statuses = {check(f, np.array([1.0, 3.0])).status for _ in range(8)}
        assert "failed" in statuses
        assert all(check(f, np.array([1.0, 3.0]), nondet_tol=1e-14).passed for _ in range(8))

    @pytest.mark.parametrize("dtype", [bool, int, np.int8])
    def test_a_gradient_of_integers(self, dtype):
        def f(t):
            return np.sum(np.maximum(np.real(t), 0)), (np.real(t) > 0).astype(dtype)

        assert check(f, np.array([-1.0, 0.5, 2.0]))

    def test_long_work_says_how_far_it_is(self, monkeypatch, capsys):
        import backproof.gradcheck.function as function

        monkeypatch.setattr(function, "SILENT", -1.0)
        check(lambda t: (np.sum(t**2), 2 * t), np.ones(3))
        shown = capsys.readouterr()
        assert shown.out == ""
        assert "calls of f" in shown.err
        assert "max_calls=" in shown.err


def test_where_f_can_be_evaluated_at_theta_alone_it_is_untested():
    def f(t):
        if not np.array_equal(t, [1.0, 2.0]):
            raise ValueError("not in the table")
        return 5.0, np.array([2.0, 4.0])

    report = check(f, np.array([1.0, 2.0]))
    assert report.status == "untested"
    assert "can only be evaluated at theta" in str(report)


def test_what_f_raises_at_theta_is_raised():
    def f(t):
        return math.log(-1), t

    with pytest.raises(ValueError, match=r"math domain error|expected a positive input"):
        check(f, np.array([1.0]))


class TestHessian:
    def test_a_matrix_is_compared_row_by_row(self):
        A = np.array([[2.0, 1.0, 0.0], [1.0, 3.0, 0.5], [0.0, 0.5, 1.0]])

        def f(t):
            return 0.5 * t @ A @ t + np.sum(t**3), A @ t + 3 * t**2

        theta = np.array([0.3, -1.0, 2.0])
        assert check_hessian(f, theta, hessian=lambda t: A + np.diag(6 * t))
        wrong = check_hessian(f, theta, hessian=lambda t: A + np.diag(3 * t))
        assert wrong.failed
        assert "J[0]" in str(wrong)

    def test_a_small_term_that_drops_the_imaginary_part(self):
        def f(t):
            return np.sum(t**4) + 1e-6 * np.linalg.norm(t) ** 2, 4 * t**3 + 2e-6 * np.real(t)

        assert check_hessian(f, np.array([0.4, -1.2, 0.7]), grad=None).status == "passed"


def bump(t):
    return np.sin(t) + 1e-2 * np.exp(-(((t - 0.3) / 1e-5) ** 2))


def slope_of_bump(t):
    d = (np.real(t) - 0.3) / 1e-5
    return np.cos(np.real(t)) - 2e3 * d * np.exp(-(d**2))


@pytest.mark.parametrize(
    ("f", "right", "wrong", "at"),
    [
        (lambda t: t**2 + abs(t - 1), lambda t: 2 * t + 1, lambda t: 2 * t, 1 + 1e-6),
        (bump, slope_of_bump, np.cos, 0.3 + 5e-6),
        (lambda t: np.log(np.abs(t - 1)), lambda t: 1 / (t - 1), lambda t: 0 * t, 1 + 1e-6),
        (
            lambda t: np.sin(t) + 1e-12 * np.sin(1e6 * t),
            lambda t: np.cos(t) + 1e-6 * np.cos(1e6 * t),
            np.cos,
            0.3,
        ),
    ],
    ids=["a kink nearby", "a narrow bump", "a pole nearby", "a fine ripple"],
)
def test_what_is_narrower_than_wide_steps_counts(f, right, wrong, at):
    assert check(f, at, grad=lambda t: right(np.real(t))).passed
    assert check(f, at, grad=lambda t: wrong(np.real(t))).failed


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("k", [1e6, 1e7])
@pytest.mark.parametrize("amplitude", [1e-8, 1e-10])
@pytest.mark.parametrize("real", [False, True], ids=["complex", "real"])
def test_a_fine_ripple_is_part_of_the_function(amplitude, k, seed, real):
    """Wide steps see the function without the ripple, the narrowest ones see rounding."""
    rng = np.random.default_rng(seed)
    theta, k = rng.normal(size=3), k * rng.uniform(0.5, 2)

    def f(t):
        loss = np.sum(np.exp(t)) + amplitude * np.sum(np.sin(k * t) + np.sin(2.3 * k * t))
        return float(np.real(loss)) if real else loss

    def smooth(t):
        return np.exp(np.real(t))

    def grad(t):
        t = np.real(t)
        return smooth(t) + amplitude * k * (np.cos(k * t) + 2.3 * np.cos(2.3 * k * t))

    report = check(f, theta, grad=grad)
    assert report.passed, str(report)
    lost = check(f, theta, grad=smooth)
    right = grad(theta)
    error = np.abs(smooth(theta) - right).max() / np.sqrt(np.mean(right**2))
    assert lost.failed or error <= lost.sections[0].results[0].resolution, str(lost)


def test_a_garbage_collection_does_not_make_a_function_iterative():
    """Callbacks of the collector run in the middle of f; their loops are not those of f."""
    calls = [0]

    def callback(phase, info):
        calls[0] += 1
        for _ in range(calls[0]):
            pass

    threshold = gc.get_threshold()
    gc.callbacks.append(callback)
    gc.set_threshold(5, 1, 1)
    try:
        t = np.random.default_rng(0).normal(size=6)
        report = check(lambda t: (np.sum(t**2) + 1e-6 * np.linalg.norm(t) ** 2, 2 * t), t)
    finally:
        gc.set_threshold(*threshold)
        gc.callbacks.remove(callback)
    assert calls[0] > 100
    assert report.failed, str(report)


@pytest.mark.parametrize("seed", range(12))
def test_what_cancels_inside_f_is_rounded_alike_within_the_last_bits(seed):
    """The error of a slope that cancels shows where theta moves further than its last bits."""
    t = np.random.default_rng(seed).normal(size=5)

    def f(t):
        return np.sum(np.exp(t) - np.exp(t) * (1 - 1e-6)), 1e-6 * np.exp(t)

    report = check(f, t)
    assert report.passed, str(report)
    assert check(lambda t: (f(t)[0], f(t)[1] * (1 + 1e-5)), t).failed


@pytest.mark.parametrize("offset", [1e-13, 1e-11])
def test_next_to_a_kink_the_reason_is_the_kink(offset):
    report = check(lambda t: (np.sum(np.abs(t - 1)), 0.98 * np.sign(t - 1)), np.array([1 + offset, 3.0]))
    assert "noisy" not in str(report)


@pytest.mark.parametrize("factor", [-1.0, 0.5, 2.0])
def test_a_gross_mistake_is_rejected_without_a_closer_look(factor):
    calls = []

    def f(t):
        calls.append(1)
        return np.sum(np.exp(t)), factor * np.exp(np.real(t))

    assert check(f, np.linspace(-1, 1, 20)).failed
    assert len(calls) < 600  # 1,216 with all steps
