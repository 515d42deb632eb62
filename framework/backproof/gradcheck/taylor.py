"""The Taylor remainder test, which measures an order of convergence and needs no tolerance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from backproof.contracts import Array

#: The most by which the orders within a clean window differ.
STEADY = 0.25
#: The fewest steps of a window, so that it gives more than one order.
MIN_STEPS = 3


@dataclass(frozen=True)
class TaylorTest:
    """Remainders |f(θ + hv) − f(θ) − h ∇f·v| at steps h, and the order at which they shrink."""

    steps: Array
    remainders: Array
    order: float  # 2 for a right gradient, 1 for a wrong one; NaN without a clean window
    used: tuple[int, ...]  # the clean window: neighbouring steps with nearly the same order

    @property
    def window(self) -> tuple[float, float] | None:
        """The largest and the smallest step of the clean window, if there is one."""
        return (float(self.steps[self.used[0]]), float(self.steps[self.used[-1]])) if self.used else None

    def to_dict(self) -> dict[str, Any]:
        """Return the test as plain values for JSON; an order that is not finite is null."""
        return {
            "steps": self.steps.tolist(),
            "remainders": [float(r) if np.isfinite(r) else None for r in self.remainders],
            "order": self.order if np.isfinite(self.order) else None,
            "window": None if self.window is None else list(self.window),
            "used": list(self.used),
            "says": str(self),
        }

    @property
    def passed(self) -> bool:
        """Whether the order is above 1.9; a gradient with an error of first order gives 1."""
        return self.order > 1.9

    def __str__(self) -> str:
        if self.window is not None:
            return f"order {self.order:.2f} from h = {self.window[0]:.0e} to {self.window[1]:.0e}"
        if np.isinf(self.order):
            return "no remainder above rounding: linear along the direction"
        return "no clean window: kinks along the line, or rounding"


def taylor_test(
    value: Callable[[Array], float],
    gradient: Array,
    theta: Array,
    direction: Array,
    h: float = 1e-1,
    halvings: int = 20,
    noise: float = 0.0,
) -> TaylorTest:
    """Run the test along `direction` (P,) from theta (P,), at steps h, h/2, h/4, ... (Farrell et al. 2013).

    The order between two steps is log2 of the ratio of their remainders. Large steps contain higher terms and cross
    kinks; small ones are dominated by rounding. The clean window is the run of smallest steps whose remainders are
    above rounding and whose orders are nearly equal; the result is the order over this window. A function that is
    linear along the direction has no remainder; its order is infinity.

    noise   the noise of the values, if it exceeds their rounding in float64
    """
    f0, slope = float(value(theta)), float(gradient @ direction)
    terms = float(np.abs(gradient * direction).sum())
    steps = h * 0.5 ** np.arange(halvings)
    remainders = np.array([abs(float(value(theta + s * direction)) - f0 - s * slope) for s in steps])
    eps, gradient_eps = (float(np.finfo(dtype).eps) for dtype in (np.float64, gradient.dtype))
    rounding = np.maximum(1e3 * np.maximum(eps * abs(f0), gradient_eps * terms * steps), 30 * noise)
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
    """Return the run of smallest steps with nearly equal orders; empty if no run is long enough."""
    with np.errstate(all="ignore"):
        orders = np.log2(remainders[:-1] / remainders[1:])
    usable = above[:-1] & above[1:]
    end = len(orders)
    while end > 0:
        start = end
        while start > 0 and usable[start - 1] and _steady(orders[start - 1 : end]):
            start -= 1
        if end - start >= MIN_STEPS - 1:
            return tuple(range(start, end + 1))
        end = end - 1 if start == end else max(start, end - 1)
    return ()


def _steady(orders: Array) -> bool:
    return bool(orders.max() - orders.min() <= STEADY)
