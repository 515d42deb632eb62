"""The check of a function that works element by element: each point by its own size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from backproof.contracts import Array
from backproof.gradcheck.check import NARROW_ROUNDINGS
from backproof.gradcheck.claim import AUTO, Claim, Settings
from backproof.gradcheck.evidence import Sample, tensor_results
from backproof.gradcheck.iterations import iterates
from backproof.gradcheck.judge import judge
from backproof.gradcheck.lines import EPS, ElementwiseLines, Lines, on_line
from backproof.gradcheck.noise import noise_along
from backproof.gradcheck.norms import ROUNDINGS
from backproof.gradcheck.report import GradcheckReport, Section
from backproof.gradcheck.trees import numbers


def check_elementwise(
    f: Callable[[Array], Array],
    df: Callable[[Array], Array],
    at: Any,
    *,
    tolerance: float | None = None,
    oracle: str = AUTO,
) -> GradcheckReport:
    """Compare df(a) with the derivative of f(a), a function that works element by element, at the points `at`. Each
    point is judged by the size of its own slope.

    assert check_elementwise(np.tanh, lambda a: 1 - np.tanh(a) ** 2, np.linspace(-3, 3, 61))
    """
    points = numbers(at, "at").astype(np.float64)
    flat = points.ravel()

    def value(a: Array) -> Array:
        return np.asarray(f(a.reshape(points.shape) if a.size == points.size else a)).reshape(-1)

    def slopes(a: Array) -> Array:
        found = numbers(df(a.reshape(points.shape)), "df(a)")
        if found.shape not in (points.shape, ()):
            raise ValueError(f"df(a) must have the shape of its points {points.shape}, got {found.shape}")
        return np.broadcast_to(found, points.shape).reshape(-1)

    raw = slopes(flat)
    eps = max(EPS, float(np.finfo(raw.dtype).eps)) if raw.dtype.kind == "f" else EPS
    got = raw.astype(np.float64)
    # What f raises at the points themselves is raised.
    value(flat)
    with np.errstate(all="ignore"):
        lines = ElementwiseLines(value, flat)
        noise = np.array([noise_along(lines, row) for row in range(len(flat))])
    chain = ROUNDINGS if eps < 1e-10 else NARROW_ROUNDINGS

    def moved(rng: np.random.Generator, by: float) -> tuple[Lines, Array]:
        near = lines.moved(rng, by)
        return near, slopes(near.at).astype(np.float64)

    middle = len(flat) // 2
    claim = Claim(
        got,
        chain * eps * np.abs(got),
        np.zeros(len(flat)),
        moved,
        lambda: iterates(on_line(lines, middle), float(lines.sizes[middle])),
    )
    found = judge(lines, claim, noise, Settings(oracle, tolerance))
    every = np.arange(len(flat))
    sample = Sample("theta", every.reshape(points.shape), slice(0, len(flat)), every, slice(0, 0))
    results = tensor_results([sample], found, got, lambda index, name: (0, float("nan")))
    return GradcheckReport((Section("given", tuple(results)),))
