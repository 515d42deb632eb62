"""Functions whose number of iterations depends on theta, and functions that only look like them."""

import sys

import numpy as np
import pytest
from backproof import check
from backproof.gradcheck.iterations import iterates
from scipy.integrate import quad, solve_ivp
from scipy.optimize import brentq, fsolve, minimize

THETA = np.array([1.0, 2.0, 3.0])


def newton(t):
    x = 1.0
    for _ in range(50):
        step = (x**3 + x - t) / (3 * x**2 + 1)
        x -= step
        if abs(step) < 1e-6:
            break
    return x


def newton_while(t):
    x, step = 1.0, 1.0
    while abs(step) >= 1e-6:
        step = (x**3 + x - t) / (3 * x**2 + 1)
        x -= step
    return x


def bisection(t):
    low, high = 0.0, abs(t) + 1
    while high - low > 1e-6:
        middle = (low + high) / 2
        if middle**3 + middle > t:
            high = middle
            continue
        low = middle
    return low


def simpson(f, a, b, tolerance):
    middle = (a + b) / 2
    whole = (b - a) / 6 * (f(a) + 4 * f(middle) + f(b))
    halves = sum((q - p) / 6 * (f(p) + 4 * f((p + q) / 2) + f(q)) for p, q in ((a, middle), (middle, b)))
    if abs(whole - halves) < tolerance:
        return halves
    return simpson(f, a, middle, tolerance / 2) + simpson(f, middle, b, tolerance / 2)


def ridge(t):
    A, b = np.vander(np.linspace(0, 1, 8), 4), np.linspace(-1, 1, 8) ** 3

    def loss(w):
        e = A @ w - b
        return e @ e + np.exp(t) * w @ w, 2 * A.T @ e + 2 * np.exp(t) * w

    return minimize(loss, np.zeros(4), jac=True, method="L-BFGS-B", options={"gtol": 1e-5}).fun


ITERATIVE = {
    "Newton": newton,
    "Newton, while": newton_while,
    "bisection": bisection,
    "recursion": lambda t: simpson(lambda x: 1 / (1e-2 + (x - t) ** 2), 0, 4, 1e-3),
    "brentq": lambda t: brentq(lambda x: x**3 + x - t, -9, 9, xtol=1e-6),
    "fsolve": lambda t: fsolve(lambda x: x**3 + x - t, 1.0, xtol=1e-6)[0],
    "adaptive quad": lambda t: quad(lambda x: 1 / (1e-4 + (x - t) ** 2), 0, 4, epsrel=1e-6)[0],
    "solve_ivp": lambda t: solve_ivp(lambda _, y: -3 * t * y * y, (0, 3), [1.0], rtol=1e-6).y[0, -1],
    "L-BFGS": ridge,
}


@pytest.mark.parametrize("kind", ITERATIVE)
def test_iterations_whose_number_varies(kind):
    assert iterates(lambda t: float(ITERATIVE[kind](1.5 + t)), 1.5)


def branch(t, edge):
    if t[0] < edge:
        for _ in range(2):
            pass
    return np.sum(t**2), 2 * t


def helper_in_a_branch(t, edge):
    def dot(a, b):
        total = 0.0
        for x, y in zip(a, b, strict=True):
            total += x * y
        return total

    return dot(t, t) + (dot(t, 0 * t) if t[0] < edge else 0), 2 * t


def one_entry_at_a_time(t, edge):
    """The rectified linear unit in loops: only some entries get as far as the inner one."""
    loss, gradient = 0.0, np.zeros(3)
    for i in range(3):
        if t[i] - edge > 0:
            for _ in range(4):
                loss += (t[i] - edge) ** 2
            gradient[i] = 8 * (t[i] - edge)
    return loss, gradient


def skipped_entries(t, edge):
    i, loss = -1, 0.0
    while i < 2:
        i += 1
        if t[i] < edge:
            continue
        loss += (t[i] - edge) ** 2
    return loss, 2 * np.maximum(t - edge, 0)


def generated_entries(t, edge):
    loss = sum((x - edge) ** 2 for x in t if x > edge)
    return loss, 2 * np.maximum(t - edge, 0)


def chosen_entries(t, edge):
    squares = [(x - edge) ** 2 if x > edge else 0.0 for x in t] + list(map(float, t**2))
    return sum(squares), 2 * np.maximum(t - edge, 0) + 2 * t


def fixed_number_of_iterations(t, edge):
    x = t
    for _ in range(60):
        x = np.cos(x) / 2 + t
    return np.sum(x), 1 / (1 + np.sin(x) / 2)


def integral_of_fixed_order(t, edge):
    """The integral of exp(-t x); 21 evaluations are enough everywhere."""
    loss = sum(quad(lambda x, a=a: np.exp(-a * x), 0, 1)[0] for a in t.tolist())
    return loss, -(1 - (1 + t) * np.exp(-t)) / t**2


BRANCHES = {
    f.__name__.replace("_", " "): f
    for f in (
        branch,
        helper_in_a_branch,
        one_entry_at_a_time,
        skipped_entries,
        generated_entries,
        chosen_entries,
        fixed_number_of_iterations,
        integral_of_fixed_order,
    )
}


@pytest.mark.parametrize("edge", [0.97, 0.999])
@pytest.mark.parametrize("kind", BRANCHES)
def test_what_runs_at_some_points_only_is_no_iteration(kind, edge):
    def f(t, factor=1.0):
        loss, gradient = BRANCHES[kind](np.real(t), edge)
        return float(loss), factor * gradient

    assert check(f, THETA).passed
    for factor in (1.005, 1 + 1e-5):
        report = check(lambda t: f(t, factor), THETA)  # noqa: B023
        assert report.failed, str(report)


@pytest.mark.parametrize("kind", BRANCHES)
def test_a_branch_is_not_counted(kind):
    assert not iterates(lambda t: float(BRANCHES[kind](THETA * (1 + t), 0.97)[0]), 0.9)


class LineByLine:
    """A stream whose loops depend on what is written, and when."""

    def write(self, text):
        for _ in text:
            pass
        return len(text)

    def flush(self):
        pass


@pytest.mark.parametrize("silent", [-1.0, 1e-3])
def test_messages_on_the_progress_are_no_iterations_of_f(monkeypatch, silent):
    import backproof.gradcheck.function as function

    monkeypatch.setattr(function, "SILENT", silent)
    monkeypatch.setattr(sys, "stderr", LineByLine())
    for seed in range(2):
        t = np.random.default_rng(seed).normal(size=6)
        report = check(lambda t: (np.sum(np.real(t) ** 3), 1.005 * 3 * np.real(t) ** 2), t)
        assert report.failed, str(report)


def by_roots(find, factor=1.0):
    """The sum of squares of the roots of x**3 + x = t."""

    def f(t):
        x = np.array([find(entry) for entry in np.real(t)])
        return float(np.sum(x**2)), factor * 2 * x / (3 * x**2 + 1)

    return f


@pytest.mark.parametrize("xtol", [1e-6, 1e-8])
def test_what_brentq_is_accurate_to_is_accepted(xtol):
    def find(t):
        return brentq(lambda x: x**3 + x - t, -20, 20, xtol=xtol)

    theta = np.random.default_rng(0).normal(size=3)
    right = check(by_roots(find), theta)
    assert right.passed, str(right)
    assert check(by_roots(find, 1.02), theta).failed


@pytest.mark.parametrize("find", [newton, newton_while])
def test_the_gradient_at_a_root_that_is_nearly_exact(find):
    theta = np.array([0.4, 1.1, 2.3, 0.7])
    assert check(by_roots(find), theta).passed
    assert check(by_roots(find, 1.02), theta).failed


@pytest.mark.parametrize("tolerance", [1e-4, 1e-6, 1e-8])
def test_a_fixed_point(tolerance):
    A = 0.2 * np.random.default_rng(0).normal(size=(4, 4))

    def f(t, factor=1.0):
        t, x = np.real(t), np.zeros(4)
        for _ in range(500):
            last, x = x, np.tanh(A @ x + t)
            if np.max(np.abs(x - last)) < tolerance:
                break
        D = 1 - x**2
        return float(np.sum(x**2)), factor * D * np.linalg.solve((np.eye(4) - D[:, None] * A).T, 2 * x)

    theta = np.random.default_rng(1).normal(size=4)
    right = check(f, theta)
    assert right.passed, str(right)
    assert check(lambda t: f(t, 1.02), theta).failed
