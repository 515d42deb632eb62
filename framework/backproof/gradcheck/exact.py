"""Slopes from complex numbers: the complex step, and Cauchy's integral on a circle around theta."""

from __future__ import annotations

import warnings

import numpy as np

from backproof.contracts import Array
from backproof.gradcheck.lines import Lines

#: The imaginary step, relative to the size of the parameters.
STEP = 1e-25
#: Radii of the circles, relative to the size of the parameters, and the points on each.
RADII = (0.25, 1 / 32, 1 / 256)
POINTS = 8


def complex_slopes(lines: Lines) -> tuple[Array, str]:
    """Return the slopes (S,) by the complex step and, where it does not work, why."""
    rows = np.arange(len(lines.sizes))
    try:
        with warnings.catch_warnings():
            # NumPy warns if an imaginary part is dropped; the comparison with differences shows it as well.
            warnings.simplefilter("ignore")
            values = lines.values(rows, 1j * STEP * lines.sizes)
    # A function for real numbers may raise anything when it meets complex ones.
    except Exception as error:  # noqa: BLE001
        return np.full(len(rows), np.nan), f"with complex numbers it raises {type(error).__name__}: {error}"
    return np.imag(values) / STEP / lines.sizes, ""


def circle_slope(lines: Lines, row: int, noise: float) -> tuple[float, float]:
    """Return the slope on a line by the mean of f(θ + r e^iφ v) e^-iφ / r over a circle, and its error.

    Of an analytic function that is the derivative, and no difference of nearly equal values is taken. A term that
    drops the imaginary part gives another number than by the complex step, so that its absence shows.
    """
    best = (float("nan"), float("inf"))
    turns = np.exp(2j * np.pi * np.arange(POINTS) / POINTS)
    for radius in RADII:
        r = radius * float(lines.sizes[row])
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                values = lines.values(np.full(POINTS, row), r * turns) - lines.origin[row]
        except Exception:  # noqa: BLE001 - as above
            return best
        terms: Array = np.real(values * turns.conj())
        means = [float(terms[::k].mean()) / r for k in (1, 2)]
        # Halving the points shows what is left out, at the order of its square root.
        error = abs(means[0] - means[1]) + 4 * noise / r
        if error < best[1]:
            best = means[0], error
    return best
