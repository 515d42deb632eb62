"""Plant mistakes in a right gradient: an entry 2 % off, of the wrong sign or zero; a small term lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.gradcheck.hard.kind import Array, Function, Kind

#: Relative size of the term that is lost.
LOST = 1e-6
LOST_TERM = "a term of 1e-6 lost"


@dataclass(frozen=True)
class Wrong:
    """A function with a wrong gradient. `errors` are those of its tensors, relative by norm, as in reports."""

    mistake: str
    f: Function
    theta: Any
    errors: dict[str, float]

    @property
    def error(self) -> float:
        """Return the largest of the tensors' errors."""
        return max(self.errors.values())


def tensors(theta: Any) -> dict[str, Array]:
    """Return the tensors of theta or of a gradient by name, as float64 arrays."""
    parts = theta if isinstance(theta, dict) else {"": theta}
    return {name: np.array(value, float) for name, value in parts.items()}


def flat(theta: Any) -> Array:
    return np.concatenate([part.ravel() for part in tensors(theta).values()])


def shaped(vector: Array, theta: Any) -> Any:
    """Return `vector` in the form of theta."""
    parts, start = {}, 0
    for name, part in tensors(theta).items():
        parts[name] = vector[start : start + part.size].reshape(part.shape)
        start += part.size
    return parts if isinstance(theta, dict) else parts[""]


def wrong(kind: Kind, seed: int) -> list[Wrong]:
    """Plant every mistake in the function of this seed."""
    _, theta, gradient = drawn(kind, seed)
    rng = np.random.default_rng([seed, 1])
    size = np.max(np.abs(gradient))
    free = np.ones(gradient.size, bool) if kind.at_kink is None else ~kind.at_kink(flat(theta))
    largest = int(np.argmax(np.abs(gradient) * free))
    other = int(rng.choice(np.flatnonzero(free & (np.abs(gradient) >= 0.01 * size))))

    def altered(mistake: str, i: int, alter: Callable[[float], float]) -> Wrong:
        # Draw it again: a function may keep state, such as the generator of its noise.
        f, theta = kind.make(np.random.default_rng(seed))
        changed = gradient.copy()
        changed[i] = alter(changed[i])

        def claimed(t: Any) -> tuple[Any, Any]:
            loss, slope = f(t)
            entries = flat(slope).copy()
            entries[i] = alter(entries[i])
            return loss, shaped(entries, theta)

        return Wrong(mistake, claimed, theta, _errors(changed, gradient, theta))

    if size == 0:
        return [
            altered("0.02 added to an entry", other, lambda slope: slope + 0.02),
            altered("1 added to an entry", largest, lambda slope: slope + 1),
        ]
    mistakes = [
        altered("the largest entry 2 % off", largest, lambda slope: 1.02 * slope),
        altered("an entry 2 % off", other, lambda slope: 0.98 * slope),
        altered("an entry of the wrong sign", other, lambda slope: -slope),
        altered("an entry zero", other, lambda slope: 0 * slope),
    ]
    return [*mistakes, lost(kind, seed)] if kind.expect == "smooth" else mistakes


def _errors(changed: Array, gradient: Array, theta: Any) -> dict[str, float]:
    """Return the relative error of every tensor, ‖changed − right‖ / max(‖changed‖, ‖right‖)."""
    claimed, errors = tensors(shaped(changed, theta)), {}
    for name, right in tensors(shaped(gradient, theta)).items():
        got = claimed[name]
        size = max(np.max(np.abs(got)), np.max(np.abs(right))) or 1
        norms = np.linalg.norm(got / size), np.linalg.norm(right / size)
        errors[name] = float(np.linalg.norm(got / size - right / size) / (max(norms) or 1))
    return errors


def lost(kind: Kind, seed: int) -> Wrong:
    """Add a term to the loss and leave out its gradient, 1e-6 of each tensor's: a linear term for even seeds,
    otherwise a ridge that drops the imaginary part."""
    f, theta, gradient = drawn(kind, seed)
    rng = np.random.default_rng([seed, 2])
    ridge = seed % 2 == 1 and all(np.any(part) for part in tensors(theta).values())
    weights = {}
    for name, part in tensors(shaped(gradient, theta)).items():
        direction = tensors(theta)[name] if ridge else rng.normal(size=part.shape)
        # Scale before taking the norm: gradients may be at the limits of float64.
        scale, extent = np.max(np.abs(part)) or 1, np.max(np.abs(direction))
        norm = np.linalg.norm(part / scale) / np.linalg.norm(direction / extent)
        weights[name] = LOST * scale * norm / extent * (1 if ridge else direction)

    def longer(t: Any) -> tuple[Any, Any]:
        loss, slope = f(t)
        parts = t if isinstance(t, dict) else {"": t}
        for name, weight in weights.items():
            value = np.asarray(parts[name])
            loss = loss + (weight / 2 * np.sum(np.abs(value) ** 2) if ridge else np.sum(weight * value))
        return loss, slope

    return Wrong(LOST_TERM, longer, theta, dict.fromkeys(weights, LOST))


def drawn(kind: Kind, seed: int) -> tuple[Function, Any, Array]:
    """Return the function and theta of this seed, and the flat gradient."""
    f, theta = kind.make(np.random.default_rng(seed))
    return f, theta, flat(f(theta)[1])
