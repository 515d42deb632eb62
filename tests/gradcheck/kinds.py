"""Functions on which gradient checkers give false verdicts, each for a kind of its own.

Each maker takes a random generator and returns (f, theta), where f(theta) is (loss, right gradient).
"""

import math

import numpy as np


def poisson_identity(r):
    """The loss has a logarithm of a linear function: at shuffled parameters it is that of a negative number."""
    X, y = r.uniform(0.1, 1, (30, 4)), r.poisson(2, 30)
    return lambda b: (np.sum(X @ b - y * np.log(X @ b)), X.T @ (1 - y / (X @ b))), np.array([3.0, 0.1, 2, 0.5])


def log_one_minus(r):
    w = r.uniform(0.1, 0.3, 5)
    theta = np.array([1.5, 0.1, 0.2, 0.1, 0.4])
    return lambda t: (np.log(1 - w @ t * 0.9), -0.9 * w / (1 - w @ t * 0.9)), theta


def small_norm(weight):
    """A small term drops the imaginary part, as `np.linalg.norm` does."""

    def make(r):
        return (
            lambda t: (
                np.sum(t**2) + weight * np.linalg.norm(t) ** 2,
                2 * np.real(t) * (1 + weight),
            )
        ), r.normal(size=6)

    return make


def two_scales(r):
    def f(t):
        w, b = t["w"], t["b"]
        return 1e7 * np.sum(w**2) + np.sum(np.abs(b) ** 2), {"w": 2e7 * w, "b": 2 * np.real(b)}

    return f, {"w": r.normal(size=3), "b": r.uniform(0.5, 2, 3)}


def log_near_zero(r):
    t = r.choice([-1.0, 1.0], 6) * 10.0 ** r.uniform(-12, -1, 6)
    return lambda t: (np.sum(np.log(np.abs(t))), 1 / np.real(t)), t


def scalars(r):
    """`math` takes no complex numbers and raises outside of its domain."""
    return (
        lambda t: (math.log(t[0]) + math.sqrt(1 - t[1] ** 2), [1 / t[0], -t[1] / math.sqrt(1 - t[1] ** 2)])
    ), np.array([r.uniform(0.005, 0.02), r.uniform(0.9, 0.99)])


def cholesky(r):
    """Shuffled, theta is not positive definite and the factorisation raises."""
    A = r.normal(size=(4, 4))

    def f(M):
        S = (M + M.T) / 2
        return 2 * np.log(np.diag(np.linalg.cholesky(S))).sum(), np.linalg.inv(S)

    return f, A @ A.T + np.eye(4)


def validated(r):
    def f(t):
        if (np.real(t) <= 0).any():
            raise ValueError("sigma must be positive")
        return np.sum(np.log(t) + 1 / t), 1 / t - 1 / t**2

    return f, r.uniform(0.01, 3, 50)


def mean_absolute_error(count, size):
    """So many kinks that differences of any step cross some."""

    def make(r):
        A, b = r.normal(size=(count, size)), r.normal(size=count)
        return lambda t: (np.mean(np.abs(A @ t - b)), A.T @ np.sign(A @ t - b) / count), r.normal(size=size)

    return make


def hinge(r):
    A, y = r.normal(size=(200, 6)), r.choice([-1.0, 1.0], 200)

    def f(t):
        m = y * (A @ t)
        return np.mean(np.maximum(1 - m, 0)), -A.T @ (y * (m < 1)) / 200

    return f, r.normal(size=6)


def high_frequency(k):
    return lambda r: ((lambda t: (np.sum(np.sin(k * t)), k * np.cos(k * t))), r.normal(size=3))


def jumps(r):
    """Steps that grow meet the jumps, and differences across them agree by chance."""
    return lambda t: (np.sum(t**2) + np.sum(np.floor(4 * np.real(t))), 2 * t), r.uniform(0.05, 3, 4)


def cancellation(r):
    return lambda a: (np.sum(a - a * (1 - 1e-6)), np.full(4, 1e-6)), r.uniform(1, 2, 4)


def arrhenius(r):
    """The parameters of one array have sizes from 1e-6 to 1e5."""
    T = np.linspace(300, 900, 12)

    def f(t):
        k = t[0] * T * np.exp(-t[1] / (8.314 * T)) * 1e9 + t[2] / 300
        g = np.array(
            [T * np.exp(-t[1] / (8.314 * T)) * 1e9, (t[2] / 300 - k) / (8.314 * T), np.full(12, 1 / 300)]
        )
        return np.sum(k**2) / 2, g @ k

    return f, np.array([1e-6, 2e5, 300.0]) * r.uniform(0.5, 2, 3)


def scaled(scale):
    return lambda r: ((lambda t: (scale * np.sum(t**3), scale * 3 * t**2)), r.normal(size=4))


def huge_gradient(r):
    return lambda t: (np.exp(700 * t[0]) + t[1], np.array([700 * np.exp(700 * t[0]), 1.0])), np.array(
        [1.0, 0.3]
    )


def bisection(r):
    """A root to 1e-9: the values are those of an approximation."""
    from scipy.optimize import brentq

    def f(t):
        a = float(np.real(t[0]))
        x = brentq(lambda x: x**3 + a * x - 2, 0, 2, xtol=1e-9)
        return x, np.array([-x / (3 * x**2 + a)])

    return f, r.uniform(0.5, 2, 1)


def single_precision(r):
    return lambda t: (np.float32(np.sum(np.abs(t) ** 2)), 2 * np.real(t)), r.normal(size=5)


def rounded(r):
    return lambda t: (round(float(np.sum(np.abs(t) ** 2)), 6), 2 * np.real(t)), r.normal(size=5)


#: Kinds whose right gradients pass and whose mistakes fail, with the resolution that the report must state.
DECIDED = {
    "logarithm of a linear function": (poisson_identity, 1e-9),
    "log(1 − w·t)": (log_one_minus, 1e-9),
    "1e-6 norm²": (small_norm(1e-6), 1e-7),
    "1e-8 norm²": (small_norm(1e-8), 1e-8),
    # The rounding of a loss of 1e7 is 1e-9; a slope of 0.1 beside it is known to a millionth.
    "a small tensor beside a large one": (two_scales, 5e-6),
    "log|t| near 0": (log_near_zero, 1e-6),
    "math.log and math.sqrt": (scalars, 1e-6),
    "cholesky(theta)": (cholesky, 1e-6),
    "f that validates": (validated, 1e-6),
    "MAE, n = 300": (mean_absolute_error(300, 8), 2e-2),
    "MAE, n = 5000": (mean_absolute_error(5000, 4), 2e-2),
    "hinge": (hinge, 2e-2),
    "sin(1e3 t)": (high_frequency(1e3), 1e-3),
    "sin(1e6 t)": (high_frequency(1e6), 1e-3),
    "floor": (jumps, 1e-6),
    "cancellation": (cancellation, 1e-3),
    "Arrhenius": (arrhenius, 1e-6),
    "a loss of 1e-30": (scaled(1e-30), 1e-9),
    "a loss of 1e-300": (scaled(1e-300), 1e-9),
    "a loss of 1e+300": (scaled(1e300), 1e-9),
    "exp(700)": (huge_gradient, 1e-6),
    "bisection to 1e-9": (bisection, 2e-2),
    "a loss in float32": (single_precision, 2e-2),
    "a loss rounded to 6 decimals": (rounded, 2e-2),
}
