"""A user's function of a nest of parameters as a function of one flat vector, guarded outside of its domain."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np

from backproof.contracts import Array
from backproof.contracts.errors import BackproofError
from backproof.gradcheck.trees import Tree, describe, numbers


class OutputFormError(BackproofError, ValueError):
    """The form of what a function returns depends on the values of its parameters."""


#: Calls that are kept for the claimed gradient.
RESERVED = 2
#: Seconds after which a check says how far it is, and again after every such time.
SILENT = 10.0


class Function:
    """f and its claimed gradient at flat points (P,).

    At theta itself what f raises is raised. At other points f may leave its domain: an exception or a point out of
    `bounds` gives NaN there. Values are multiplied by `scale`, a power of two, so that sums of their squares
    neither overflow nor underflow.
    """

    def __init__(
        self,
        f: Callable[..., Any],
        theta: Any,
        grad: Callable[..., Any] | None = None,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        bounds: tuple[Any, Any] | None = None,
        max_calls: int | None = None,
    ) -> None:
        for name, function in (("f", f), ("grad", grad)):
            if not callable(function) and not (name == "grad" and function is None):
                raise TypeError(f"{name} must be a function, got {describe(function)}")
        self.f, self.grad, self.args, self.kwargs = f, grad, tuple(args), dict(kwargs or {})
        self.tree = Tree(theta)
        self.theta, self.tensors = self.tree.theta, self.tree.tensors
        self.low, self.high = self._bounds(bounds)
        self.max_calls, self.calls, self.scale, self.planned = max_calls, 0, 1.0, 0
        #: Whether a long check says nothing of how far it is.
        self.silent = False
        self._began = self._shown = time.monotonic()
        self._error: Exception | None = None

    @property
    def exhausted(self) -> bool:
        """Whether `max_calls` has been reached."""
        return self.max_calls is not None and self.calls >= self.max_calls - RESERVED

    def at_theta(self) -> tuple[float, Array]:
        """Return the loss and the claimed gradient (P,) at theta. Raises what f raises, and ValueError or TypeError
        where what it returns has another form than (a number, a gradient like theta)."""
        loss, gradient = self._both(self.theta)
        return float(np.real(loss)), gradient

    def set_scale(self, loss: float, gradient: Array) -> None:
        """Choose the scale for a loss and a gradient at theta."""
        largest = float(np.abs(gradient[np.isfinite(gradient)]).max(initial=0.0)) or abs(loss)
        if not largest or not np.isfinite(largest):
            return
        exponent = float(np.clip(-np.floor(np.log2(largest)), -1000, 1000))
        if np.isfinite(loss) and loss:
            exponent = min(exponent, 600 - float(np.log2(abs(loss))))
        self.scale = 2.0 ** float(np.clip(exponent, -1000, 1000))

    def value(self, at: Array) -> complex:
        """Return the scaled loss at a point (P,); NaN where it has none. Complex points may raise."""
        real = np.real(at)
        if self.exhausted or (real < self.low).any() or (real > self.high).any() or not np.isfinite(real).all():
            return complex(np.nan, np.nan)
        if at.dtype.kind == "c":
            return self._loss(at) * self.scale
        try:
            return self._loss(at) * self.scale
        except OutputFormError:
            raise
        # The checker chose this point: whatever f raises, the point is outside its domain.
        except Exception as error:  # noqa: BLE001
            self._error = error
            return complex(np.nan, np.nan)

    def values(self, points: Array) -> Array:
        """Return the scaled losses (S,) at points (S, P)."""
        return np.array([self.value(np.array(point)) for point in points])

    def gradient(self, at: Array) -> Array:
        """Return the claimed gradient (P,), scaled, of the dtype that f returns."""
        gradient = self._both(at)[1]
        return gradient * gradient.dtype.type(self.scale) if self.scale != 1 else gradient

    def _both(self, at: Array) -> tuple[complex, Array]:
        given = self._call(self.f, at)
        self.calls += 1
        if self.grad is None:
            loss, gradient = self._pair(given)
        else:
            loss, gradient = given, self._call(self.grad, at)
        number = self._number(loss)
        flat = self.tree.flat(gradient)
        if flat.dtype.kind == "c" and at.dtype.kind != "c":
            if np.imag(flat).any():
                raise ValueError(f"the gradient must be real at real parameters, got {flat.dtype}")
            flat = np.real(flat)
        if flat.dtype.kind in "biu":
            flat = flat.astype(np.float64)
        return number, flat

    def _loss(self, at: Array) -> complex:
        self._progress()
        self.calls += 1
        with warnings.catch_warnings():
            # f may compute its gradient too, which may drop an imaginary part or be undefined at such a point.
            warnings.simplefilter("ignore")
            given = self.f(self.tree.build(at), *self.args, **self.kwargs)
        return self._number(self._pair(given)[0] if self.grad is None else given)

    def _call(self, function: Callable[..., Any], at: Array) -> Any:
        """Return what a function returns at a point, which it must not change."""
        given = self.tree.build(at)
        result = function(given, *self.args, **self.kwargs)
        after = self.tree.flat(given, "theta")
        if not np.array_equal(after, at, equal_nan=True) and not self._rounded(at, after):
            name, index = self._name(int(np.flatnonzero(after != at)[0]))
            raise ValueError(
                f"f wrote into its parameters, at {name}{index}: it must leave them as they are; "
                "let it work on a copy"
            )
        return result

    def _rounded(self, at: Array, after: Array) -> bool:
        """Whether the parameters differ because a library holds them in a narrower dtype."""
        return bool(np.array_equal(self.tree.flat(self.tree.build(at), "theta"), after, equal_nan=True))

    def _name(self, entry: int) -> tuple[str, list[int]]:
        name = next(name for name, index in self.tensors.items() if entry in index)
        return name, np.argwhere(self.tensors[name] == entry)[0].tolist()

    def _pair(self, given: Any) -> tuple[Any, Any]:
        if isinstance(given, tuple | list) and len(cast("tuple[Any, ...]", given)) == 2:
            loss, gradient = cast("tuple[Any, Any]", given)
            return loss, gradient
        alone = None if isinstance(given, tuple | list) else numbers_or_none(given)
        hint = ""
        if alone is not None and alone.size == 1:
            hint = ": it returns the loss alone; return both, or pass the gradient as grad="
        raise TypeError(f"f must return (loss, gradient), got {describe(given)}{hint}")

    def _number(self, loss: Any) -> complex:
        number = numbers(loss, "the loss")
        if number.size != 1:
            raise ValueError(
                f"the loss must be one number, got an array of shape {number.shape}: sum it, or take its mean"
            )
        return number.item()

    def _bounds(self, bounds: tuple[Any, Any] | None) -> tuple[Array, Array]:
        sides: list[Array] = []
        for given, default in zip(bounds or (None, None), (-np.inf, np.inf), strict=True):
            if given is None or np.isscalar(given):
                sides.append(np.full(len(self.theta), default if given is None else given, dtype=np.float64))
            else:
                sides.append(self.tree.flat(given, "the bound").astype(np.float64))
        if (self.theta < sides[0]).any() or (self.theta > sides[1]).any():
            raise ValueError("theta is outside of bounds")
        return sides[0], sides[1]

    def _progress(self) -> None:
        now = time.monotonic()
        if now - self._shown > SILENT and not self.silent:
            self._shown = now
            spent, done = now - self._began, max(self.calls, 1)
            total = f" of about {self.planned:,}" if self.planned > done else ""
            left = f", about {spent / done * (self.planned - done):.0f} s left" if total else ""
            print(
                f"gradient check: {done:,}{total} calls of f in {spent:.0f} s{left}; max_calls= limits them",
                file=sys.stderr,
            )


def numbers_or_none(given: Any) -> Array | None:
    """Return numbers as an array, None for anything else."""
    try:
        return numbers(given, "")
    except (ValueError, TypeError):
        return None
