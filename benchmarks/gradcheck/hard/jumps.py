"""Floors, quantisers, casts, and losses with a term that only jumps."""

from __future__ import annotations

import numpy as np

from benchmarks.gradcheck.hard.kind import kind


@kind("step")
def floor(rng):
    return lambda t: (np.sum(np.floor(t)), np.zeros(10)), rng.uniform(-3, 3, 10)


@kind("step", (0,), (1,), (3,))
def square_with_a_rounded_term(rng, digits):
    return lambda t: (np.sum(t**2 + np.round(t, digits)), 2 * t), rng.uniform(-3, 3, 10)


@kind("step", (4,), (16,), (256,))
def quantiser(rng, levels):
    return lambda t: (np.sum(np.round(t * levels) / levels), np.zeros(8)), rng.uniform(-3, 3, 8)


@kind("step")
def modulus(rng):
    return lambda t: (np.sum(np.mod(t, 0.7) ** 2), 2 * np.mod(t, 0.7)), rng.uniform(-3, 3, 6)


@kind("step")
def sawtooth(rng):
    return lambda t: (np.sum(3 * t - np.floor(3 * t)), np.full(6, 3.0)), rng.uniform(-3, 3, 6)


@kind("step")
def wrapped_angle(rng):
    target = rng.uniform(-3, 3, 8)

    def f(t):
        d = np.mod(t - target + np.pi, 2 * np.pi) - np.pi
        return np.sum(d**2), 2 * d

    return f, rng.uniform(-3, 3, 8)


@kind("step")
def accuracy_added_to_the_loss(rng):
    X, y = rng.normal(size=(60, 5)), rng.choice([-1.0, 1.0], 60)

    def f(t):
        m = y * (X @ t)
        return np.mean(np.log1p(np.exp(-m))) + np.mean(m > 0), -X.T @ (y / (1 + np.exp(m))) / 60

    return f, rng.normal(size=5)


@kind("step")
def argmax_added_to_the_loss(rng):
    return lambda t: (np.sum(t**2) + 1.0 * np.argmax(t), 2 * t), rng.normal(size=5)


@kind("step")
def tree_added_to_the_loss(rng):
    cuts, values = rng.normal(size=15), rng.normal(size=16)

    def leaf(x):
        node = 0
        while node < 15:
            node = 2 * node + 1 + int(x[node % 4] > cuts[node])
        return values[node - 15]

    return lambda t: (np.sum(t**2) + leaf(np.real(t)), 2 * t), rng.normal(size=4)


@kind("step")
def lookup_added_to_the_loss(rng):
    table = rng.normal(size=100)

    def f(t):
        i = np.clip(np.real(t) * 10 + 50, 0, 99).astype(int)
        return np.sum(t**3 + table[i]), 3 * t**2

    return f, rng.uniform(-4, 4, 5)


@kind("rough", (4,), (6,), (8,))
def loss_rounded_to_decimals(rng, digits):
    return lambda t: (round(float(np.sum(np.abs(t) ** 2)), digits), 2 * t), rng.normal(size=5)


@kind("rough")
def loss_cast_to_float32(rng):
    return lambda t: (np.float32(np.sum(np.abs(t) ** 2)), 2 * t), rng.normal(size=5)


@kind("rough")
def loss_cast_to_float16(rng):
    return lambda t: (np.float16(np.sum(np.abs(t) ** 2)), 2 * t), rng.normal(size=5)


@kind("rough")
def computed_in_float32(rng):
    A, b = rng.normal(size=(20, 5)).astype(np.float32), rng.normal(size=20).astype(np.float32)

    def f(t):
        e = np.tanh(A @ np.real(t).astype(np.float32)) - b
        return np.sum(e**2), A.T @ (2 * e * (1 - (e + b) ** 2))

    return f, rng.normal(size=5)


@kind("rough")
def parameters_cast_to_float32(rng):
    return lambda t: (np.sum(np.real(t).astype(np.float32).astype(float) ** 2), 2 * t), rng.normal(size=5)


@kind("rough")
def last_bit_not_repeatable(rng):
    return (
        lambda t: (np.sum(np.abs(t) ** 2) * (1 + 2.2e-16 * rng.integers(0, 2)), 2 * t),
        rng.normal(size=5),
    )


@kind("step")
def histogram_of_counts(rng):
    """A smooth loss plus the number of parameters above each threshold."""
    cuts = np.linspace(-2, 2, 9)

    def f(t):
        return np.sum(np.cos(t)) + np.sum(np.real(t)[:, None] > cuts), -np.sin(t)

    return f, rng.normal(size=6)


@kind("step")
def dead_zone(rng):
    """A dead zone with jumps at its ends, as in hard thresholding."""
    return lambda t: (
        np.sum(np.where(np.abs(t) > 0.5, t, 0) ** 2),
        np.where(np.abs(t) > 0.5, 2 * t, 0),
    ), rng.normal(size=8) + 0.2


@kind("step")
def binary_weights(rng):
    """A layer of signs times a smooth scale: signs move only by a jump."""
    X = rng.normal(size=(10, 6))

    def f(t):
        w, scale = np.sign(np.real(t[:6])), t[6]
        e = X @ w * scale - 1
        return e @ e, np.append(np.zeros(6), 2 * e @ (X @ w))

    return f, np.append(rng.normal(size=6), 0.7)
