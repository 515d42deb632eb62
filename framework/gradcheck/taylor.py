"""Floor 1: the Taylor remainder test, which looks at the order of convergence and needs no tolerance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from framework.kinds import Array


@dataclass(frozen=True)
class TaylorTest:
    """Remainders |f(θ + hv) − f(θ) − h ∇f·v| at steps h, and the order at which they shrink."""

    steps: Array
    remainders: Array
    order: float  # 2 for a right gradient, 1 for a wrong one
    used: tuple[int, ...]  # which steps lie above rounding

    def to_dict(self) -> dict[str, Any]:
        """Plain values; an order that is infinite is null."""
        return {
            "steps": self.steps.tolist(),
            "remainders": self.remainders.tolist(),
            "order": self.order if np.isfinite(self.order) else None,
            "used": list(self.used),
        }

    @property
    def passed(self) -> bool:
        """Whether the order is at least 1.9; a gradient that is off by any term of first order gives 1."""
        return self.order > 1.9


def taylor_test(
    value: Callable[[Array], float],
    gradient: Array,
    theta: Array,
    direction: Array,
    h: float = 1e-2,
    halvings: int = 8,
) -> TaylorTest:
    """The test along `direction` (P,) from theta (P,), at h, h/2, h/4, ... (Farrell et al. 2013).

    The order is the median of log2 of neighbouring remainders that are both well above rounding. A function
    that is linear along the direction has no remainder, and counts as order infinity.
    """
    f0, slope = float(value(theta)), float(gradient @ direction)
    steps = h * 0.5 ** np.arange(halvings)
    remainders = np.array([abs(float(value(theta + s * direction)) - f0 - s * slope) for s in steps])
    rounding = 1e3 * np.finfo(np.float64).eps * max(abs(f0), abs(slope) * h)
    used = tuple(int(k) for k in range(halvings - 1) if remainders[k + 1] > rounding)
    orders = [float(np.log2(remainders[k] / remainders[k + 1])) for k in used]
    return TaylorTest(steps, remainders, float(np.median(orders)) if orders else float("inf"), used)
