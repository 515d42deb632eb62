"""High frequencies, transforms and filters."""

from __future__ import annotations

import numpy as np

from benchmarks.gradcheck.hard.kind import kind


@kind("smooth", (300,), (1e3,), (1e4,), (1e5,), (1e6,))
def sines_of_frequency(rng, k):
    return lambda t: (np.sum(np.sin(k * t)), k * np.cos(k * t)), rng.normal(size=8)


@kind("smooth", (1e3,), (1e5,))
def real_sines_of_frequency(rng, k):
    return lambda t: (float(np.sum(np.sin(k * np.real(t)))), k * np.cos(k * np.real(t))), rng.normal(size=8)


@kind("smooth", (10,), (12,))
def positional_encoding(rng, L):
    """NeRF's encoding of three coordinates, weighted."""
    k = np.pi * 2.0 ** np.arange(L)
    a, b = rng.normal(size=(3, L)), rng.normal(size=(3, L))

    def f(t):
        x = t[:, None] * k
        return np.sum(a * np.sin(x) + b * np.cos(x)), np.sum(k * (a * np.cos(x) - b * np.sin(x)), 1)

    return f, rng.uniform(-1, 1, 3)


@kind("smooth")
def chirp(rng):
    s = np.linspace(0, 1, 100)
    y = np.sin(2 * np.pi * (5 * s + 40 * s**2))

    def f(t):
        phase = 2 * np.pi * (t[0] * s + t[1] * s**2)
        e = np.sin(phase) - y
        d = 4 * np.pi * e * np.cos(phase)
        return e @ e, np.array([d @ s, d @ s**2])

    return f, np.array([5.0, 40]) + rng.normal(size=2)


@kind("smooth")
def power_spectrum(rng):
    weights = 1 + np.arange(8.0)

    def f(t):
        F = np.fft.fft(np.real(t))
        return np.sum(np.abs(F) ** 2 * weights), 2 * np.real(np.fft.fft(weights * F.conj()))

    return f, rng.normal(size=8)


@kind("smooth")
def log_power_spectrum(rng):
    def f(t):
        F = np.fft.fft(np.real(t))
        P = np.abs(F) ** 2 + 0.1
        return np.sum(np.log(P)), 2 * np.real(np.fft.fft(F.conj() / P))

    return f, rng.normal(size=16)


@kind("smooth")
def convolution(rng):
    x, y = rng.normal(size=30), rng.normal(size=26)

    def f(t):
        e = np.convolve(x, t, mode="valid") - y
        return e @ e, 2 * np.convolve(x[::-1], e, mode="valid")

    return f, rng.normal(size=5)


@kind("smooth")
def haar_wavelet(rng):
    """Squared coefficients of three levels, weighted."""
    weights = rng.uniform(1, 2, 8)

    def transform(x):
        out, low = [], x
        for _ in range(3):
            out.append((low[::2] - low[1::2]) / np.sqrt(2))
            low = (low[::2] + low[1::2]) / np.sqrt(2)
        return np.concatenate([*out, low])

    W = np.array([transform(row) for row in np.eye(8)]).T
    return lambda t: (np.sum(weights * transform(t) ** 4), W.T @ (4 * weights * transform(t) ** 3)), rng.normal(
        size=8
    )


@kind("smooth")
def recursive_filter(rng):
    """y_n = x_n + a y_(n−1) + b y_(n−2), by its tangents."""
    x, target = rng.normal(size=40), rng.normal(size=40)

    def f(t):
        y1 = y2 = 0 * t[0]
        d1 = d2 = 0 * t
        loss, slope = 0, 0
        for xn, goal in zip(x, target, strict=True):
            y = xn + t[0] * y1 + t[1] * y2
            d = np.array([y1, y2]) + t[0] * d1 + t[1] * d2
            loss, slope = loss + (y - goal) ** 2, slope + 2 * (y - goal) * d
            y1, y2, d1, d2 = y, y1, d, d1
        return loss, slope

    return f, np.array([1.2, -0.6]) + 0.1 * rng.normal(size=2)


@kind("smooth")
def phase_retrieval(rng):
    A = rng.normal(size=(20, 5)) + 1j * rng.normal(size=(20, 5))
    y = np.abs(A @ rng.normal(size=5)) ** 2

    def f(t):
        z = A @ np.real(t)
        e = np.abs(z) ** 2 - y
        return e @ e, 4 * np.real(A.conj().T @ (e * z))

    return f, rng.normal(size=5)
