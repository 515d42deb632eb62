"""Floor 3: samples that put a pre-activation on a kink of φ, and which slope a gradient takes there."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from backproof.contracts import Activation, Array
from backproof.gradcheck.oracles import Dense, central_differences, complex_step
from backproof.nn.mlp import MLP, Objective

#: A pre-activation this near to a kink, relative to the kink and to 1, lies on it but for rounding.
ON = 1e-12
#: Beside the kink, where φ has one slope.
ASIDE = 1e-6
DIRECTIONS, SWEEPS = 16, 30
#: A slope at the kink that explains the gradient along the directions to this is the one that it takes.
EXACT, DIFFERENCES = 1e-10, 1e-6


def samples_on_kinks(net: MLP, X: Array, y: Array, theta: Array) -> Array:
    """Which samples (N,) have a pre-activation on a kink, at theta (P,)."""
    found = np.zeros(len(X), dtype=bool)
    for a in _preactivations(net, X, y, theta):
        for kink in net.activation.kinks:
            found |= _on(a, kink).any(axis=0)
    return found


def samples_near_kinks(net: MLP, X: Array, y: Array, theta: Array, step: float) -> Array:
    """Which samples (N,) reach a kink when one weight or bias of a unit moves by `step` of its own size."""
    found, below = np.zeros(len(X), dtype=bool), np.abs(X.T)
    for a, block in zip(_preactivations(net, X, y, theta), net.layout.blocks(theta), strict=False):
        terms = np.abs(block[:, :-1])[..., None] * below
        reach = step * np.maximum(terms.max(axis=1, initial=0.0), np.abs(block[:, -1:]))
        for kink in net.activation.kinks:
            found |= (np.abs(a - kink) <= reach).any(axis=0)
        h = np.empty_like(a)
        net.activation.forward(a, h)
        below = np.abs(h)
    return found


def _preactivations(net: MLP, X: Array, y: Array, theta: Array) -> list[Array]:
    """A1, a2, ... (H, N) at theta (P,)."""
    if not net.activation.kinks:
        return []
    return [a[0].copy() for a in Objective(net, X, y).preactivations(theta[None])]


def _on(a: Array, kink: float) -> Array:
    return np.abs(a - kink) <= ON * max(1.0, abs(kink))


def sides(activation: Activation, kink: float) -> tuple[float, float]:
    """The slopes of φ on the two sides of a kink, the smaller one first."""
    aside = ASIDE * max(1.0, abs(kink))
    at = kink + aside * np.array([-1.0, 1.0])
    if activation.complex_step:
        a = at + 1e-30j
        slopes = np.imag(_phi(activation, a)) / 1e-30
    else:
        slopes = (_phi(activation, at * 1) - _phi(activation, kink + 2 * (at - kink))) / (kink - at)
    return float(slopes.min()), float(slopes.max())


def _phi(activation: Activation, a: Array) -> Array:
    out = np.empty_like(a)
    activation.forward(a, out)
    return out


@dataclass(frozen=True)
class Group:
    """The units of a layer that lie on one kink exactly, for some samples; mask (H, N)."""

    layer: int
    kink: float
    mask: Array


@dataclass(frozen=True)
class KinkLinearisation:
    """The data loss of samples on kinks, with a slope of one's own choice for φ there.

    φ is replaced by the straight line of that slope through the kink, for the units that lie on one at theta (P,):
    what an oracle sees of it is the gradient under that convention. X (N, D), y (N, K).
    """

    net: MLP
    X: Array
    y: Array
    theta: Array

    @functools.cached_property
    def preactivations(self) -> list[Array]:
        """A1, a2, ... (H, N) at theta."""
        return _preactivations(self.net, self.X, self.y, self.theta)

    @functools.cached_property
    def groups(self) -> list[Group]:
        """Units that lie on a kink but for rounding are on one side of it, and every derivation sees which."""
        kinks = self.net.activation.kinks
        found = [Group(i, kink, a == kink) for i, a in enumerate(self.preactivations) for kink in kinks]
        return [group for group in found if group.mask.any()]

    @functools.cached_property
    def own(self) -> list[Array]:
        """The slope that `backward` takes, (H, N) of each hidden layer."""
        slopes: list[Array] = []
        for a in self.preactivations:
            slope, work = np.ones_like(a), (np.empty_like(a), np.empty_like(a))
            self.net.activation.backward(a, _phi(self.net.activation, a), slope, work)
            slopes.append(slope)
        return slopes

    def slopes(self, chosen: Array) -> list[Array]:
        """The slopes of each layer with one number for each group."""
        slopes = [each.copy() for each in self.own]
        for group, slope in zip(self.groups, chosen, strict=True):
            slopes[group.layer][group.mask] = slope
        return slopes

    def value(self, theta: Array, slopes: list[Array]) -> Array:
        """(S,) losses at theta (S, P)."""
        net, below = self.net, self.X.T[None]
        layers = net.layout.blocks(theta)
        for block, slope, at in zip(layers, slopes, self.preactivations, strict=False):
            a = np.matmul(block[..., :-1], below) + block[..., -1:]
            h = _phi(net.activation, a)
            for kink in net.activation.kinks:
                start = _phi(net.activation, np.array([kink]))[0]
                h = np.where(_on(at, kink), start + slope * (a - kink), h)
            below = h
        z = np.matmul(layers[-1][..., :-1], below) + layers[-1][..., -1:]
        return net.loss.value(z.swapaxes(1, 2), self.y[None])

    def convention(self, gradient: Array) -> Convention:
        """The slope that a gradient (P,) of this loss takes at the kinks, determined from its numbers."""
        exact = self.net.activation.complex_step and self.net.loss.complex_step
        oracle, within = (complex_step, EXACT) if exact else (central_differences, DIFFERENCES)
        v = np.random.default_rng(0).standard_normal((DIRECTIONS, len(self.theta)))
        along, target = Dense(np.arange(len(self.theta)), v), v @ gradient

        def predicted(chosen: Array) -> Array:
            slopes = self.slopes(chosen)
            return oracle(lambda at: self.value(at, slopes), self.theta, along)[0]

        start = np.array([float(self.own[group.layer][group.mask].flat[0]) for group in self.groups])
        fitted, seen = _fitted(predicted, target, start, within)
        limits = [sides(self.net.activation, group.kink) for group in self.groups]
        return Convention(self.groups, start if fitted is None else fitted, limits, fitted is not None, seen)


def _fitted(
    predicted: Callable[[Array], Array], target: Array, start: Array, within: float
) -> tuple[Array | None, Array]:
    """The slopes with which the predicted numbers are those of the target, None where none are; and which of them
    make a difference.

    The prediction is affine in each: a path through the network has one unit in each layer. One after the other is
    set to the best there is, and in the end all together (Gauss & Newton).
    """
    chosen, seen = start.copy(), np.zeros(len(start), dtype=bool)
    allowed = within * max(float(np.linalg.norm(target)), 1e-300)

    def change(i: int) -> tuple[Array, Array]:
        """The prediction with the slope i of 0, and how it changes with it."""
        zero, one = chosen.copy(), chosen.copy()
        zero[i], one[i] = 0.0, 1.0
        at_zero = predicted(zero)
        return at_zero, predicted(one) - at_zero

    def off() -> float:
        return float(np.linalg.norm(target - predicted(chosen)))

    for _ in range(SWEEPS):
        for i in range(len(chosen)):
            zero, by = change(i)
            if np.linalg.norm(by) > allowed:
                seen[i] = True
                if np.linalg.norm(target - zero - chosen[i] * by) > allowed:
                    chosen[i] = float(by @ (target - zero) / (by @ by))
        if not np.isfinite(chosen).all() or off() <= allowed:
            break
    if not off() <= allowed:
        return None, seen
    # What the start already explains is left as it is: no slope is then rounded.
    if np.array_equal(chosen, start) or not seen.any():
        return chosen, seen
    for _ in range(2):
        by = np.stack([change(int(i))[1] for i in np.flatnonzero(seen)], axis=1)
        chosen[seen] += np.linalg.lstsq(by, target - predicted(chosen), rcond=None)[0]
    return chosen, seen


@dataclass(frozen=True)
class Convention:
    """Which slope a gradient takes at the kinks."""

    groups: list[Group]
    chosen: Array  # one number for each group
    limits: list[tuple[float, float]]  # the slopes on the two sides
    known: bool  # whether one number for each layer and kink explains the gradient
    seen: Array  # whether it makes a difference

    @property
    def nearest(self) -> Array:
        """The same where it is a subgradient, and the nearest one where it is not."""
        low, high = (np.array([each[i] for each in self.limits]) for i in (0, 1))
        return np.where(self._right(), self.chosen, np.clip(self.chosen, low, high))

    def _right(self) -> Array:
        low, high = (np.array([each[i] for each in self.limits]) for i in (0, 1))
        slack = 10 * ASIDE * np.maximum(1.0, np.abs(high))
        return (self.chosen >= low - slack) & (self.chosen <= high + slack)

    def __str__(self) -> str:
        if not self.groups:
            return "they lie on one side of it but for rounding"
        if not self.known:
            return "no one slope there explains the gradient"
        if not self.seen.any():
            return "the slope there makes no difference"
        said: dict[tuple[float, float, bool], list[int]] = {}
        limits: dict[tuple[float, float, bool], tuple[float, float]] = {}
        for group, slope, right, seen, each in zip(
            self.groups, self.chosen, self._right(), self.seen, self.limits, strict=True
        ):
            if seen:
                key = group.kink, round(float(slope), 6) + 0.0, bool(right)
                said.setdefault(key, []).append(group.layer + 1)
                limits[key] = each
        parts: list[str] = []
        for (kink, slope, right), layers in said.items():
            low, high = limits[kink, slope, right]
            where = f" in layer {', '.join(map(str, layers))}" if len(said) > 1 else ""
            what = "between" if right else "not between"
            parts.append(
                f"φ'({kink:g}) = {slope:.6g}{where}, {what} the slopes on its two sides, {low:.6g} and {high:.6g}"
            )
        return "the gradient takes " + "; ".join(parts)
