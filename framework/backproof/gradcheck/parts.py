"""Check the terms of an objective, each tensor by every entry, or by random directions and some entries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from backproof.contracts import Array
from backproof.gradcheck.compare import SCALE_DIRECTIONS, Part, Sample, Tensor
from backproof.gradcheck.differences import EPS
from backproof.gradcheck.directions import Axes, Concatenated, Dense, Directions
from backproof.gradcheck.norms import rms
from backproof.gradcheck.options import CheckOptions
from backproof.gradcheck.preconditions import of_values
from backproof.gradcheck.report import Section, TensorResult, without_value


def check_parts(
    parts: Sequence[Part],
    theta: Array,
    tensors: Mapping[str, Array],
    options: CheckOptions,
    *,
    moment: str,
    seed: int = 0,
) -> Section:
    """Check each part at theta (P,) float64. `tensors` gives each tensor's indices in theta, of its shape.

    Up to `options.all_coordinates_up_to` parameters, every entry is compared. Beyond, derivatives along random
    Gaussian directions, which reveal a single wrong entry, and some entries are; then the worst entry of a wrong
    tensor is searched for.
    """
    results: list[TensorResult] = []
    steady_loss, steady_gradient, finite = True, True, True
    # Values that are not finite are reported in the result, without a warning.
    with np.errstate(all="ignore"):
        for part in parts:
            gradient = np.array(part.gradient(theta))
            repeated = np.asarray(part.gradient(theta))
            values = [np.array(part.value(theta[None])) for _ in range(2)]
            steady = np.array_equal(*values, equal_nan=True)
            steady_loss &= steady
            steady_gradient &= np.array_equal(gradient, repeated, equal_nan=True)
            finite_loss = bool(np.isfinite(values).all())
            finite &= finite_loss and bool(np.isfinite(gradient).all())
            rng = np.random.default_rng((seed, len(theta)))
            scales = _scales(part, theta, tensors, rng)
            every_entry = len(theta) <= options.all_coordinates_up_to
            samples = {} if every_entry else _samples(part, theta, tensors, options, rng)
            eps = _eps(gradient)
            got = gradient.astype(np.float64)
            for name, index in tensors.items():
                flat = index.ravel()
                tensor = Tensor(part, theta, name, index, got[flat], scales[name], eps)
                sample = samples.get(name)
                result = tensor.by_sample(sample, options, rng) if sample else tensor.by_entry(options)
                same = np.array_equal(gradient[flat], repeated[flat], equal_nan=True)
                unsteady = "loss" if not steady else "" if same else "gradient"
                results.append(without_value(result, finite=finite_loss, unsteady=unsteady))
    preconditions = of_values(steady_loss, steady_gradient, finite)
    return Section(moment, tuple(results), preconditions=preconditions)


def _eps(gradient: Array) -> float:
    """Return the machine epsilon of a gradient's dtype, at least that of float64."""
    return max(EPS, float(np.finfo(gradient.dtype).eps)) if gradient.dtype.kind == "f" else EPS


def _scales(
    part: Part, theta: Array, tensors: Mapping[str, Array], rng: np.random.Generator
) -> dict[str, float]:
    """Return ‖∇f‖ of each tensor at theta with the numbers of each tensor shuffled.

    It comes from the oracle: a wrong hand-derived gradient must not widen the tolerance.
    """
    shuffled = theta.copy()
    for index in tensors.values():
        flat = index.ravel()
        shuffled[flat] = rng.permutation(theta[flat])
    _, oracle = part.oracle
    along = Concatenated(
        [
            Dense(index.ravel(), rng.standard_normal((SCALE_DIRECTIONS, index.size)))
            for index in tensors.values()
        ]
    )
    slopes, _ = oracle(part.value, shuffled, along)
    scales = {name: rms(slopes[rows]) for name, rows in zip(tensors, along.rows, strict=True)}
    return {name: scale if np.isfinite(scale) else 0.0 for name, scale in scales.items()}


def _samples(
    part: Part, theta: Array, tensors: Mapping[str, Array], options: CheckOptions, rng: np.random.Generator
) -> dict[str, Sample]:
    """Return a sample of each tensor; all slopes come from one call of the oracle."""
    drawn: list[tuple[Array, Array]] = []
    along: list[Directions] = []
    for index in tensors.values():
        n, flat = index.size, index.ravel()
        v = rng.standard_normal((options.directions, n))
        entries = np.sort(rng.choice(n, min(options.coordinates, n), replace=False))
        drawn.append((v, entries))
        along += [Dense(flat, v), Axes(flat[entries])]
    all_directions = Concatenated(along)
    _, oracle = part.oracle
    slopes, errors = oracle(part.value, theta, all_directions)
    return {
        name: Sample(v, slopes[rows], errors[rows], entries, slopes[at], errors[at])
        for name, (v, entries), rows, at in zip(
            tensors, drawn, all_directions.rows[::2], all_directions.rows[1::2], strict=True
        )
    }
