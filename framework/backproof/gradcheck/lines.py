"""Straight lines through theta, along which a function is evaluated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

import numpy as np

from backproof.contracts import Array

EPS = float(np.finfo(np.float64).eps)
#: A parameter is moved by some of its last bits to see how rough a function is.
LAST_BITS = 4 * EPS


class Lines(Protocol):
    """S lines θ + t v. The oracles ask for nothing but values along them."""

    #: Whether one call of f evaluates many lines.
    together: bool
    #: How many of the lines, the first ones, move a single parameter.
    single: int
    #: Which lines (S,) move only parameters that are zero.
    at_zero: Array

    @property
    def origin(self) -> Array:
        """The values (S,) at t = 0."""
        ...

    @property
    def sizes(self) -> Array:
        """The lengths t (S,) that move the parameters by their own size."""
        ...

    @property
    def usual(self) -> float:
        """The median size of all parameters, for those that are far smaller than the others."""
        ...

    def values(self, rows: Array, t: Array) -> Array:
        """Return the values at t (n,), real or complex, on the lines `rows` (n,); NaN where there is none."""
        ...

    def moved(self, rng: np.random.Generator, by: float = LAST_BITS) -> Lines:
        """Return the lines through a point near theta, by default one that differs in its last bits."""
        ...


class ParameterLines:
    """Lines through theta (P,): the axes of some entries, then directions on groups of entries.

    value    of one parameter vector
    groups   (index (n,), vectors (G, n)): directions that move the entries `index` alone
    """

    together = False

    def __init__(
        self,
        value: Callable[[Array], complex],
        theta: Array,
        entries: Array,
        groups: Sequence[tuple[Array, Array]] = (),
    ) -> None:
        self.value, self.theta, self.entries, self.groups = value, theta, entries, groups
        self._dense: list[tuple[Array, Array]] = []
        for index, vectors in groups:
            self._dense += [(index, vector) for vector in vectors]
        self.single = len(entries)
        count = len(entries) + len(self._dense)
        self.origin = np.full(count, np.real(value(theta.copy())))
        self.usual = usual_size(theta)
        sizes = np.abs(theta[entries])
        self.sizes, self.at_zero = np.empty(count), np.zeros(count, dtype=bool)
        self.sizes[: len(entries)] = np.where(sizes == 0, self.usual, sizes)
        for row, (index, v) in enumerate(self._dense, start=len(entries)):
            moved = index[v != 0]
            self.at_zero[row] = not theta[moved].any()
            length = float(np.linalg.norm(theta[moved])) or self.usual * np.sqrt(len(moved))
            self.sizes[row] = length / (float(np.linalg.norm(v)) or 1.0)

    def values(self, rows: Array, t: Array) -> Array:
        """Return the values at t (n,) on the lines `rows` (n,)."""
        out: Array = np.empty(len(rows), t.dtype)
        axes = len(self.entries)
        for i, (row, step) in enumerate(zip(rows.tolist(), t, strict=True)):
            point = self.theta.astype(t.dtype)
            if row < axes:
                point[self.entries[row]] += step
            else:
                group = cast("tuple[Array, Array]", self._dense[row - axes])
                point[group[0]] += step * group[1]
            value = self.value(point)
            out[i] = value if t.dtype.kind == "c" else np.real(value)
        return out

    def moved(self, rng: np.random.Generator, by: float = LAST_BITS) -> ParameterLines:
        """Return the lines through a point that differs from theta by up to `by` of its size."""
        sizes = np.where(self.theta == 0, self.usual, self.theta)
        theta = self.theta + by * sizes * rng.uniform(-1, 1, len(self.theta))
        return ParameterLines(self.value, theta, self.entries, self.groups)

    def along(self, gradient: Array) -> Array:
        """Return the slopes (S,) of a gradient (P,) along the lines."""
        return np.concatenate([gradient[self.entries], [v @ gradient[index] for index, v in self._dense]])

    def terms(self, gradient: Array) -> Array:
        """Return the sizes (S,) of the sums that `along` takes."""
        sums = [float(np.linalg.norm(v * gradient[index])) for index, v in self._dense]
        return np.concatenate([np.abs(gradient[self.entries]), sums])


class ElementwiseLines:
    """A line through each point of a function that works element by element: one call evaluates all of them."""

    together = True

    def __init__(self, f: Callable[[Array], Array], at: Array) -> None:
        self.f, self.at, self.single = f, at, len(at)
        self.at_zero = at == 0
        self.usual = usual_size(at)
        self.sizes = np.where(at == 0, self.usual, np.abs(at))
        self.origin = np.real(self.values(np.arange(len(at)), np.zeros(len(at))))

    def values(self, rows: Array, t: Array) -> Array:
        """Return the values at t (n,) of the points `rows` (n,)."""
        points = self.at[rows] + t
        try:
            values = np.asarray(self.f(points.copy()))
            return values if t.dtype.kind == "c" else np.real(values).astype(np.float64)
        # One of the points may be outside the domain, so evaluate them one by one.
        except Exception:  # noqa: BLE001
            single: Array = np.empty(len(points), t.dtype)
            for i in range(len(points)):
                single[i] = self._single(points[i : i + 1])
            return single

    def _single(self, point: Array) -> complex:
        try:
            value: Any = np.asarray(self.f(point))[0]
        except Exception:  # noqa: BLE001 - there is no value outside the domain
            return float("nan")
        return (
            complex(cast("complex", value)) if point.dtype.kind == "c" else float(cast("complex", value).real)
        )

    def moved(self, rng: np.random.Generator, by: float = LAST_BITS) -> ElementwiseLines:
        """Return the points moved by up to `by` of their size."""
        sizes = np.where(self.at == 0, self.usual, self.at)
        return ElementwiseLines(self.f, self.at + by * sizes * rng.uniform(-1, 1, len(self.at)))


def on_line(lines: Lines, row: int) -> Callable[[float], float]:
    """Return the values on one line as a function of t."""
    return lambda t: float(lines.values(np.array([row]), np.array([t]))[0])


def usual_size(theta: Array) -> float:
    """Return the median of the parameters that are not zero, in absolute value; 1 if all are zero."""
    sizes = np.abs(theta[theta != 0])
    return float(np.median(sizes)) if len(sizes) else 1.0
