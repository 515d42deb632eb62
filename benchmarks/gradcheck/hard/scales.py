"""Parameters and losses of extreme or mixed size, and cancellation inside f."""

from __future__ import annotations

import numpy as np

from benchmarks.gradcheck.hard.kind import kind


@kind("smooth")
def mixed_scales_in_one_array(rng):
    s = 10.0 ** rng.uniform(-8, 8, 6)
    return lambda t: (np.sum((t / s) ** 2), 2 * t / s**2), s * rng.normal(size=6)


@kind("smooth")
def mixed_scales_in_a_dict(rng):
    a, b = 1e-8 * rng.normal(size=3), 1e8 * rng.normal(size=3)

    def f(p):
        loss = np.sum((p["a"] / 1e-8) ** 2 + (p["b"] / 1e8) ** 4)
        return loss, {"a": 2 * p["a"] / 1e-16, "b": 4 * p["b"] ** 3 / 1e32}

    return f, {"a": a, "b": b}


@kind("smooth")
def arrhenius(rng):
    """A rate with prefactor, activation energy and heat of reaction: 1e-6, 2e5, 300, 0.02."""
    T = np.linspace(500, 900, 20)
    theta = np.array([1e-6, 2e5, 300, 0.02]) * rng.uniform(0.9, 1.1, 4)
    k = 0.5 * np.exp(theta[1] / (8.314 * T)) * 1e-6 + rng.normal(size=20)

    def f(t):
        u = np.exp(t[1] / (8.314 * T))
        e = t[0] * u + t[2] / T + t[3] * T - k
        slope = [np.sum(e * u), np.sum(e * t[0] * u / (8.314 * T)), np.sum(e / T), np.sum(e * T)]
        return np.sum(e**2), 2 * np.array(slope)

    return f, theta


@kind("smooth", (1e-30,), (1e-170,), (1e-300,), (1e30,), (1e200,))
def loss_of_the_size(rng, size):
    A = rng.normal(size=(6, 4))

    def f(t):
        e = np.exp(A @ t / 4)
        return size * np.sum(e), size * A.T @ e / 4

    return f, rng.normal(size=4)


@kind("smooth")
def product_of_probabilities(rng):
    p = rng.normal(size=(400, 3))

    def f(t):
        logits = p @ t
        loss = np.prod(1 / (1 + np.exp(-logits)))
        return loss, loss * (p.T @ (1 / (1 + np.exp(logits))))

    return f, 0.3 * rng.normal(size=3)


@kind("smooth", (700,), (-700,))
def exponential(rng, exponent):
    return lambda t: (np.sum(np.exp(t)), np.exp(t)), exponent + rng.normal(size=4)


@kind("rough", (1e10,), (1e13,))
def loss_with_an_offset(rng, offset):
    A = 10 * rng.normal(size=(8, 4))
    return lambda t: (offset + 1e3 * np.sum((A @ t) ** 2), 2e3 * A.T @ (A @ t)), rng.normal(size=4)


@kind("rough")
def offset_and_absolute_value(rng):
    A = 10 * rng.normal(size=(8, 4))

    def f(t):
        return float(1e10 + 1e3 * np.sum(np.abs(A @ t) ** 2)), 2e3 * A.T @ (A @ np.real(t))

    return f, rng.normal(size=4)


@kind("rough")
def difference_of_nearly_equal_terms(rng):
    def f(t):
        a = np.exp(t)
        return np.sum(a - a * (1 - 1e-6)), 1e-6 * np.exp(t)

    return f, rng.normal(size=5)


def _kernel(x, t):
    """A squared-exponential kernel with its slopes by the logarithms of its scales."""
    D = (x[:, None] - x) ** 2
    K = np.exp(2 * t[0] - D * np.exp(-2 * t[1]) / 2)
    return K, [2 * K, K * D * np.exp(-2 * t[1])]


@kind("smooth")
def log_determinant_of_condition_1e10(rng):
    x = np.sort(rng.uniform(0, 1, 12))

    def f(t):
        K, slopes = _kernel(x, t)
        K = K + 1e-9 * np.eye(12)
        inverse = np.linalg.inv(K)
        loss = (
            2 * np.sum(np.log(np.diag(np.linalg.cholesky(K.real))))
            if np.isrealobj(t)
            else np.log(np.linalg.det(K))
        )
        return loss, np.array([np.sum(inverse.T * dK) for dK in slopes])

    return f, np.array([0.1, -0.3]) + 0.1 * rng.normal(size=2)


@kind("smooth")
def trace_of_an_inverse(rng):
    Q = np.linalg.qr(rng.normal(size=(4, 4)))[0]

    def f(M):
        inverse = np.linalg.inv(M)
        return np.trace(inverse), -(inverse @ inverse).T

    return f, Q @ np.diag([1e-4, 1, 10, 1e4]) @ Q.T


@kind("rough")
def naive_variance_at_a_large_mean(rng):
    w = rng.normal(size=(30, 3))

    def f(t):
        x = w @ t + 1e5
        d = x - x.mean()
        return np.mean(x**2) - np.mean(x) ** 2, 2 * w.T @ d / 30

    return f, rng.normal(size=3)


@kind("smooth")
def one_minus_cosine(rng):
    return lambda t: (np.sum(1 - np.cos(t)), np.sin(t)), 1e-3 * rng.normal(size=5)


@kind("smooth")
def distances_by_the_gram_matrix(rng):
    X = rng.normal(size=(6, 3))

    def f(t):
        Z = t.reshape(6, 3) + X
        G = Z @ Z.T
        D = np.diag(G)[:, None] + np.diag(G) - 2 * G
        slope = 4 * (D[..., None] * (Z[:, None] - Z)).sum(1) * 2
        return np.sum(D**2), slope.ravel()

    return f, rng.normal(size=18)


@kind("smooth")
def naive_log_of_a_sigmoid(rng):
    return lambda t: (-np.sum(np.log(1 / (1 + np.exp(-t)))), -1 / (1 + np.exp(t))), 3 * rng.normal(size=6)


@kind("smooth")
def confident_softmax(rng):
    """The loss of a confident network: few digits are left of log(1 − 1e-13)."""
    theta = rng.normal(size=5)
    theta[0] += 6

    def f(t):
        e = np.exp(t - np.max(np.real(t)))
        p = e / e.sum()
        return -np.log(p[0]), p - np.eye(5)[0]

    return f, theta


@kind("smooth", (1e-3,), (1e-5,))
def near_the_optimum(rng, distance):
    A, b = rng.normal(size=(20, 5)), rng.normal(size=20)
    best = np.linalg.lstsq(A, b, rcond=None)[0]

    def f(t):
        e = A @ t - b
        return e @ e, 2 * A.T @ e

    return f, best + distance * rng.normal(size=5)


@kind("smooth")
def theta_zero(rng):
    A, b = rng.normal(size=(20, 5)), rng.normal(size=20)

    def f(t):
        h = np.tanh(A @ t)
        return np.sum((h - b) ** 2), 2 * A.T @ ((h - b) * (1 - h**2))

    return f, np.zeros(5)


@kind("smooth")
def weights_of_a_large_layer_and_small_bias(rng):
    X = 1e3 * rng.normal(size=(10, 4))

    def f(p):
        e = X @ p["W"] + p["b"]
        return np.sum(e**2), {"W": 2 * X.T @ e, "b": 2 * e.sum(0)}

    return f, {"W": 1e-2 * rng.normal(size=(4, 3)), "b": 1e-4 * rng.normal(size=3)}


@kind("smooth")
def log_of_a_sum_of_large_exponents(rng):
    A = 1e3 * rng.normal(size=(6, 4))

    def f(t):
        a = A @ t
        top = np.max(np.real(a))
        e = np.exp(a - top)
        return top + np.log(e.sum()), A.T @ (e / e.sum())

    return f, rng.normal(size=4)


@kind("smooth")
def softmax_at_low_temperature(rng):
    w = rng.normal(size=6)

    def f(t):
        e = np.exp((t - np.max(np.real(t))) / 0.05)
        p = e / e.sum()
        return w @ p, p * (w - w @ p) / 0.05

    return f, 0.2 * rng.normal(size=6)


@kind("smooth")
def product_of_many_factors(rng):
    theta = np.exp(0.5 * rng.normal(size=60))
    return lambda t: (np.prod(t), np.prod(t) / t), theta


@kind("smooth")
def parameters_of_the_size_1e_minus_12(rng):
    return lambda t: (np.sum((t * 1e12) ** 3 + t * 1e12), 3e12 * (t * 1e12) ** 2 + 1e12), 1e-12 * rng.normal(
        size=5
    )


@kind("smooth")
def dates_as_seconds(rng):
    """Positions near 1.7e9, of which differences of seconds matter."""
    knots = 1.7e9 + np.sort(rng.uniform(0, 1e5, 6))

    def f(t):
        d = (t - knots) / 1e4
        return np.sum(np.exp(-(d**2))), -2 * d * np.exp(-(d**2)) / 1e4

    return f, knots + 1e4 * rng.normal(size=6)
