"""Losses of machine learning, of sequences and of ranking."""

from __future__ import annotations

import numpy as np

from benchmarks.gradcheck.hard.kind import kind


def _softmax(a):
    e = np.exp(a - np.max(np.real(a), -1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@kind("smooth")
def focal_loss(rng):
    y = rng.choice([-1.0, 1.0], 8)

    def f(t):
        p = 1 / (1 + np.exp(-y * t))
        return -np.sum((1 - p) ** 2 * np.log(p)), y * p * (1 - p) * (2 * (1 - p) * np.log(p) - (1 - p) ** 2 / p)

    return f, 2 * rng.normal(size=8)


@kind("smooth")
def cross_entropy_with_smoothed_labels(rng):
    Y = 0.9 * np.eye(5)[rng.integers(0, 5, 4)] + 0.02

    def f(t):
        p = _softmax(t)
        return -np.sum(Y * np.log(p)) / 4, (p - Y) / 4

    return f, 3 * rng.normal(size=(4, 5))


@kind("smooth")
def contrastive_loss(rng):
    """InfoNCE of unit vectors at temperature 0.1."""
    Y = rng.normal(size=(6, 4))
    Y /= np.linalg.norm(Y, axis=1, keepdims=True)

    def f(Z):
        n = np.sqrt(np.sum(Z**2, 1, keepdims=True))
        U = Z / n
        p = _softmax(U @ Y.T / 0.1)
        back = (p - np.eye(6)) @ Y / 0.6
        return -np.mean(np.log(np.diag(p))), (back - U * np.sum(U * back, 1, keepdims=True)) / n

    return f, rng.normal(size=(6, 4))


@kind("kinked")
def triplet_loss_with_margin(rng):
    P, N = rng.normal(size=(30, 4)), rng.normal(size=(30, 4))

    def f(t):
        m = 1 + np.sum((t - P) ** 2 - (t - N) ** 2, 1)
        return np.mean(np.maximum(m, 0)), 2 * (N - P).T @ (m > 0) / 30

    return f, rng.normal(size=4)


@kind("kinked")
def pairwise_hinge_ranking(rng):
    X = rng.normal(size=(20, 4))

    def f(t):
        s = X @ t
        short = 1 - (s[:, None] - s)
        active = np.triu(short > 0, 1)
        d = active.sum(0) - active.sum(1)
        return np.sum(active * short) / 100, X.T @ d / 100

    return f, rng.normal(size=4)


@kind("smooth")
def listwise_ranking(rng):
    """Plackett-Luce likelihood of one order."""

    def f(t):
        e = np.exp(t)
        rest = np.cumsum(e[::-1])[::-1]
        return -np.sum(t - np.log(rest)), -1 + e * np.cumsum(1 / rest)

    return f, rng.normal(size=8)


@kind("smooth")
def conditional_random_field(rng):
    """Negative log likelihood of one labelling of a chain: the marginals by forward and backward sums."""
    T, K = 6, 3
    y = rng.integers(0, K, T)
    A = rng.normal(size=(K, K))

    def f(E):
        M, w = np.exp(A), np.exp(E)
        alpha, beta = [w[0]], [np.ones(K)]
        for t in range(1, T):
            alpha.append(alpha[-1] @ M * w[t])
        for t in range(T - 1, 0, -1):
            beta.insert(0, M @ (w[t] * beta[0]))
        Z = alpha[-1].sum()
        score = E[np.arange(T), y].sum() + A[y[:-1], y[1:]].sum()
        return np.log(Z) - score, np.array(alpha) * np.array(beta) / Z - np.eye(K)[y]

    return f, rng.normal(size=(T, K))


@kind("smooth")
def hidden_markov_model(rng):
    """Log likelihood by logits of emission: posterior counts less their expectation."""
    x = rng.integers(0, 4, 15)
    A, start = rng.dirichlet(np.ones(3), 3), np.full(3, 1 / 3)

    def f(t):
        B = _softmax(t)
        alpha, beta = [start * B[:, x[0]]], [np.ones(3)]
        for k in x[1:]:
            alpha.append(alpha[-1] @ A * B[:, k])
        for k in x[:0:-1]:
            beta.insert(0, A @ (B[:, k] * beta[0]))
        Z = alpha[-1].sum()
        gamma = np.array(alpha) * np.array(beta) / Z
        counts = gamma.T @ np.eye(4)[x]
        return -np.log(Z), counts.sum(1, keepdims=True) * B - counts

    return f, rng.normal(size=(3, 4))


@kind("smooth")
def connectionist_temporal_classification(rng):
    """CTC with labels 1, 2 and blank 0: the sum over paths, and the posterior of each symbol."""
    T, path = 6, np.array([0, 1, 0, 2, 0])

    def f(t):
        p = _softmax(t)[:, path]
        step = np.eye(5) + np.eye(5, k=1)
        step[1, 3] = 1
        alpha, beta = [p[0] * [1, 1, 0, 0, 0]], [np.array([0, 0, 0, 1.0, 1])]
        for k in range(1, T):
            alpha.append(alpha[-1] @ step * p[k])
        for k in range(T - 1, 0, -1):
            beta.insert(0, step @ (p[k] * beta[0]))
        Z = alpha[-1][3:].sum()
        return -np.log(Z), _softmax(t) - np.array(alpha) * np.array(beta) / Z @ np.eye(3)[path]

    return f, rng.normal(size=(T, 3))


@kind("smooth")
def soft_dynamic_time_warping(rng):
    """Soft minimum over alignments, with the slope by the tangent of every cell."""
    y = rng.normal(size=5)

    def f(x):
        D, dD = {(-1, -1): 0 * x[0]}, {(-1, -1): 0 * x}
        for i in range(4):
            for j in range(5):
                before = [c for c in ((i - 1, j), (i, j - 1), (i - 1, j - 1)) if c in D]
                values = np.array([D[c] for c in before])
                least = np.min(np.real(values))
                e = np.exp(-(values - least) / 0.5)
                D[i, j] = (x[i] - y[j]) ** 2 + least - 0.5 * np.log(e.sum())
                dD[i, j] = 2 * (x[i] - y[j]) * np.eye(4)[i] + (e / e.sum()) @ np.array([dD[c] for c in before])
        return D[3, 4], dD[3, 4]

    return f, rng.normal(size=4)


@kind("kinked")
def wasserstein_distance_of_samples(rng):
    y = np.sort(rng.normal(size=20))

    def f(t):
        order = np.argsort(t)
        slope = np.empty(20)
        slope[order] = np.sign(t[order] - y) / 20
        return np.mean(np.abs(t[order] - y)), slope

    return f, rng.normal(size=20)


@kind("kinked")
def mean_of_the_top_k(rng):
    def f(t):
        chosen = np.zeros(12)
        chosen[np.argsort(t)[-3:]] = 1 / 3
        return (chosen @ t) ** 2, 2 * (chosen @ t) * chosen

    return f, rng.normal(size=12) + 1


@kind("kinked")
def tukey_biweight(rng):
    A, b = rng.normal(size=(50, 4)), 3 * rng.normal(size=50)

    def f(t):
        e = A @ t - b
        u = np.clip(1 - (e / 4.685) ** 2, 0, None)
        return np.sum(1 - u**3), A.T @ (6 * e / 4.685**2 * u**2)

    return f, rng.normal(size=4)


@kind("smooth")
def cauchy_loss(rng):
    A, b = rng.normal(size=(50, 4)), rng.standard_cauchy(50)

    def f(t):
        e = A @ t - b
        return np.sum(np.log(1 + e**2)), A.T @ (2 * e / (1 + e**2))

    return f, rng.normal(size=4)


@kind("smooth")
def batch_normalisation(rng):
    X, y = rng.normal(size=(12, 4)), rng.normal(size=12)

    def f(t):
        a = X @ t
        d = a - a.mean()
        s = np.sqrt(np.mean(d**2) + 1e-5)
        h = d / s
        g = 2 * (h - y)
        return np.sum((h - y) ** 2), X.T @ ((g - g.mean() - h * np.mean(g * h)) / s)

    return f, rng.normal(size=4)


@kind("smooth")
def attention(rng):
    K, V, w = rng.normal(size=(5, 3)), rng.normal(size=(5, 2)), rng.normal(size=(4, 2))

    def f(Q):
        p = _softmax(Q @ K.T / np.sqrt(3))
        g = w @ V.T
        return np.sum(w * (p @ V)), p * (g - np.sum(p * g, 1, keepdims=True)) @ K / np.sqrt(3)

    return f, rng.normal(size=(4, 3))
