"""Floor 2: a person's own backward rule in the place of the network's, for checking and for training."""

from __future__ import annotations

import os
import traceback
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from backproof.contracts import Array, Derivation, Trace
from backproof.contracts.errors import DerivationError
from backproof.formulas.errors import FormulaError

if TYPE_CHECKING:
    from backproof.nn.mlp import MLP, Pass


class DerivedPass:
    """Writes a derivation's gradients into `grad`, member by member. It is slower than the network's own."""

    def __init__(self, net: MLP, derivation: Derivation, passing: Pass, theta: Array, grad: Array) -> None:
        self.net, self.derivation, self.passing = net, derivation, passing
        self.theta, self.grad = theta, grad
        self.tensors, self.gradients = net.layout.tensors(theta), net.layout.tensors(grad)

    def __call__(self, x: Array, y: Array, z: Array) -> None:
        """After `forward` on the same batch: x (R or 1, B, D+1), y and z (R, B, K)."""
        for r in range(len(z)):
            self._write(r, self._called(self.trace(r, x, y, z)))

    def _called(self, trace: Trace) -> object:
        """What the rule returns. Raises DerivationError, with the place in the person's file, where it raises."""
        try:
            return self.derivation.gradients(trace)
        except FormulaError:
            raise  # It points at its place in the formula.
        except Exception as error:
            raise DerivationError(_raised(self.derivation, error)) from error

    def trace(self, r: int, x: Array, y: Array, z: Array) -> Trace:
        """What the rule may use, for member r: copies, so that it cannot spoil the network's own arrays."""
        net, depth, dtype = self.net, self.net.layout.depth, z.dtype
        own_x = _fixed((x[r] if len(x) > 1 else x[0])[:, :-1])
        own_y, own_z = _fixed(y[r]), _fixed(z[r])
        p, dz = np.empty_like(own_z)[None], np.empty_like(own_z)[None]
        net.loss.link(own_z[None], p)
        net.loss.gradient(own_z[None], own_y[None], dz)

        def phi(a: Array) -> Array:
            a = np.ascontiguousarray(a, dtype)
            out = np.empty_like(a)
            net.activation.forward(a, out)
            return out

        def dphi(a: Array) -> Array:
            a = np.ascontiguousarray(a, dtype)
            slope = np.ones_like(a)
            net.activation.backward(a, phi(a), slope, (np.empty_like(a), np.empty_like(a)))
            return slope

        def backprop() -> dict[str, Array]:
            before = self.grad.copy()
            self.passing.backprop(x, y, z)
            own = {name: view[r].copy() for name, view in self.gradients.items()}
            self.grad[...] = before
            return own

        return Trace(
            x=own_x,
            y=own_y,
            p=_fixed(p[0]),
            z=own_z,
            a={layer: _fixed(a[r].T) for layer, a in enumerate(self.passing.a, start=1)} | {depth: own_z},
            h={0: own_x} | {layer: _fixed(h[r].T) for layer, h in enumerate(self.passing.h, start=1)},
            W={layer: _fixed(self.tensors[f"W{layer}"][r]) for layer in range(1, depth + 1)},
            b={layer: _fixed(self.tensors[f"b{layer}"][r]) for layer in range(1, depth + 1)},
            N=len(own_z),
            phi=phi,
            dphi=dphi,
            dloss=lambda: dz[0].copy(),
            backprop=backprop,
        )

    def _write(self, r: int, given: Any) -> None:
        name = f"derivation {self.derivation.name!r}"
        if not isinstance(given, Mapping):
            raise DerivationError(
                f"{name} must return a dict of gradients by tensor name, got {type(given).__name__}"
            )
        named = cast("Mapping[str, object]", given)
        if set(named) != set(self.gradients):
            raise DerivationError(
                f"{name} must return the gradients of {', '.join(self.gradients)}, got {', '.join(map(str, named))}"
            )
        for tensor, view in self.gradients.items():
            values: Array = np.asarray(named[tensor])
            if values.shape != view[r].shape:
                raise DerivationError(
                    f"{name}: the gradient of {tensor} must have its shape {view[r].shape}, got {values.shape}"
                )
            if values.dtype.kind not in ("biufc" if view.dtype.kind == "c" else "biuf"):
                raise DerivationError(
                    f"{name}: the gradient of {tensor} must be real numbers, got {values.dtype}"
                )
            view[r] = values


def _raised(derivation: Derivation, error: Exception) -> str:
    """What a rule raised, and the line of its own file in which it did."""
    text = f"derivation {derivation.name!r} raised {type(error).__name__}: {error}"
    own = type(derivation).gradients.__code__.co_filename
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == own]
    if frames:
        text += f"\n    {os.path.relpath(own)}, line {frames[-1].lineno}, in {frames[-1].name}:"
        text += f"\n    {frames[-1].line}"
    if "read-only" in str(error):
        text += "\n    the arrays of a trace are read-only: change a copy, as in trace.a[1].copy()"
    return text


def _fixed(array: Array) -> Array:
    """A contiguous read-only copy."""
    copy = np.array(array, order="C")
    copy.flags.writeable = False
    return copy
