"""Factorisations, spectra, solves and contractions."""

from __future__ import annotations

import numpy as np

from benchmarks.gradcheck.hard.kind import kind


@kind("smooth")
def slogdet(rng):
    S = rng.normal(size=(5, 5))
    return lambda M: (np.linalg.slogdet(M)[1], np.linalg.inv(M).T), S @ S.T + np.eye(5)


@kind("smooth")
def nuclear_norm(rng):
    def f(M):
        U, s, Vt = np.linalg.svd(M, full_matrices=False)
        return s.sum(), U @ Vt

    return f, rng.normal(size=(5, 3))


@kind("smooth")
def spectral_norm(rng):
    def f(M):
        U, s, Vt = np.linalg.svd(np.real(M))
        return s[0], np.outer(U[:, 0], Vt[0])

    return f, rng.normal(size=(4, 4))


@kind("smooth")
def eigenvalues_of_a_symmetric_matrix(rng):
    weights = rng.normal(size=5)

    def f(M):
        w, V = np.linalg.eigh((M + M.T) / 2)
        return weights @ w, (V * weights) @ V.T

    A = rng.normal(size=(5, 5))
    return f, A + A.T


@kind("smooth")
def eigenvalue_of_a_general_matrix(rng):
    """Of a positive matrix: its Perron root."""

    def f(M):
        w, V = np.linalg.eig(np.real(M))
        i = np.argmax(np.real(w))
        left = np.linalg.inv(V)[i]
        return np.real(w[i]), np.real(np.outer(left, V[:, i]))

    return f, rng.uniform(0.1, 1, (4, 4))


@kind("smooth")
def matrix_exponential(rng):
    from scipy.linalg import expm, expm_frechet

    W = rng.normal(size=(3, 3))
    return lambda M: (np.sum(W * expm(M)), expm_frechet(np.real(M).T, W, compute_expm=False)), rng.normal(
        size=(3, 3)
    )


@kind("smooth")
def determinant(rng):
    return lambda M: (np.linalg.det(M), np.linalg.det(M) * np.linalg.inv(M).T), rng.normal(size=(6, 6))


@kind("smooth")
def pseudo_inverse(rng):
    y = rng.normal(size=6)

    def f(A):
        x = np.linalg.solve(A.T @ A, A.T @ y)
        r = y - A @ x
        z = np.linalg.solve(A.T @ A, 2 * x)
        return x @ x, np.outer(r, z) - np.outer(A @ z, x)

    return f, rng.normal(size=(6, 3))


@kind("smooth")
def toeplitz_solve(rng):
    b = rng.normal(size=5)
    shifts = [np.eye(5)] + [np.eye(5, k=k) + np.eye(5, k=-k) for k in range(1, 5)]

    def f(t):
        T = sum(value * S for value, S in zip(t, shifts, strict=True))
        x = np.linalg.solve(T, b)
        return b @ x, np.array([-x @ S @ x for S in shifts])

    return f, np.append(4, rng.uniform(-0.5, 0.5, 4))


@kind("smooth")
def diagonal_of_qr(rng):
    """log |det| by the diagonal of R, with its absolute values."""
    return lambda M: (np.sum(np.log(np.abs(np.diag(np.linalg.qr(M)[1])))), np.linalg.inv(M).T), rng.normal(
        size=(4, 4)
    )


@kind("smooth")
def tensor_contraction(rng):
    B, C = rng.normal(size=(4, 5)), rng.normal(size=(5, 3))

    def f(A):
        loss = np.einsum("ijk,jl,lk,i->", A, B, C[:, :2], np.arange(1.0, 4))
        return loss**2, 2 * loss * np.einsum("jl,lk,i->ijk", B, C[:, :2], np.arange(1.0, 4))

    return f, rng.normal(size=(3, 4, 2))


@kind("smooth")
def gaussian_process(rng):
    """Marginal likelihood by the logarithms of amplitude, length and noise."""
    x, y = np.sort(rng.uniform(0, 5, 12)), rng.normal(size=12)
    D = (x[:, None] - x) ** 2

    def f(t):
        K = np.exp(2 * t[0] - D * np.exp(-2 * t[1]) / 2)
        S = K + np.exp(2 * t[2]) * np.eye(12)
        inverse = np.linalg.inv(S)
        a = inverse @ y
        G = (inverse - np.outer(a, a)) / 2
        slopes = [2 * K, K * D * np.exp(-2 * t[1]), 2 * np.exp(2 * t[2]) * np.eye(12)]
        return 0.5 * y @ a + 0.5 * np.log(np.linalg.det(S)), np.array([np.sum(G * dS) for dS in slopes])

    return f, np.array([0, 0.2, -1]) + 0.2 * rng.normal(size=3)


@kind("smooth")
def rayleigh_quotient(rng):
    A = rng.normal(size=(5, 5))
    A = A + A.T

    def f(t):
        q = t @ A @ t / (t @ t)
        return q, 2 * (A @ t - q * t) / (t @ t)

    return f, rng.normal(size=5)
