"""The two terms of the objective as functions of theta: the data loss on fixed samples, and the penalty."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from backproof.contracts import Array, Penalty
from backproof.data import with_ones
from backproof.nn.derivation import build_pass
from backproof.nn.functions import stacked_targets
from backproof.nn.mlp import MLP, Layout, Pass
from backproof.nn.training import slice_members


class _Buffers(NamedTuple):
    """Memory for S parameter vectors of one dtype."""

    theta: Array  # (S, P)
    grad: Array  # (S, P), or (S, 0) for values alone
    network_pass: Pass
    xT: Array  # noqa: N815  (1, D+1, N)
    z: Array  # (S, K, N)


class DataLoss:
    """The data loss on fixed samples as a function of theta, real or complex, for checks and evaluation.

    X (N, D) scaled features, y (N, K) encoded targets. Memory is reused: a result is overwritten by the next call.
    """

    def __init__(self, net: MLP, X: Array, y: Array, dtype: DTypeLike = np.float64) -> None:
        self.net, self.N = net, len(X)
        self.x = with_ones(X, dtype)[None]
        self.y = stacked_targets(y, dtype)
        self._last: _Buffers | None = None

    def value(self, theta: Array) -> Array:
        """Return the losses (S,) of S parameter vectors (S, P)."""
        return self.net.loss.value(self.logits(theta), self.y)

    def logits(self, theta: Array) -> Array:
        """Return z (S, N, K) at theta (S, P)."""
        buffers = self._buffers(theta)
        buffers.theta[...] = theta
        buffers.network_pass.forward(buffers.xT, buffers.z)
        return buffers.z.swapaxes(1, 2)

    def preactivations(self, theta: Array) -> list[Array]:
        """Return a1, a2, ... (S, H, N) of the hidden layers at theta (S, P)."""
        self.logits(theta)
        return self._buffers(theta).network_pass.a

    def gradient(self, theta: Array) -> Array:
        """Return the hand-derived gradients (S, P) at theta (S, P), in theta's dtype.

        At a complex theta the backward pass runs in complex numbers, so that it can itself be differentiated.
        """
        buffers = self._buffers(theta, with_gradient=True)
        z = self.logits(theta)
        buffers.network_pass.backward(buffers.xT.swapaxes(1, 2), np.broadcast_to(self.y, z.shape), z)
        return buffers.grad

    def input_gradient(self, theta: Array) -> Array:
        """Return ∂Err/∂x (S, N, D) by the network's own backward pass, at theta (S, P)."""
        buffers = self._buffers(theta, with_gradient=True)
        z = self.logits(theta)
        buffers.network_pass.backprop(buffers.xT.swapaxes(1, 2), np.broadcast_to(self.y, z.shape), z)
        return buffers.network_pass.input_gradient().swapaxes(1, 2)

    def _buffers(self, theta: Array, *, with_gradient: bool = False) -> _Buffers:
        last = self._last
        fits = last is not None and last.theta.shape == theta.shape and last.theta.dtype == theta.dtype
        if last is None or not fits or (with_gradient and not last.grad.size):
            last = self._last = self._allocate(theta, with_gradient=with_gradient)
        return last

    def _allocate(self, theta: Array, *, with_gradient: bool) -> _Buffers:
        S, dtype = len(theta), theta.dtype
        # A complex theta is mostly used for values alone, which need no memory for gradients.
        with_gradient = with_gradient or dtype.kind == "f"
        copy = np.empty(theta.shape, dtype)
        grad = np.empty(theta.shape if with_gradient else (S, 0), dtype)
        network_pass = build_pass(self.net, copy, grad if with_gradient else None, self.N)
        z = np.empty((S, self.net.sizes[-1], self.N), dtype)
        return _Buffers(copy, grad, network_pass, self.x.astype(dtype).swapaxes(1, 2), z)


class PenaltyTerm:
    """The penalty of a stack's first member as a function of theta."""

    def __init__(self, penalty: Penalty, layout: Layout) -> None:
        self.penalty = slice_members(penalty, slice(0, 1))
        self.mask = layout.mask(np.float64, biases=penalty.biases)

    def value(self, theta: Array) -> Array:
        """Return the penalties (S,) of S parameter vectors (S, P)."""
        return self.penalty.value(theta, self.mask)

    def gradient(self, theta: Array) -> Array:
        """Return the hand-derived gradient (P,) at theta (P,)."""
        grad = np.zeros((1, len(theta)))
        self.penalty.gradient(theta[None], self.mask, grad, np.empty_like(grad))
        return grad[0]
