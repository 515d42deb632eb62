"""Samples that put a pre-activation on a kink of φ, and the slope that a gradient takes there."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from backproof.contracts import Activation, Array
from backproof.gradcheck.oracles import Dense, central_differences, complex_step
from backproof.nn.functions import dphi, phi
from backproof.nn.mlp import MLP
from backproof.nn.objective import DataLoss

#: A pre-activation within this distance of a kink, relative to the kink and to 1, lies on it up to rounding.
ON_KINK = 1e-12
#: The distance from a kink, relative to the kink and to 1, at which the one-sided slopes are taken.
OFFSET = 1e-6
DIRECTIONS, SWEEPS = 16, 30
#: The largest error that a slope at the kink may leave along the directions, by complex step and by differences.
EXACT, DIFFERENCES = 1e-10, 1e-6


def samples_on_kinks(net: MLP, X: Array, y: Array, theta: Array) -> Array:
    """Return which samples (N,) have a pre-activation on a kink, at theta (P,)."""
    on_kink = np.zeros(len(X), dtype=bool)
    for a in _preactivations(net, X, y, theta):
        for kink in net.activation.kinks:
            on_kink |= _is_on(a, kink).any(axis=0)
    return on_kink


def samples_near_kinks(net: MLP, X: Array, y: Array, theta: Array, step: float) -> Array:
    """Return which samples (N,) reach a kink when one weight or bias of a unit changes by the relative `step`."""
    near_kink, below = np.zeros(len(X), dtype=bool), np.abs(X.T)
    for a, block in zip(_preactivations(net, X, y, theta), net.layout.blocks(theta), strict=False):
        terms = np.abs(block[:, :-1])[..., None] * below
        reach = step * np.maximum(terms.max(axis=1, initial=0.0), np.abs(block[:, -1:]))
        for kink in net.activation.kinks:
            near_kink |= (np.abs(a - kink) <= reach).any(axis=0)
        below = np.abs(phi(net.activation, a))
    return near_kink


def one_sided_slopes(activation: Activation, kink: float) -> tuple[float, float]:
    """Return the slopes of φ on the two sides of a kink, the smaller one first."""
    offset = OFFSET * max(1.0, abs(kink))
    a = kink + offset * np.array([-1.0, 1.0])
    if activation.complex_step:
        slopes = np.imag(phi(activation, a + 1e-30j)) / 1e-30
    else:
        slopes = (phi(activation, a * 1) - phi(activation, kink + 2 * (a - kink))) / (kink - a)
    return float(slopes.min()), float(slopes.max())


def describe_slope(
    kink: float, slope: float, low: float, high: float, *, between: bool, where: str = ""
) -> str:
    """Return for example `φ'(0) = 0, between the slopes on its two sides, 0 and 1`."""
    relation = "between" if between else "not between"
    return (
        f"φ'({kink:g}) = {slope:.6g}{where}, {relation} the slopes on its two sides, {low:.6g} and {high:.6g}"
    )


def _preactivations(net: MLP, X: Array, y: Array, theta: Array) -> list[Array]:
    """Return a1, a2, ... (H, N) at theta (P,); none if φ has no kinks."""
    if not net.activation.kinks:
        return []
    return [a[0].copy() for a in DataLoss(net, X, y).preactivations(theta[None])]


def _is_on(a: Array, kink: float) -> Array:
    return np.abs(a - kink) <= ON_KINK * max(1.0, abs(kink))


@dataclass(frozen=True)
class KinkGroup:
    """The units of a layer that lie exactly on one kink, for some samples; mask (H, N)."""

    layer: int
    kink: float
    mask: Array


@dataclass(frozen=True)
class KinkLinearisation:
    """The data loss of samples on kinks, with a prescribed slope of φ there.

    For the units that lie on a kink at theta (P,), φ is replaced by the straight line of that slope through the
    kink: an oracle then gives the gradient under that convention. X (N, D), y (N, K).
    """

    net: MLP
    X: Array
    y: Array
    theta: Array

    @functools.cached_property
    def preactivations(self) -> list[Array]:
        """Return a1, a2, ... (H, N) at theta."""
        return _preactivations(self.net, self.X, self.y, self.theta)

    @functools.cached_property
    def groups(self) -> list[KinkGroup]:
        """Return the groups of units exactly on a kink.

        A unit that is on a kink only up to rounding lies on one side of it, the same one for every derivation.
        """
        kinks = self.net.activation.kinks
        groups = [KinkGroup(i, kink, a == kink) for i, a in enumerate(self.preactivations) for kink in kinks]
        return [group for group in groups if group.mask.any()]

    @functools.cached_property
    def backward_slopes(self) -> list[Array]:
        """Return the slope that `backward` takes, (H, N) for each hidden layer."""
        return [dphi(self.net.activation, a) for a in self.preactivations]

    def slopes(self, group_slopes: Array) -> list[Array]:
        """Return the slopes of each layer, with one prescribed number for each group."""
        slopes = [layer_slopes.copy() for layer_slopes in self.backward_slopes]
        for group, slope in zip(self.groups, group_slopes, strict=True):
            slopes[group.layer][group.mask] = slope
        return slopes

    def value(self, theta: Array, slopes: list[Array]) -> Array:
        """Return the losses (S,) at theta (S, P)."""
        net, below = self.net, self.X.T[None]
        blocks = net.layout.blocks(theta)
        for block, slope, original_a in zip(blocks, slopes, self.preactivations, strict=False):
            a = np.matmul(block[..., :-1], below) + block[..., -1:]
            h = phi(net.activation, a)
            for kink in net.activation.kinks:
                h_at_kink = phi(net.activation, np.array([kink]))[0]
                h = np.where(_is_on(original_a, kink), h_at_kink + slope * (a - kink), h)
            below = h
        z = np.matmul(blocks[-1][..., :-1], below) + blocks[-1][..., -1:]
        return net.loss.value(z.swapaxes(1, 2), self.y[None])

    def convention(self, gradient: Array) -> Convention:
        """Return the slope that a gradient (P,) of this loss takes at the kinks, fitted to its entries."""
        exact = self.net.activation.complex_step and self.net.loss.complex_step
        oracle, tolerance = (complex_step, EXACT) if exact else (central_differences, DIFFERENCES)
        v = np.random.default_rng(0).standard_normal((DIRECTIONS, len(self.theta)))
        directions, target = Dense(np.arange(len(self.theta)), v), v @ gradient

        def predict(group_slopes: Array) -> Array:
            slopes = self.slopes(group_slopes)
            return oracle(lambda theta: self.value(theta, slopes), self.theta, directions)[0]

        start = np.array(
            [float(self.backward_slopes[group.layer][group.mask].flat[0]) for group in self.groups]
        )
        fit = _SlopeFit(predict, target, start, tolerance)
        explained = fit.run()
        limits = [one_sided_slopes(self.net.activation, group.kink) for group in self.groups]
        return Convention(self.groups, fit.slopes if explained else start, limits, explained, fit.matters)


class _SlopeFit:
    """Fit the slope of each group so that the predicted directional derivatives match those of the gradient.

    The prediction is affine in each slope, since a path through the network has one unit in each layer. Each slope
    in turn is set to its best value, and finally all of them together by Gauss-Newton.
    """

    def __init__(
        self, predict: Callable[[Array], Array], target: Array, start: Array, tolerance: float
    ) -> None:
        self.predict, self.target, self.start = predict, target, start
        self.slopes = start.copy()
        #: Which slopes change the prediction.
        self.matters = np.zeros(len(start), dtype=bool)
        self.allowed = tolerance * max(float(np.linalg.norm(target)), 1e-300)

    def run(self) -> bool:
        """Fit the slopes, and return whether they explain the target."""
        for _ in range(SWEEPS):
            self._sweep()
            if not np.isfinite(self.slopes).all() or self._error() <= self.allowed:
                break
        if not self._error() <= self.allowed:
            return False
        # A start that explains the target is not refined, so that no slope is rounded.
        if not np.array_equal(self.slopes, self.start) and self.matters.any():
            self._refine()
        return True

    def _sweep(self) -> None:
        """Set each slope in turn to its least-squares value, unless the prediction is already within tolerance."""
        for i in range(len(self.slopes)):
            at_zero, change = self._affine(i)
            if np.linalg.norm(change) > self.allowed:
                self.matters[i] = True
                if np.linalg.norm(self.target - at_zero - self.slopes[i] * change) > self.allowed:
                    self.slopes[i] = float(change @ (self.target - at_zero) / (change @ change))

    def _refine(self) -> None:
        """Take two Gauss-Newton steps for all slopes that matter."""
        for _ in range(2):
            jacobian = np.stack([self._affine(int(i))[1] for i in np.flatnonzero(self.matters)], axis=1)
            residual = self.target - self.predict(self.slopes)
            self.slopes[self.matters] += np.linalg.lstsq(jacobian, residual, rcond=None)[0]

    def _affine(self, i: int) -> tuple[Array, Array]:
        """Return the prediction with slope i equal to 0, and its change when the slope grows by 1."""
        zero, one = self.slopes.copy(), self.slopes.copy()
        zero[i], one[i] = 0.0, 1.0
        at_zero = self.predict(zero)
        return at_zero, self.predict(one) - at_zero

    def _error(self) -> float:
        return float(np.linalg.norm(self.target - self.predict(self.slopes)))


@dataclass(frozen=True)
class Convention:
    """The slopes that a gradient takes at the kinks."""

    groups: list[KinkGroup]
    slopes: Array  # one for each group
    limits: list[tuple[float, float]]  # the slopes on the two sides of each group's kink
    known: bool  # whether one slope for each layer and kink explains the gradient
    matters: Array  # whether each slope changes the gradient

    @property
    def nearest_subgradient(self) -> Array:
        """Return each slope, or the nearest subgradient if it is not one."""
        low, high = np.array(self.limits).reshape(-1, 2).T
        return np.where(self._is_subgradient(), self.slopes, np.clip(self.slopes, low, high))

    def _is_subgradient(self) -> Array:
        low, high = np.array(self.limits).reshape(-1, 2).T
        slack = 10 * OFFSET * np.maximum(1.0, np.abs(high))
        return (self.slopes >= low - slack) & (self.slopes <= high + slack)

    def __str__(self) -> str:
        if not self.groups:
            return "only up to rounding; exactly, they lie on one side of it"
        if not self.known:
            return "no single slope there explains the gradient"
        if not self.matters.any():
            return "the slope there makes no difference"
        # (kink, rounded slope, whether a subgradient) -> layers, and the limits of the last of them.
        layers: dict[tuple[float, float, bool], list[int]] = {}
        limits: dict[tuple[float, float, bool], tuple[float, float]] = {}
        for group, slope, is_subgradient, matters, group_limits in zip(
            self.groups, self.slopes, self._is_subgradient(), self.matters, self.limits, strict=True
        ):
            if matters:
                key = group.kink, round(float(slope), 6) + 0.0, bool(is_subgradient)
                layers.setdefault(key, []).append(group.layer + 1)
                limits[key] = group_limits
        descriptions: list[str] = []
        for (kink, slope, is_subgradient), numbers in layers.items():
            low, high = limits[kink, slope, is_subgradient]
            where = f" in layer {', '.join(map(str, numbers))}" if len(layers) > 1 else ""
            descriptions.append(describe_slope(kink, slope, low, high, between=is_subgradient, where=where))
        return "the gradient takes " + "; ".join(descriptions)
