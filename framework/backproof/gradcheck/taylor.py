"""The Taylor remainder test, which looks at the order of convergence and needs no tolerance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from backproof.contracts import Array

#: Neighbouring steps whose orders differ by no more belong to the same clean window.
STEADY = 0.25
#: Steps that a window needs, so that it shows an order more than once.
SHORTEST = 3


@dataclass(frozen=True)
class TaylorTest:
    """Remainders |f(θ + hv) − f(θ) − h ∇f·v| at steps h, and the order at which they shrink."""

    steps: Array
    remainders: Array
    order: float  # 2 for a right gradient, 1 for a wrong one; NaN where no window is clean
    used: tuple[int, ...]  # the clean window: neighbouring steps over which the order holds

    @property
    def window(self) -> tuple[float, float] | None:
        """The largest and the smallest step of the clean window; None where there is none."""
        return (float(self.steps[self.used[0]]), float(self.steps[self.used[-1]])) if self.used else None

    def to_dict(self) -> dict[str, Any]:
        """Plain values; an order that is not finite is null."""
        return {
            "steps": self.steps.tolist(),
            "remainders": [float(each) if np.isfinite(each) else None for each in self.remainders],
            "order": self.order if np.isfinite(self.order) else None,
            "window": None if self.window is None else list(self.window),
            "used": list(self.used),
            "says": str(self),
        }

    @property
    def passed(self) -> bool:
        """Whether the order is at least 1.9; a gradient that is off by any term of first order gives 1."""
        return self.order > 1.9

    def __str__(self) -> str:
        if self.window is not None:
            return f"order {self.order:.2f} from h = {self.window[0]:.0e} to {self.window[1]:.0e}"
        if np.isinf(self.order):
            return "no remainder above rounding: linear along the direction"
        return "no clean window: kinks on the way, or rounding"


def taylor_test(
    value: Callable[[Array], float],
    gradient: Array,
    theta: Array,
    direction: Array,
    h: float = 1e-1,
    halvings: int = 20,
    noise: float = 0.0,
) -> TaylorTest:
    """The test along `direction` (P,) from theta (P,), at h, h/2, h/4, ... (Farrell et al. 2013).

    The order between two steps is log2 of the ratio of their remainders. Large steps see higher terms and cross
    kinks, small ones see rounding: the clean window is, of the runs of steps above rounding over which the order
    holds still, the one with the smallest steps, and the order is that over the window. A function that is linear
    along the direction has no remainder, and counts as order infinity.

    noise   of the values, where it is more than their rounding in float64
    """
    f0, slope = float(value(theta)), float(gradient @ direction)
    terms = float(np.abs(gradient * direction).sum())
    steps = h * 0.5 ** np.arange(halvings)
    remainders = np.array([abs(float(value(theta + s * direction)) - f0 - s * slope) for s in steps])
    eps, own = (float(np.finfo(dtype).eps) for dtype in (np.float64, gradient.dtype))
    rounding = np.maximum(1e3 * np.maximum(eps * abs(f0), own * terms * steps), 30 * noise)
    above = (remainders > rounding) & np.isfinite(remainders)
    if not above.any():
        finite = np.isfinite(remainders).all() and np.isfinite(slope)
        return TaylorTest(steps, remainders, float("inf") if finite else float("nan"), ())
    used = _window(remainders, above)
    if not used:
        return TaylorTest(steps, remainders, float("nan"), ())
    first, last = used[0], used[-1]
    order = float(np.log2(remainders[first] / remainders[last])) / (last - first)
    return TaylorTest(steps, remainders, order, used)


def _window(remainders: Array, above: Array) -> tuple[int, ...]:
    """The run of steps at the small end over which the order holds still; empty where no run is long enough."""
    with np.errstate(all="ignore"):
        orders = np.log2(remainders[:-1] / remainders[1:])
    usable = above[:-1] & above[1:]
    end = len(orders)
    while end > 0:
        start = end
        while start > 0 and usable[start - 1] and _steady(orders[start - 1 : end]):
            start -= 1
        if end - start >= SHORTEST - 1:
            return tuple(range(start, end + 1))
        end = end - 1 if start == end else max(start, end - 1)
    return ()


def _steady(orders: Array) -> bool:
    return bool(orders.max() - orders.min() <= STEADY)
