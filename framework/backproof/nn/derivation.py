"""A user's backward rule in place of the network's, for checks and for training."""

from __future__ import annotations

import os
import traceback
from collections.abc import Mapping
from typing import cast

import numpy as np

from backproof.contracts import Array, Derivation, Trace
from backproof.contracts.errors import DerivationError
from backproof.data import with_ones
from backproof.nn import functions
from backproof.nn.functions import stacked_targets
from backproof.nn.mlp import MLP, Pass


def build_pass(net: MLP, theta: Array, grad: Array | None, B: int) -> Pass:
    """Return a pass whose backward rule is the network's derivation, or `backprop` if that is native or None."""
    derivation = net.derivation
    if derivation is None or derivation.native:
        return Pass(net, theta, grad, B)
    return Pass(net, theta, grad, B, lambda network_pass: DerivationRule(derivation, network_pass))


def trace_and_gradients(net: MLP, theta: Array, X: Array, y: Array) -> tuple[Trace, dict[str, Array]]:
    """Return a network's trace at theta (P,) in float64, and the gradients of its backward rule by tensor.

    X (N, D) scaled features, y (N, K) encoded targets.
    """
    theta = np.ascontiguousarray(theta[None], np.float64)
    network_pass = build_pass(net, theta, np.zeros_like(theta), len(X))
    x, z_memory = with_ones(X, np.float64)[None], np.empty((1, net.sizes[-1], len(X)))
    targets, z = stacked_targets(y, np.float64), z_memory.swapaxes(1, 2)
    network_pass.forward(x.swapaxes(1, 2), z_memory)
    network_pass.backward(x, targets, z)
    gradients = {name: view[0].copy() for name, view in net.layout.tensors(_grad(network_pass)).items()}
    return member_trace(network_pass, 0, x, targets, z), gradients


def member_trace(network_pass: Pass, r: int, x: Array, y: Array, z: Array) -> Trace:
    """Return the data available to a backward rule, for member r, after `forward` on the batch.

    All arrays are copies, so that a rule cannot change the network's arrays. x (R or 1, B, D+1), y and z (R, B, K).
    """
    net, depth, dtype = network_pass.net, network_pass.net.layout.depth, z.dtype
    tensors = net.layout.tensors(network_pass.theta)
    member_x = _read_only((x[r] if len(x) > 1 else x[0])[:, :-1])
    member_y, member_z = _read_only(y[r]), _read_only(z[r])
    p, dz = np.empty_like(member_z)[None], np.empty_like(member_z)[None]
    net.loss.link(member_z[None], p)
    net.loss.gradient(member_z[None], member_y[None], dz)
    a = {layer: _read_only(stack[r].T) for layer, stack in enumerate(network_pass.a, start=1)}
    h = {layer: _read_only(stack[r].T) for layer, stack in enumerate(network_pass.h, start=1)}

    def backprop() -> dict[str, Array]:
        grad = _grad(network_pass)
        before = grad.copy()
        network_pass.backprop(x, y, z)
        gradients = {name: view[r].copy() for name, view in net.layout.tensors(grad).items()}
        grad[...] = before
        return gradients

    return Trace(
        x=member_x,
        y=member_y,
        p=_read_only(p[0]),
        z=member_z,
        a=a | {depth: member_z},
        h={0: member_x} | h,
        W={layer: _read_only(tensors[f"W{layer}"][r]) for layer in range(1, depth + 1)},
        b={layer: _read_only(tensors[f"b{layer}"][r]) for layer in range(1, depth + 1)},
        N=len(member_z),
        phi=lambda values: functions.phi(net.activation, np.ascontiguousarray(values, dtype)),
        dphi=lambda values: functions.dphi(net.activation, np.ascontiguousarray(values, dtype)),
        dloss=lambda: dz[0].copy(),
        backprop=backprop,
    )


class DerivationRule:
    """A derivation as the backward rule of a pass, member by member. It is slower than `Pass.backprop`."""

    def __init__(self, derivation: Derivation, network_pass: Pass) -> None:
        self.derivation, self.network_pass = derivation, network_pass
        self.views = network_pass.net.layout.tensors(_grad(network_pass))

    def __call__(self, x: Array, y: Array, z: Array) -> None:
        """Write the gradients into the pass's `grad`. x (R or 1, B, D+1), y and z (R, B, K)."""
        for r in range(len(z)):
            self._write(r, self._gradients(member_trace(self.network_pass, r, x, y, z)))

    def _gradients(self, trace: Trace) -> object:
        """Return what the derivation returns. Raise DerivationError, with the line of its file, if it raises."""
        try:
            return self.derivation.gradients(trace)
        except Exception as error:
            from backproof.formulas.errors import FormulaError

            if isinstance(error, FormulaError):
                raise  # It already points at the wrong part of the formula.
            raise DerivationError(_error_text(self.derivation, error)) from error

    def _write(self, r: int, result: object) -> None:
        name = f"derivation {self.derivation.name!r}"
        if not isinstance(result, Mapping):
            raise DerivationError(
                f"{name} must return a dict of gradients by tensor name, got {type(result).__name__}"
            )
        gradients = cast("Mapping[str, object]", result)
        if set(gradients) != set(self.views):
            raise DerivationError(
                f"{name} must return the gradients of {', '.join(self.views)}, got {', '.join(map(str, gradients))}"
            )
        for tensor, view in self.views.items():
            values: Array = np.asarray(gradients[tensor])
            if values.shape != view[r].shape:
                raise DerivationError(
                    f"{name}: the gradient of {tensor} must have its shape {view[r].shape}, got {values.shape}"
                )
            if values.dtype.kind not in ("biufc" if view.dtype.kind == "c" else "biuf"):
                raise DerivationError(
                    f"{name}: the gradient of {tensor} must be real numbers, got {values.dtype}"
                )
            view[r] = values


def _error_text(derivation: Derivation, error: Exception) -> str:
    """Return what a derivation raised, with the line of its file that raised it."""
    text = f"derivation {derivation.name!r} raised {type(error).__name__}: {error}"
    file = type(derivation).gradients.__code__.co_filename
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    if frames:
        text += f"\n    {os.path.relpath(file)}, line {frames[-1].lineno}, in {frames[-1].name}:"
        text += f"\n    {frames[-1].line}"
    if "read-only" in str(error):
        text += "\n    the arrays of a trace are read-only: change a copy, as in trace.a[1].copy()"
    return text


def _grad(network_pass: Pass) -> Array:
    assert network_pass.grad is not None, "a backward rule needs a pass with a gradient"
    return network_pass.grad


def _read_only(array: Array) -> Array:
    """Return a contiguous read-only copy."""
    copy = np.array(array, order="C")
    copy.flags.writeable = False
    return copy
