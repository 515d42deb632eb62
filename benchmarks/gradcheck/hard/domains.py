"""Functions of a restricted domain: shuffled, complex or distant parameters leave it, or raise."""

from __future__ import annotations

import math

import numpy as np

from benchmarks.gradcheck.hard.kind import kind


@kind("smooth")
def poisson_with_identity_link(rng):
    X = np.column_stack([np.ones(30), rng.uniform(-1, 1, (30, 3))])
    theta = np.array([3.0, -0.9, 0.8, 0.5])
    y = rng.poisson(X @ theta)
    return lambda t: (np.sum(X @ t - y * np.log(X @ t)), X.T @ (1 - y / (X @ t))), theta


@kind("smooth")
def gamma_with_inverse_link(rng):
    X = np.column_stack([np.ones(40), rng.uniform(-1, 1, (40, 3))])
    theta = np.array([2.0, 0.5, -0.6, 0.3])
    y = rng.gamma(2.0, 1 / (2 * X @ theta))
    return lambda t: (np.sum(y * (X @ t) - np.log(X @ t)), X.T @ (y - 1 / (X @ t))), theta


@kind("smooth")
def sum_of_square_roots(rng):
    A = np.column_stack([np.ones(20), rng.uniform(-1, 1, (20, 4))])
    return lambda t: (np.sum(np.sqrt(A @ t)), A.T @ (0.5 / np.sqrt(A @ t))), np.array([3, 0.5, -1, 0.6, 0.4])


@kind("smooth")
def powers_of_a_positive_predictor(rng):
    A = np.column_stack([np.ones(20), rng.uniform(-1, 1, (20, 4))])
    return lambda t: (np.sum((A @ t) ** 1.5), A.T @ (1.5 * np.sqrt(A @ t))), np.array([3, 0.5, -1, 0.6, 0.4])


@kind("smooth")
def log_of_what_remains(rng):
    w = rng.uniform(0.1, 1, 6)
    theta = rng.uniform(0, 1, 6)
    theta *= 0.99 / (w @ theta)
    return lambda t: (math.log(1 - w @ np.real(t)), -w / (1 - w @ np.real(t))), theta


@kind("smooth")
def garch_likelihood(rng):
    """GARCH(1, 1): the variance follows its own past and the last squared return."""
    x = rng.normal(size=100)

    def f(t):
        omega, alpha, beta = t
        s, ds = np.var(x), np.zeros(3)
        loss, slope = 0.0, np.zeros(3)
        for value in x:
            loss = loss + np.log(s) + value**2 / s
            slope = slope + (1 / s - value**2 / s**2) * ds
            s, ds = omega + alpha * value**2 + beta * s, np.array([1, value**2, s]) + beta * ds
        return loss / 2, slope / 2

    return f, np.array([0.1, 0.15, 0.7]) * rng.uniform(0.8, 1.2, 3)


@kind("smooth")
def math_log(rng):
    return (
        lambda t: (math.log(t[0]) + t[1] ** 2, [1 / t[0], 2 * t[1]]),
        np.array([0.01, 3.0]) * rng.uniform(0.5, 2, 2),
    )


@kind("smooth")
def math_square_root_of_a_circle(rng):
    def f(t):
        x, y = float(np.real(t[0])), float(np.real(t[1]))
        return math.sqrt(1 - x * x) * y, np.array([-x / math.sqrt(1 - x * x) * y, math.sqrt(1 - x * x)])

    return f, np.array([0.95 + 0.04 * rng.random(), rng.normal()])


@kind("smooth")
def math_acos(rng):
    def f(t):
        return math.acos(t[0]) + t[1] ** 3, np.array([-1 / math.sqrt(1 - t[0] ** 2), 3 * t[1] ** 2])

    return f, np.array([0.99 + 0.009 * rng.random(), rng.normal()])


@kind("smooth")
def math_of_scalars(rng):
    def f(t):
        e, c, s = math.exp(t[0]), math.cos(t[1]), math.sin(t[1])
        return e * c, [e * c, -e * s]

    return f, rng.normal(size=2)


@kind("smooth")
def validated_positive(rng):
    def f(t):
        if not (np.real(t) > 0).all():
            raise ValueError("scales must be positive")
        return np.sum(np.log(t) ** 2), 2 * np.log(t) / t

    return f, rng.uniform(0.01, 5, 50)


@kind("smooth")
def validated_order_of_knots(rng):
    def f(t):
        if not (np.diff(np.real(t)) > 0).all():
            raise ValueError("knots must increase")
        d = np.diff(t)
        return np.sum(d**3), np.append(0, 3 * d**2) - np.append(3 * d**2, 0)

    return f, np.sort(rng.uniform(0, 1, 8)) + 0.02 * np.arange(8)


@kind("smooth")
def validated_interval(rng):
    def f(t):
        if not np.real(t[0]) < np.real(t[1]):
            raise ValueError("low must be below high")
        width = t[1] - t[0]
        return 1 / width + t[0] ** 2, np.array([1 / width**2 + 2 * t[0], -1 / width**2])

    low = rng.normal()
    return f, np.array([low, low + rng.uniform(0.05, 1)])


@kind("smooth")
def validated_unit_ball(rng):
    def f(t):
        if not np.sum(np.real(t) ** 2) < 1:
            raise ValueError("outside the unit ball")
        rest = 1 - np.sum(t**2)
        return -np.log(rest), 2 * t / rest

    theta = rng.normal(size=5)
    return f, 0.97 * theta / np.linalg.norm(theta)


@kind("smooth")
def validated_simplex(rng):
    """Probabilities with a little room: within 1e-3 of summing to one."""

    def f(t):
        if not (abs(np.sum(t) - 1) < 1e-3 and (np.real(t) > 0).all()):
            raise ValueError("not a distribution")
        return np.sum(t * np.log(t)), np.log(t) + 1

    return f, rng.dirichlet(np.full(6, 2.0))


@kind("smooth")
def cholesky_of_theta(rng):
    """The likelihood of a Gaussian process whose covariance is the parameter."""
    S, y = rng.normal(size=(5, 5)), rng.normal(size=5)

    def f(M):
        L = np.linalg.cholesky((M + M.T) / 2)
        alpha = np.linalg.solve(M, y)
        loss = np.log(np.diag(L)).sum() + 0.5 * y @ np.linalg.solve((M + M.T) / 2, y)
        return loss, 0.5 * np.linalg.inv(M) - 0.5 * np.outer(alpha, alpha)

    return f, S @ S.T + np.eye(5)


@kind("smooth")
def log_determinant_of_a_covariance(rng):
    B = rng.normal(size=(5, 5))

    def f(t):
        S = B @ np.diag(np.exp(t)) @ B.T + np.eye(5)
        return np.log(np.linalg.det(S)), np.exp(t) * np.diag(B.T @ np.linalg.solve(S, B))

    return f, rng.normal(size=5)


@kind("smooth")
def log_determinant_of_theta(rng):
    S = rng.normal(size=(5, 5))
    return lambda M: (np.log(np.linalg.det(M)), np.linalg.inv(M).T), S @ S.T + np.eye(5)


@kind("smooth")
def dirichlet_likelihood(rng):
    from scipy.special import digamma, gammaln

    x = rng.dirichlet(np.ones(4), size=20)

    def f(t):
        if (t <= 0).any():
            raise ValueError("concentrations must be positive")
        loss = np.sum(gammaln(t)) - gammaln(t.sum()) - np.mean(np.log(x), 0) @ (t - 1)
        return loss, digamma(t) - digamma(t.sum()) - np.mean(np.log(x), 0)

    return f, rng.uniform(0.05, 3, 4)


@kind("smooth")
def triangular_solve(rng):
    from scipy.linalg import solve_triangular

    y = rng.normal(size=4)

    def f(L):
        x = solve_triangular(L, y, lower=True)
        z = solve_triangular(L, x, lower=True, trans=1)
        return x @ x, np.tril(-2 * np.outer(z, x))

    return f, np.tril(rng.normal(size=(4, 4))) + 3 * np.eye(4)


@kind("kinked")
def table_lookup_inside_its_range(rng):
    table = rng.normal(size=64)

    def f(t):
        i = np.floor(np.real(t)).astype(int)
        if (i < 0).any() or (i > 62).any():
            raise IndexError("outside the table")
        part = t - i
        return np.sum(table[i] * (1 - part) + table[i + 1] * part), table[i + 1] - table[i]

    return f, rng.uniform(0.2, 62.8, 6)


@kind("smooth")
def log_barrier_near_the_wall(rng):
    A = rng.normal(size=(8, 3))
    theta = rng.normal(size=3)
    b = A @ theta + np.append(1e-4, rng.uniform(0.1, 1, 7))
    c = rng.normal(size=3)

    def f(t):
        slack = b - A @ t
        return c @ t - 0.01 * np.sum(np.log(slack)), c + 0.01 * A.T @ (1 / slack)

    return f, theta


@kind("smooth", (1e-3,), (1e-8,))
def entropy_near_zero(rng, small):
    theta = rng.uniform(0.1, 1, 5)
    theta[1] = small
    return lambda t: (-np.sum(t * np.log(t)), -np.log(t) - 1), theta


@kind("smooth", (1e-4,), (1e-8,))
def square_root_at_small_values(rng, small):
    theta = rng.uniform(0.1, 1, 5)
    theta[1] = small
    return lambda t: (np.sum(np.sqrt(t)), 0.5 / np.sqrt(t)), theta


@kind("smooth")
def negative_log_near_the_edge(rng):
    theta = rng.uniform(-0.5, 0.5, 4)
    theta[0] = 1 - 1e-9
    return lambda t: (-np.sum(np.log(1 - np.abs(t))), np.sign(t) / (1 - np.abs(t))), theta


@kind("smooth")
def infinite_outside(rng):
    """A penalty that is infinite, not an error, outside the box."""

    def f(t):
        inside = bool((np.abs(t) < 1).all())
        return (-np.sum(np.log(1 - np.real(t) ** 2)) if inside else np.inf), 2 * t / (1 - t**2)

    return f, rng.uniform(-0.99, 0.99, 5)
