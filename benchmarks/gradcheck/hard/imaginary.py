"""Terms that drop the imaginary part, large and small: the complex step does not see them."""

from __future__ import annotations

import numpy as np

from benchmarks.gradcheck.hard.kind import kind

SMALL = (1e-5,), (1e-6,), (1e-7,), (1e-9,)


@kind("smooth", *SMALL)
def small_norm(rng, weight):
    A = rng.normal(size=(12, 8))

    def f(t):
        loss = 0.5 * np.sum((A @ t) ** 2) + weight * np.linalg.norm(t) ** 2
        return loss, A.T @ (A @ t) + 2 * weight * t

    return f, rng.normal(size=8)


@kind("smooth", *SMALL)
def small_absolute_values(rng, weight):
    A = rng.normal(size=(12, 8))

    def f(t):
        return 0.5 * np.sum((A @ t) ** 2) + weight * np.sum(np.abs(t)), A.T @ (A @ t) + weight * np.sign(t)

    return f, rng.normal(size=8)


@kind("smooth", *SMALL)
def small_vdot(rng, weight):
    A = rng.normal(size=(12, 8))

    def f(t):
        return 0.5 * np.sum((A @ t) ** 2) + weight * np.vdot(t, t).real, A.T @ (A @ t) + 2 * weight * t

    return f, rng.normal(size=8)


@kind("smooth", (1e-6,), (1e-7,), (1e-9,))
def solve_with_a_small_slogdet(rng, weight):
    S, y = rng.normal(size=(4, 4)), rng.normal(size=4)

    def f(M):
        x = np.linalg.solve(M, y)
        slope = -2 * np.outer(np.linalg.solve(M.T, x), x) + weight * np.linalg.inv(M).T
        return np.sum(x**2) + weight * np.linalg.slogdet(M)[1], slope

    return f, S @ S.T + np.eye(4)


@kind("smooth")
def tensor_under_another_tensors_loss(rng):
    """The second tensor's term is 1e-7 of the loss, and drops the imaginary part."""

    def f(p):
        return 1e7 * np.sum(p["w"] ** 2) + np.abs(p["b"]) ** 2, {"w": 2e7 * p["w"], "b": 2 * p["b"]}

    return f, {"w": rng.normal(size=2), "b": rng.normal()}


@kind("smooth")
def real_part_of_one_entry(rng):
    weights = rng.normal(size=20)

    def f(t):
        loss = np.sum(np.exp(weights * t)) + 1e-4 * np.real(t[7]) ** 2
        slope = weights * np.exp(weights * t)
        slope[7] += 2e-4 * t[7]
        return loss, slope

    return f, rng.normal(size=20)


@kind("smooth")
def everything_by_absolute_values(rng):
    return lambda t: (np.sum(np.abs(t) ** 3), 3 * t * np.abs(t)), rng.normal(size=6)


@kind("smooth")
def float_of_the_loss(rng):
    A = rng.normal(size=(6, 4))
    return lambda t: (float(np.sum(np.sin(A @ np.real(t)))), A.T @ np.cos(A @ np.real(t))), rng.normal(size=4)


@kind("smooth")
def hermitian_product(rng):
    """x^H M x: the conjugate makes no difference for real x."""
    M = rng.normal(size=(5, 5))
    return lambda t: (np.real(t.conj() @ M @ t), (M + M.T) @ t), rng.normal(size=5)


@kind("smooth")
def complex_valued_loss(rng):
    weights = 1 + np.arange(8.0)

    def f(t):
        F = np.fft.fft(t)
        return (F * F.conj() * weights).sum(), 2 * np.real(np.fft.fft(weights * F.conj()))

    return f, rng.normal(size=8)


@kind("kinked")
def integer_gradient(rng):
    return lambda t: (np.sum(np.maximum(t, 0)), (t > 0).astype(int)), rng.normal(size=7) + 0.3


@kind("kinked")
def boolean_gradient(rng):
    theta = rng.normal(size=7)
    theta[0] = 1
    return lambda t: (np.sum(np.maximum(t, 0)), t > 0), theta


@kind("smooth")
def integer_constant_gradient(rng):
    weights = rng.integers(1, 9, 6)
    return lambda t: (weights @ t, weights), rng.normal(size=6)


@kind("smooth")
def gradient_as_a_list(rng):
    return lambda t: (t[0] * t[1] + t[2] ** 2, [t[1], t[0], 2 * t[2]]), rng.normal(size=3)
