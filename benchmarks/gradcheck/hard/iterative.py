"""Losses found by iteration, to a tolerance: root finders, fixed points, solvers of equations and of ODEs."""

from __future__ import annotations

import math

import numpy as np
from scipy.integrate import quad, solve_ivp
from scipy.optimize import brentq, newton
from scipy.sparse.linalg import cg

from benchmarks.gradcheck.hard.kind import kind


@kind("rough", (1e-6,), (1e-8,), (1e-9,), (1e-12,))
def root_by_brentq(rng, xtol):
    def f(t):
        x = np.array([brentq(lambda x, ti=ti: x**3 + x - ti, -20, 20, xtol=xtol) for ti in np.real(t)])
        return np.sum(x**2), 2 * x / (3 * x**2 + 1)

    return f, rng.normal(size=8)


@kind("rough", (1e-8,))
def root_by_newton(rng, tol):
    def f(t):
        x = np.array([newton(lambda x, ti=ti: x**3 + x - ti, 1.0, tol=tol) for ti in np.real(t)])
        return np.sum(x), 1 / (3 * x**2 + 1)

    return f, rng.normal(size=5)


@kind("rough", (1e-4,), (1e-6,), (1e-8,), (1e-12,))
def fixed_point(rng, tol):
    """x = tanh(Ax + theta), with the implicit gradient."""
    A = 0.2 * rng.normal(size=(4, 4))

    def f(t):
        x = np.zeros(4)
        for _ in range(500):
            last, x = x, np.tanh(A @ x + t)
            if np.max(np.abs(x - last)) < tol:
                break
        D = 1 - np.tanh(A @ x + t) ** 2
        return np.sum(x**2), D * np.linalg.solve((np.eye(4) - D[:, None] * A).T, 2 * x)

    return f, rng.normal(size=4)


@kind("rough", (1e-5,), (1e-8,))
def conjugate_gradients(rng, rtol):
    S, b = rng.normal(size=(6, 6)), rng.normal(size=6)
    M = S @ S.T + np.eye(6)

    def f(t):
        x = cg(M + np.diag(np.real(t) ** 2), b, rtol=rtol)[0]
        return b @ x, -2 * np.real(t) * x**2

    return f, rng.normal(size=6)


@kind("rough", (1e-6,), (1e-8,), (1e-10,))
def ode_by_solve_ivp(rng, rtol):
    """A damped oscillator with its sensitivities."""

    def f(t):
        k, c = (float(value) for value in np.real(t))

        def rhs(_, y):
            return [
                y[1],
                -k * y[0] - c * y[1],
                y[3],
                -y[0] - k * y[2] - c * y[3],
                y[5],
                -y[1] - k * y[4] - c * y[5],
            ]

        y = solve_ivp(rhs, (0, 3), [1, 0, 0, 0, 0, 0], rtol=rtol, atol=rtol * 1e-3).y[:, -1]
        return y[0], np.array([y[2], y[4]])

    return f, rng.uniform(0.5, 2, 2)


@kind("smooth")
def ode_by_fixed_steps_of_runge_kutta(rng):
    """x' = −p0 x + p1 sin x in 20 steps of RK4, by the tangent of each step."""

    def f(t):
        x, dx, h = 1.0 + 0 * t[0], np.zeros(2), 0.1

        def slope(x, dx):
            return -t[0] * x + t[1] * np.sin(x), np.array([-x, np.sin(x)]) + (-t[0] + t[1] * np.cos(x)) * dx

        for _ in range(20):
            k1, d1 = slope(x, dx)
            k2, d2 = slope(x + h / 2 * k1, dx + h / 2 * d1)
            k3, d3 = slope(x + h / 2 * k2, dx + h / 2 * d2)
            k4, d4 = slope(x + h * k3, dx + h * d3)
            x, dx = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4), dx + h / 6 * (d1 + 2 * d2 + 2 * d3 + d4)
        return x**2, 2 * x * dx

    return f, rng.uniform(0.5, 2, 2)


@kind("smooth")
def integral_by_quad(rng):
    def f(t):
        a, b = (float(value) for value in np.real(t))

        def integral(weight):
            return quad(lambda x: weight(x) * math.exp(-a * x), 0, 5)[0]

        slope = [integral(lambda x: -x * math.sin(b * x)), integral(lambda x: x * math.cos(b * x))]
        return integral(lambda x: math.sin(b * x)), np.array(slope)

    return f, rng.uniform(0.5, 2, 2)


@kind("smooth")
def kepler_equation(rng):
    """E − e sin E = M by Newton to rounding, for the position on an orbit."""

    def f(t):
        e, M = t[0], t[1]
        E = M
        for _ in range(50):
            E = E - (E - e * np.sin(E) - M) / (1 - e * np.cos(E))
        r = 1 - e * np.cos(E)
        by_e, by_M = np.sin(E) / r, 1 / r
        return r, np.array([-np.cos(E) + e * np.sin(E) * by_e, e * np.sin(E) * by_M])

    return f, np.array([rng.uniform(0.1, 0.8), rng.uniform(0.3, 2.5)])


@kind("smooth", (300,))
def sinkhorn(rng, iterations):
    """Entropic transport cost by theta = the cost matrix: its slope is the plan."""
    a, b, epsilon = rng.dirichlet(np.full(4, 5.0)), rng.dirichlet(np.full(5, 5.0)), 0.5

    def f(C):
        K = np.exp(-C / epsilon)
        u, v = np.ones(4), np.ones(5)
        for _ in range(iterations):
            u = a / (K @ v)
            v = b / (K.T @ u)
        P = u[:, None] * K * v
        return epsilon * (a @ np.log(u) + b @ np.log(v)), P

    return f, rng.uniform(0, 1, (4, 5))


@kind("rough", (1e-7,))
def mean_field_magnetisation(rng, tol):
    """Free energy of an Ising model at its mean-field fixed point."""
    J = 0.15 * np.abs(rng.normal(size=(5, 5)))
    J = (J + J.T) / 2

    def f(t):
        m = np.zeros(5)
        for _ in range(1000):
            last, m = m, np.tanh(J @ m + np.real(t))
            if np.max(np.abs(m - last)) < tol:
                break
        p, q = (1 + m) / 2, (1 - m) / 2
        return -m @ J @ m / 2 - np.real(t) @ m + np.sum(p * np.log(p) + q * np.log(q)), -m

    return f, 0.5 * rng.normal(size=5)


@kind("smooth")
def implicit_layer(rng):
    """z = cos(Wz) / 3 + x, iterated to rounding; the gradient by the implicit function theorem, for W and x."""

    def f(p):
        W, x = p["W"], p["x"]
        z = x
        for _ in range(80):
            z = np.cos(W @ z) / 3 + x
        J = -np.sin(W @ z)[:, None] / 3 * W
        lam = np.linalg.solve((np.eye(3) - J).T, 2 * z)
        return np.sum(z**2), {"W": np.outer(-lam * np.sin(W @ z) / 3, z), "x": lam}

    return f, {"W": 0.5 * rng.normal(size=(3, 3)), "x": rng.normal(size=3)}


@kind("rough")
def ridge_by_lbfgs(rng):
    """The optimal value of an inner fit that stops early; its slope by the envelope theorem."""
    from scipy.optimize import minimize

    A, b = rng.normal(size=(20, 4)), rng.normal(size=20)

    def f(t):
        lam = np.exp(np.real(t))

        def inner(w):
            e = A @ w - b
            return e @ e + lam @ w**2, 2 * A.T @ e + 2 * lam * w

        result = minimize(inner, np.zeros(4), jac=True, method="L-BFGS-B", options={"gtol": 1e-5})
        return result.fun, lam * result.x**2

    return f, rng.normal(size=4)
