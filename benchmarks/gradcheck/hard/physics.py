"""Mechanics, dynamics, control, geometry and constrained optimisation."""

from __future__ import annotations

import numpy as np

from benchmarks.gradcheck.hard.kind import kind


@kind("smooth")
def lennard_jones_cluster(rng):
    grid = np.array([[i, j, k] for i in range(2) for j in range(2) for k in range(2)], float)

    def f(X):
        d = X[:, None] - X
        r2 = np.sum(d**2, -1) + np.eye(8)
        u = 1 / r2**3
        off = 1 - np.eye(8)
        back = off * (-12 * u**2 + 6 * u) / r2
        return 2 * np.sum(off * (u**2 - u)), 4 * np.sum(back[..., None] * d, 1)

    return f, 1.1 * grid + 0.05 * rng.normal(size=(8, 3))


@kind("smooth")
def leapfrog_orbit(rng):
    """Two steps of a planet in the field of a star; distance from the aim, by the adjoint of each step."""
    aim = rng.normal(size=2)

    def f(t):
        x, v, h, steps = t[:2], t[2:], 0.05, []
        for _ in range(20):
            x = x + h * v
            steps.append(x)
            v = v - h * x / np.sum(x**2) ** 1.5
        dx, dv = 2 * (x - aim), 0 * v
        for y in reversed(steps):
            r2 = np.sum(y**2)
            dx = dx - h * (dv / r2**1.5 - 3 * y * (y @ dv) / r2**2.5)
            dv = dv + h * dx
        return np.sum((x - aim) ** 2), np.concatenate([dx, dv])

    return f, np.array([1, 0, 0, 1]) + 0.1 * rng.normal(size=4)


@kind("smooth")
def lotka_volterra(rng):
    """Euler steps of predator and prey, by the tangents of the four rates."""

    def f(t):
        a, b, c, d = t
        x, y, dx, dy, h = 1.0, 0.5, np.zeros(4), np.zeros(4), 0.02
        for _ in range(100):
            fx = dx * (a - b * y) - b * x * dy + np.array([x, -x * y, 0, 0])
            fy = dy * (d * x - c) + d * y * dx + np.array([0, 0, -y, x * y])
            x, y, dx, dy = x + h * x * (a - b * y), y + h * y * (d * x - c), dx + h * fx, dy + h * fy
        return x**2 + y, 2 * x * dx + dy

    return f, np.array([1.0, 0.8, 0.9, 0.7]) * rng.uniform(0.8, 1.2, 4)


@kind("smooth")
def ising_energy(rng):
    """Log partition function of ten spins on a ring, by the transfer matrix; theta = (coupling, field)."""

    def f(t):
        J, h = t
        s = np.array([1.0, -1.0])
        both, one = np.outer(s, s), (s[:, None] + s) / 2
        T = np.exp(J * both + h * one)
        P = np.linalg.matrix_power(T, 9)
        Z = np.trace(P @ T)
        return np.log(Z), np.array([10 * np.trace(P @ (T * S)) / Z for S in (both, one)])

    return f, rng.normal(size=2)


@kind("smooth")
def rotation_by_quaternion(rng):
    p, y = rng.normal(size=3), rng.normal(size=3)

    def rotate(q):
        w, v = q[0], q[1:]
        return (w**2 - v @ v) * p + 2 * v * (v @ p) + 2 * w * np.cross(v, p)

    def f(q):
        w, v, n = q[0], q[1:], q @ q
        e = rotate(q) / n - y
        by_w = 2 * w * p + 2 * np.cross(v, p)
        cross = np.array([[0, p[2], -p[1]], [-p[2], 0, p[0]], [p[1], -p[0], 0]])
        by_v = -2 * np.outer(p, v) + 2 * np.eye(3) * (v @ p) + 2 * np.outer(v, p) + 2 * w * cross
        J = np.column_stack([by_w, by_v]) / n - np.outer(rotate(q), 2 * q) / n**2
        return e @ e, 2 * J.T @ e

    return f, rng.normal(size=4)


@kind("smooth")
def bezier_curve(rng):
    s = np.linspace(0, 1, 15)[:, None]
    B = np.hstack([(1 - s) ** 3, 3 * s * (1 - s) ** 2, 3 * s**2 * (1 - s), s**3])
    y = rng.normal(size=(15, 2))

    def f(P):
        e = B @ P - y
        q = np.sqrt(1 + np.sum(e**2, 1, keepdims=True))
        return np.sum(q), B.T @ (e / q)

    return f, rng.normal(size=(4, 2))


@kind("smooth")
def robot_arm(rng):
    aim = rng.normal(size=2)

    def f(t):
        a = np.cumsum(t)
        e = np.array([np.sum(np.cos(a)), np.sum(np.sin(a))]) - aim
        by_a = 2 * (-e[0] * np.sin(a) + e[1] * np.cos(a))
        return e @ e, np.cumsum(by_a[::-1])[::-1]

    return f, rng.normal(size=5)


@kind("smooth")
def rendering_of_a_soft_disc(rng):
    g = np.linspace(-1, 1, 12)
    X, Y = np.meshgrid(g, g)
    image = rng.random((12, 12))

    def f(t):
        r = np.sqrt((X - t[0]) ** 2 + (Y - t[1]) ** 2 + 1e-6)
        p = 1 / (1 + np.exp((r - t[2]) / 0.05))
        d = 2 * (p - image) * p * (1 - p) / 0.05
        return np.sum((p - image) ** 2), np.array(
            [np.sum(d * (X - t[0]) / r), np.sum(d * (Y - t[1]) / r), np.sum(d)]
        )

    return f, np.array([0.1, -0.2, 0.5]) + 0.1 * rng.normal(size=3)


@kind("kinked")
def rendering_with_shading_at_a_horizon(rng):
    """Lambert shading of facets: zero beyond the horizon."""
    N = rng.normal(size=(60, 3))
    N /= np.linalg.norm(N, axis=1, keepdims=True)
    image = rng.random(60)

    def f(t):
        shade = np.maximum(N @ t, 0)
        return np.sum((shade - image) ** 2), 2 * N.T @ ((shade - image) * (N @ t > 0))

    return f, rng.normal(size=3)


@kind("smooth")
def linear_quadratic_control(rng):
    """Cost of ten controls, by the adjoint of the plant."""
    A, B, start = np.array([[1, 0.1], [-0.2, 0.95]]), np.array([0, 0.5]), rng.normal(size=2)

    def f(u):
        x, states = start, []
        for value in u:
            x = A @ x + B * value
            states.append(x)
        lam, slope = np.zeros(2), 0 * u
        for k in range(9, -1, -1):
            lam = 2 * states[k] + A.T @ lam
            slope[k] = B @ lam + 0.2 * u[k]
        return sum(y @ y for y in states) + 0.1 * np.sum(u**2), slope

    return f, rng.normal(size=10)


@kind("smooth")
def augmented_lagrangian(rng):
    A = rng.normal(size=(2, 5))

    def f(t):
        c = A @ t**2 - 1
        lam = np.array([3.0, -2])
        return np.sum(np.cos(t)) + lam @ c + 50 * c @ c, -np.sin(t) + 2 * t * (A.T @ (lam + 100 * c))

    return f, rng.normal(size=5)


@kind("kinked")
def quadratic_penalty_of_inequalities(rng):
    A, b = rng.normal(size=(20, 4)), rng.normal(size=20)

    def f(t):
        over = np.maximum(A @ t - b, 0)
        return np.sum(t) + 1e4 * np.sum(over**2), 1 + 2e4 * A.T @ over

    return f, rng.normal(size=4)


@kind("kinked")
def exact_penalty_of_inequalities(rng):
    A, b = rng.normal(size=(200, 4)), rng.normal(size=200)

    def f(t):
        over = A @ t - b
        return np.sum(t**2) + 100 * np.sum(np.maximum(over, 0)), 2 * t + 100 * A.T @ (over > 0)

    return f, rng.normal(size=4)


@kind("smooth")
def heat_equation(rng):
    """Diffusivity of five cells, twenty explicit steps, by the adjoint."""
    u0, y = rng.normal(size=6), rng.normal(size=6)

    def f(k):
        u, steps = u0, []
        for _ in range(20):
            steps.append(u)
            flux = 0.1 * k * np.diff(u)
            u = u + np.append(flux, 0) - np.append(0, flux)
        lam, slope = 2 * (u - y), 0 * k
        for v in reversed(steps):
            jump = lam[:-1] - lam[1:]
            slope = slope + 0.1 * jump * np.diff(v)
            back = 0.1 * k * jump
            lam = lam + np.append(0, back) - np.append(back, 0)
        return np.sum((u - y) ** 2), slope

    return f, rng.uniform(0.5, 2, 5)


@kind("smooth")
def black_scholes(rng):
    """Call price by volatility and rate."""
    from scipy.stats import norm

    def f(t):
        s, r, T = t[0], t[1], 0.5
        d1 = (np.log(100 / 95) + (r + s**2 / 2) * T) / (s * np.sqrt(T))
        d2 = d1 - s * np.sqrt(T)
        price = 100 * norm.cdf(d1) - 95 * np.exp(-r * T) * norm.cdf(d2)
        return price, np.array([100 * norm.pdf(d1) * np.sqrt(T), 95 * T * np.exp(-r * T) * norm.cdf(d2)])

    return f, np.array([0.2, 0.03]) * rng.uniform(0.7, 1.3, 2)
