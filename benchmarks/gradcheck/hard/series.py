"""Special functions, series, polynomials and continued fractions."""

from __future__ import annotations

import numpy as np

from benchmarks.gradcheck.hard.kind import kind


@kind("smooth")
def bessel_functions(rng):
    from scipy.special import jv

    return lambda t: (np.sum(jv(2, t)), (jv(1, t) - jv(3, t)) / 2), rng.uniform(0.5, 20, 5)


@kind("smooth")
def error_function(rng):
    from scipy.special import erf

    return lambda t: (np.sum(erf(t) ** 2), 4 * erf(t) * np.exp(-(t**2)) / np.sqrt(np.pi)), rng.normal(size=5)


@kind("smooth")
def gamma_function(rng):
    from scipy.special import digamma, gamma

    return lambda t: (np.sum(gamma(t)), gamma(t) * digamma(t)), rng.uniform(0.2, 6, 5)


@kind("smooth")
def log_beta_function(rng):
    """Real-only: betaln takes no complex numbers."""
    from scipy.special import betaln, digamma

    def f(t):
        return betaln(t[0], t[1]), np.array([digamma(t[0]), digamma(t[1])]) - digamma(t[0] + t[1])

    return f, rng.uniform(0.1, 8, 2)


@kind("smooth")
def dilogarithm_by_series(rng):
    k = np.arange(1, 400)

    def f(t):
        powers = t[:, None] ** (k - 1)
        return np.sum(t[:, None] * powers / k**2), np.sum(powers / k, 1)

    return f, rng.uniform(-0.8, 0.8, 4)


@kind("smooth")
def continued_fraction(rng):
    def f(t):
        value, slope = t[-1], np.eye(6)[5] + 0 * t
        for i in range(4, -1, -1):
            slope = np.eye(6)[i] - slope / value**2
            value = t[i] + 1 / value
        return value, slope

    return f, rng.uniform(0.5, 3, 6)


@kind("smooth")
def rational_function(rng):
    x = np.linspace(-1, 1, 30)
    y = 1 / (1 + 25 * x**2)

    def f(t):
        p, q = t[0] + t[1] * x + t[2] * x**2, 1 + t[3] * x**2
        e = p / q - y
        slopes = np.array([1 / q, x / q, x**2 / q, -p * x**2 / q**2])
        return e @ e, 2 * slopes @ e

    return f, np.array([0.8, 0.1, -0.5, 6]) * rng.uniform(0.5, 1.5, 4)


@kind("smooth")
def chebyshev_series(rng):
    from numpy.polynomial import chebyshev

    c = rng.normal(size=20)
    return lambda t: (np.sum(chebyshev.chebval(t, c)), chebyshev.chebval(t, chebyshev.chebder(c))), rng.uniform(
        -1, 1, 5
    )


@kind("smooth")
def horner_of_degree_30(rng):
    c = rng.normal(size=31)
    return lambda t: (np.sum(np.polyval(c, t)), np.polyval(np.polyder(c), t)), rng.uniform(-1.3, 1.3, 5)


@kind("smooth")
def iterated_logistic_map(rng):
    def f(t):
        x, d = 0.3, 0.0
        for _ in range(12):
            x, d = t[0] * x * (1 - x), x * (1 - x) + t[0] * (1 - 2 * x) * d
        return x, np.array([d])

    return f, rng.uniform(2.5, 3.9, 1)


@kind("smooth")
def stable_softplus(rng):
    return lambda t: (np.sum(np.logaddexp(0, np.real(t))), 1 / (1 + np.exp(-t))), 20 * rng.normal(size=6)


@kind("smooth")
def gelu_by_its_tanh_form(rng):
    c = np.sqrt(2 / np.pi)

    def f(t):
        h = np.tanh(c * (t + 0.044715 * t**3))
        return np.sum(t * (1 + h) / 2), (1 + h) / 2 + t / 2 * (1 - h**2) * c * (1 + 3 * 0.044715 * t**2)

    return f, 2 * rng.normal(size=8)
