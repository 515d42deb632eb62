"""Sums of absolute values, hinges, maxima: slopes that jump, near theta or at it."""

from __future__ import annotations

import numpy as np

from benchmarks.gradcheck.hard.kind import kind


@kind("kinked", (20, 8), (100, 8), (300, 8), (1000, 8), (5000, 8), (20000, 8), (300, 30))
def mean_absolute_error(rng, n, p):
    A, b = rng.normal(size=(n, p)), rng.normal(size=n)
    return lambda t: (np.mean(np.abs(A @ t - b)), A.T @ np.sign(A @ t - b) / n), rng.normal(size=p)


@kind("kinked", (50, 20), (200, 10))
def relu_network_with_absolute_error(rng, n, H):
    X, y = rng.normal(size=(n, 5)), rng.normal(size=n)

    def f(t):
        W, v, b = t[: 5 * H].reshape(5, H), t[5 * H : 6 * H], t[6 * H :]
        a = X @ W + b
        h = np.maximum(a, 0)
        e = h @ v - y
        s = np.sign(e) / n
        d = np.outer(s, v) * (a > 0)
        return np.mean(np.abs(e)), np.concatenate([(X.T @ d).ravel(), h.T @ s, d.sum(0)])

    return f, rng.normal(size=7 * H)


@kind("kinked", at_kink=lambda t: t == 0)
def lasso_with_half_zeros(rng):
    X, y = rng.normal(size=(40, 12)), rng.normal(size=40)

    def f(t):
        e = X @ t - y
        return np.mean(e**2) + 0.1 * np.sum(np.abs(t)), 2 * X.T @ e / 40 + 0.1 * np.sign(t)

    return f, rng.normal(size=12) * (rng.random(12) < 0.5)


@kind("kinked", (12,), (100,), (4000,), at_kink=lambda t: t == 0)
def absolute_values_with_half_zeros(rng, n):
    theta = rng.normal(size=n) * (rng.random(n) < 0.5)
    theta[0] = 1.5
    return lambda t: (np.sum(np.abs(t)), np.sign(t)), theta


@kind("kinked", (3500,), (6000,))
def absolute_values_away_from_zero(rng, n):
    return lambda t: (np.sum(np.abs(t)), np.sign(t)), rng.normal(size=n)


@kind("kinked", at_kink=lambda t: t == 0)
def group_lasso_at_zero(rng):
    X, y = rng.normal(size=(40, 12)), rng.normal(size=40)

    def f(t):
        e, groups = X @ t - y, t.reshape(4, 3)
        norms = np.linalg.norm(groups, axis=1)
        slope = np.divide(groups, norms[:, None], out=np.zeros_like(groups), where=norms[:, None] > 0)
        return np.mean(e**2) + 5 * np.sum(norms), 2 * X.T @ e / 40 + 5 * slope.ravel()

    theta = rng.normal(size=12)
    theta[3:6] = 0
    return f, theta


@kind("kinked")
def quantile_regression(rng):
    A, b = rng.normal(size=(200, 6)), rng.normal(size=200)

    def f(t):
        e = b - A @ t
        slope = np.where(e > 0, 0.3, -0.7)
        return np.sum(slope * e), -A.T @ slope

    return f, rng.normal(size=6)


@kind("kinked")
def support_vector_machine(rng):
    A, y = rng.normal(size=(200, 6)), rng.choice([-1.0, 1.0], 200)

    def f(t):
        m = y * (A @ t)
        loss = np.mean(np.maximum(1 - m, 0)) + 0.01 * np.linalg.norm(t) ** 2
        return loss, -A.T @ (y * (m < 1)) / 200 + 0.02 * t

    return f, rng.normal(size=6)


def _variation(t):
    s = np.sign(np.diff(t))
    return np.sum(np.abs(np.diff(t))), np.append(0, s) - np.append(s, 0)


@kind("kinked", at_kink=lambda t: np.append(False, np.diff(t) == 0) | np.append(np.diff(t) == 0, False))
def total_variation_with_ties(rng):
    def f(t):
        loss, slope = _variation(t)
        return loss + np.sum((t - 1) ** 2), slope + 2 * (t - 1)

    theta = np.round(rng.normal(size=15))
    theta[0] = theta[1] + 3
    return f, theta


@kind("kinked")
def total_variation(rng):
    weights = rng.normal(size=15)

    def f(t):
        loss, slope = _variation(t)
        return loss + weights @ t, slope + weights

    return f, rng.normal(size=15)


@kind("kinked", (1e-12,), (1e-9,), (1e-6,))
def log_absolute_near_zero(rng, distance):
    theta = rng.normal(size=4)
    theta[1] = distance * rng.choice([-1, 1])
    return lambda t: (np.sum(np.log(np.abs(t))), 1 / t), theta


@kind("kinked", (1e-14,), (1e-8,))
def sqrt_absolute_near_zero(rng, distance):
    theta = rng.normal(size=4)
    theta[1] = distance
    return lambda t: (np.sum(np.sqrt(np.abs(t))), np.sign(t) / (2 * np.sqrt(np.abs(t)))), theta


@kind("kinked", (1e-6,), (1e-9,), (1e-13,))
def next_to_a_kink(rng, distance):
    theta = rng.normal(size=5)
    theta[2] = distance
    weights = rng.uniform(1, 2, 5)

    def f(t):
        return np.sum(np.where(t > 0, 3, -1) * weights * t), np.where(t > 0, 3, -1) * weights

    return f, theta


@kind("kinked", (7,), (8,))
def squared_median(rng, n):
    def f(t):
        m = np.median(t)
        weights = np.zeros(n)
        weights[np.argsort(t)[(n - 1) // 2 : n // 2 + 1]] = 1
        return m**2, 2 * m * weights / weights.sum()

    return f, rng.normal(size=n) + 1


@kind("kinked", at_kink=lambda t: t == t.max())
def maximum_with_ties(rng):
    def f(t):
        top = t == t.max()
        return t.max() + np.sum(t**2), top / top.sum() + 2 * t

    theta = rng.normal(size=8)
    theta[[1, 4]] = theta.max() + 0.5
    return f, theta


@kind("kinked")
def maximum(rng):
    return lambda t: (t.max() ** 2 + np.sum(t), 2 * t.max() * (t == t.max()) + 1), rng.normal(size=8)


@kind("kinked", at_kink=lambda t: np.isin(t, [3.0, 3.5]))
def sorted_weights_with_ties(rng):
    weights = np.arange(1.0, 9)

    def f(t):
        order = np.argsort(t, kind="stable")
        slope = np.empty(8)
        slope[order] = weights
        for value in np.unique(t):
            slope[t == value] = slope[t == value].mean()
        return weights @ t[order], slope

    theta = rng.normal(size=8)
    theta[[0, 2, 5]] = 3.0
    return f, theta


@kind("kinked", at_kink=lambda t: np.abs(t) == 1)
def clipped(rng):
    theta = rng.normal(size=9)
    theta[[0, 3]] = 1, -1

    def f(t):
        c = np.clip(t, -1, 1)
        return np.sum(c**2) + np.sum(t), 2 * c * (np.abs(t) < 1) + 1

    return f, theta


@kind("kinked", at_kink=lambda t: np.isin(t, [-1, 1]))
def chosen_by_where(rng):
    theta = rng.normal(size=9)
    theta[[0, 3]] = 1, -1
    return lambda t: (np.sum(np.where(t > 1, t**2, t)), np.where(t > 1, 2 * t, 1)), theta


@kind("kinked")
def max_pooling(rng):
    weights = rng.normal(size=(4, 4))

    def f(t):
        blocks = t.reshape(4, 2, 4, 2).transpose(0, 2, 1, 3).reshape(4, 4, 4)
        top = blocks == blocks.max(-1, keepdims=True)
        slope = (weights[..., None] * top).reshape(4, 4, 2, 2).transpose(0, 2, 1, 3).reshape(8, 8)
        return np.sum(weights * blocks.max(-1)), slope

    return f, rng.normal(size=(8, 8))


@kind("kinked")
def monte_carlo_option_price(rng):
    """A call option by 1,000 fixed draws: many kinks where a path ends at the strike."""
    Z = rng.normal(size=1000)

    def f(t):
        e = np.exp(t[0] + t[1] * Z)
        return np.mean(np.maximum(e - 1, 0)), np.array([np.mean(e * (e > 1)), np.mean(e * Z * (e > 1))])

    return f, np.array([0.1, 0.3]) + 0.05 * rng.normal(size=2)


@kind("kinked", (50,), (5000,))
def interpolated_table(rng, knots):
    x = np.linspace(-4, 4, knots)
    y = np.sin(x) + rng.normal(size=knots) * (0.5 if knots < 100 else 0)

    def f(t):
        i = np.clip(np.searchsorted(x, t) - 1, 0, knots - 2)
        return np.sum(np.interp(t, x, y)), (np.diff(y) / np.diff(x))[i]

    return f, rng.uniform(-3.9, 3.9, size=6)


@kind("kinked")
def least_absolute_values_at_the_optimum(rng):
    """At the median of five numbers, whose slope may be anything between −1 and 1, beside a second parameter."""
    x = np.sort(rng.normal(size=5))

    def f(t):
        return np.sum(np.abs(x - t[0])) + t[1] ** 2, np.array([np.sum(np.sign(t[0] - x)), 2 * t[1]])

    return f, np.array([x[2], 1.5])


@kind("kinked")
def huber_at_the_joint(rng):
    theta = rng.normal(size=8)
    theta[[0, 1]] = 1, -1

    def f(t):
        small = np.abs(t) <= 1
        return np.sum(np.where(small, t**2 / 2, np.abs(t) - 0.5)), np.where(small, t, np.sign(t))

    return f, theta


@kind("kinked", (0.0,), (1e-8,))
def absolute_value_to_the_power_1_5(rng, distance):
    theta = rng.normal(size=6)
    theta[2] = distance
    return lambda t: (np.sum(np.abs(t) ** 1.5), 1.5 * np.sign(t) * np.sqrt(np.abs(t))), theta


@kind("kinked", (0.0,), (1e-6,))
def power_four_thirds(rng, distance):
    theta = rng.normal(size=6)
    theta[2] = distance
    return lambda t: (np.sum(np.cbrt(t) ** 4), 4 / 3 * np.cbrt(t)), theta


@kind("kinked")
def squared_hinge(rng):
    A, y = rng.normal(size=(100, 6)), rng.choice([-1.0, 1.0], 100)

    def f(t):
        short = np.maximum(1 - y * (A @ t), 0)
        return np.sum(short**2), -2 * A.T @ (y * short)

    return f, rng.normal(size=6)
