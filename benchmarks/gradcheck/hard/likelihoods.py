"""Losses of statistics and econometrics."""

from __future__ import annotations

import numpy as np

from benchmarks.gradcheck.hard.kind import kind


@kind("smooth")
def negative_binomial(rng):
    from scipy.special import digamma, gammaln

    X = rng.normal(size=(40, 2))
    y = rng.poisson(2, 40)

    def f(t):
        mu, r = np.exp(X @ t[:2]), np.exp(t[2])
        loss = -np.sum(gammaln(y + r) - gammaln(r) + r * np.log(r / (r + mu)) + y * np.log(mu / (r + mu)))
        by_mu = -(y / mu - (y + r) / (r + mu))
        by_r = -(digamma(y + r) - digamma(r) + np.log(r / (r + mu)) + 1 - (y + r) / (r + mu))
        return loss, np.append(X.T @ (by_mu * mu), by_r.sum() * r)

    return f, 0.5 * rng.normal(size=3)


@kind("smooth")
def probit(rng):
    from scipy.stats import norm

    X, y = rng.normal(size=(50, 3)), rng.choice([-1.0, 1.0], 50)

    def f(t):
        m = y * (X @ t)
        return -np.sum(norm.logcdf(m)), -X.T @ (y * np.exp(norm.logpdf(m) - norm.logcdf(m)))

    return f, 2 * rng.normal(size=3)


@kind("smooth")
def cox_partial_likelihood(rng):
    X = rng.normal(size=(30, 3))
    event = rng.random(30) < 0.7

    def f(t):
        s = X @ t
        w = np.exp(s)
        total = np.cumsum(w[::-1])[::-1]
        mean = np.cumsum((w[:, None] * X)[::-1], 0)[::-1] / total[:, None]
        return -np.sum(event * (s - np.log(total))), -np.sum(event[:, None] * (X - mean), 0)

    return f, rng.normal(size=3)


@kind("smooth")
def student_t_regression(rng):
    X, y = rng.normal(size=(40, 3)), rng.standard_t(3, 40)

    def f(t):
        e, v = X @ t[:3] - y, np.exp(t[3])
        q = e**2 / (3 * v)
        slope = 4 * e / (3 * v) / (1 + q)
        return np.sum(2 * np.log(1 + q) + t[3] / 2), np.append(X.T @ slope, np.sum(0.5 - 2 * q / (1 + q)))

    return f, rng.normal(size=4)


@kind("smooth")
def gaussian_mixture(rng):
    x = np.concatenate([rng.normal(-1, 1, 20), rng.normal(2, 0.5, 20)])[:, None]

    def f(t):
        m, s = t[:2], np.exp(t[2:])
        log = -((x - m) ** 2) / (2 * s**2) - t[2:]
        top = np.max(np.real(log), 1, keepdims=True)
        w = np.exp(log - top)
        total = w.sum(1, keepdims=True)
        r = w / total
        by_s = -np.sum(r * ((x - m) ** 2 / s**2 - 1), 0)
        return -np.sum(np.log(total) + top), np.append(-np.sum(r * (x - m) / s**2, 0), by_s)

    return f, rng.normal(size=4)


@kind("smooth")
def ordered_logit(rng):
    x, y = rng.normal(size=40), rng.integers(0, 3, 40)

    def f(t):
        cuts = np.array([t[1], t[1] + np.exp(t[2])])
        F = 1 / (1 + np.exp(-(cuts - t[0] * x[:, None])))
        p = np.column_stack([F[:, 0], F[:, 1] - F[:, 0], 1 - F[:, 1]])
        d = F * (1 - F)
        zero = 0 * d[:, 0]
        by_first = np.column_stack([d[:, 0], -d[:, 0], zero])
        by_second = np.column_stack([zero, d[:, 1], -d[:, 1]])
        i = np.arange(40)
        first, second, q = by_first[i, y], by_second[i, y], p[i, y]
        slope = [
            np.sum(x * (first + second) / q),
            -np.sum((first + second) / q),
            -np.sum(second / q) * np.exp(t[2]),
        ]
        return -np.sum(np.log(q)), np.array(slope)

    return f, np.array([0.8, -0.5, 0.2]) + 0.3 * rng.normal(size=3)


@kind("smooth")
def evidence_lower_bound(rng):
    """Of a Gaussian with fixed draws: reconstruction and KL divergence, by mean and log scale."""
    A, y, Z = rng.normal(size=(6, 3)), rng.normal(size=6), rng.normal(size=(10, 3))

    def f(t):
        m, s = t[:3], np.exp(t[3:])
        z = m + s * Z
        e = z @ A.T - y
        back = e @ A / 10
        loss = np.sum(e**2) / 20 + 0.5 * np.sum(m**2 + s**2 - 1 - 2 * t[3:])
        return loss, np.append(back.sum(0) + m, np.sum(back * Z, 0) * s + s**2 - 1)

    return f, rng.normal(size=6)


@kind("smooth")
def divergence_between_softmaxes(rng):
    q = rng.dirichlet(np.ones(6))

    def f(t):
        e = np.exp(t)
        p = e / e.sum()
        loss = np.sum(p * np.log(p / q))
        return loss, p * (np.log(p / q) - loss)

    return f, 2 * rng.normal(size=6)


@kind("smooth")
def kalman_filter(rng):
    """Likelihood of a local level model by log variances, with the tangents of the filter."""
    y = np.cumsum(rng.normal(size=40)) + rng.normal(size=40)

    def f(t):
        q, r = np.exp(t)
        dq, dr = np.array([q, 0 * q]), np.array([0 * r, r])
        m, P, dm, dP, loss, slope = 0 * q, 10 + 0 * q, 0 * t, 0 * t, 0, 0
        for value in y:
            P, dP = P + q, dP + dq
            S, dS, v, dv = P + r, dP + dr, value - m, -dm
            K, dK = P / S, dP / S - P * dS / S**2
            loss = loss + 0.5 * (np.log(S) + v**2 / S)
            slope = slope + 0.5 * (dS / S + 2 * v * dv / S - v**2 * dS / S**2)
            m, dm = m + K * v, dm + dK * v + K * dv
            P, dP = (1 - K) * P, (1 - K) * dP - dK * P
        return loss, slope

    return f, rng.normal(size=2)


@kind("smooth")
def autoregression_with_moving_average(rng):
    """ARMA(1, 1), conditional sum of squares."""
    y = rng.normal(size=60)

    def f(t):
        e, d, last, loss, slope = 0 * t[0], 0 * t, 0.0, 0, 0
        for value in y:
            new = value - t[0] * last - t[1] * e
            d = np.array([-last, -e]) - t[1] * d
            e, last = new, value
            loss, slope = loss + e**2, slope + 2 * e * d
        return loss, slope

    return f, rng.uniform(-0.8, 0.8, 2)


@kind("smooth")
def zero_inflated_poisson(rng):
    y = rng.poisson(2, 50) * (rng.random(50) < 0.7)
    zeros, others = np.sum(y == 0), y[y > 0]

    def f(t):
        p, lam = 1 / (1 + np.exp(-t[0])), np.exp(t[1])
        none = p + (1 - p) * np.exp(-lam)
        loss = -zeros * np.log(none) - np.sum(np.log(1 - p) - lam + others * t[1])
        by_p = -zeros * (1 - np.exp(-lam)) / none + others.size / (1 - p)
        by_lam = zeros * (1 - p) * np.exp(-lam) / none + others.size - others.sum() / lam
        return loss, np.array([by_p * p * (1 - p), by_lam * lam])

    return f, rng.normal(size=2)
