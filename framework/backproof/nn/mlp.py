"""Floor 2: the network. One flat theta, views into it, forward, and the backward pass derived by hand.

    a1 = W1 x + b1,  h1 = φ(a1),  a2 = W2 h1 + b2,  ...,  z = WL h(L-1) + bL

A network is a stack of R networks: theta is (R, P), and member r of every array is what the network would
compute alone, bit for bit. In memory the features come before the samples, (R, H, B): a product then needs no
copy, and sums over the K outputs run along contiguous samples. A layer is one block [W | b] of theta, and its
input carries a row of ones, so that one product does weights and bias, forward and backward.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import DTypeLike

from backproof.contracts import Activation, Array, Derivation, Initializer, Loss
from backproof.data import with_ones
from backproof.nn.derivation import DerivedPass


@dataclass(frozen=True)
class Layout:
    """Where each tensor lies in theta, for layers of these sizes: (D, H1, ..., K)."""

    sizes: tuple[int, ...]

    @property
    def depth(self) -> int:
        """L, the number of layers with weights."""
        return len(self.sizes) - 1

    @functools.cached_property
    def P(self) -> int:
        """The number of parameters."""
        return sum(out * (n + 1) for n, out in zip(self.sizes[:-1], self.sizes[1:], strict=True))

    def blocks(self, theta: Array) -> list[Array]:
        """[W | b] of each layer, (..., out, in + 1): views of theta (..., P)."""
        views: list[Array] = []
        start = 0
        for n, out in zip(self.sizes[:-1], self.sizes[1:], strict=True):
            stop = start + out * (n + 1)
            views.append(theta[..., start:stop].reshape(*theta.shape[:-1], out, n + 1))
            start = stop
        return views

    def tensors(self, theta: Array) -> dict[str, Array]:
        """W1 (..., H1, D), b1 (..., H1), W2, ... by name: views of theta (..., P)."""
        named: dict[str, Array] = {}
        for layer, block in enumerate(self.blocks(theta), start=1):
            named[f"W{layer}"], named[f"b{layer}"] = block[..., :-1], block[..., -1]
        return named

    @functools.cached_property
    def indices(self) -> dict[str, Array]:
        """For each tensor, of its shape, where its entries lie in theta."""
        return self.tensors(np.arange(self.P))

    def mask(self, dtype: DTypeLike, *, biases: bool) -> Array:
        """(P,): 1 for weights, and for biases if asked; else 0."""
        mask = np.ones(self.P, dtype=dtype)
        if not biases:
            for block in self.blocks(mask):
                block[..., -1] = 0
        return mask

    def pack(self, tensors: Mapping[str, Array]) -> Array:
        """Theta (..., P) from tensors by name. Raises ValueError where one is missing or has another shape."""
        lead = np.shape(tensors["b1"])[:-1] if "b1" in tensors else ()
        theta = np.empty((*lead, self.P), dtype=np.result_type(*tensors.values()))
        for name, view in self.tensors(theta).items():
            shape = np.shape(tensors[name]) if name in tensors else "nothing"
            if shape != view.shape:
                raise ValueError(f"tensor {name} must have shape {view.shape}, got {shape}")
            view[...] = tensors[name]
        return theta


@dataclass(frozen=True)
class MLP:
    """A multi-layer perceptron: a function of theta, without state of its own."""

    sizes: tuple[int, ...]
    activation: Activation
    loss: Loss
    #: A backward rule to use instead of the network's own; None, or a native one, for its own.
    derivation: Derivation | None = None

    @functools.cached_property
    def layout(self) -> Layout:
        """Where each tensor lies in theta."""
        return Layout(self.sizes)

    def initial(self, initializer: Initializer, rngs: Sequence[np.random.Generator], dtype: DTypeLike) -> Array:
        """Theta (R, P) before training: weights by the initializer, member r's from rngs[r]; biases zero."""
        theta = np.zeros((len(rngs), self.layout.P), dtype=dtype)
        blocks = self.layout.blocks(theta)
        for r, rng in enumerate(rngs):
            for block in blocks:
                initializer.fill(block[r, :, :-1], rng)
        return theta


class Pass:
    """Forward and backward of a network for batches of B samples, in memory that is allocated once.

    theta (R, P) is read and grad (R, P) is written in place, both at every call; without `grad` only `forward`
    can be called. Shapes: x (R or 1, B, D+1), the last column ones; xT the same with its last axes swapped;
    y and z (R, B, K), swapped views of (R, K, B) memory.
    """

    def __init__(self, net: MLP, theta: Array, grad: Array | None, B: int) -> None:
        R, dtype = len(theta), theta.dtype
        hidden, K = net.sizes[1:-1], net.sizes[-1]
        self.phi, self.dphi, self.dloss = net.activation.forward, net.activation.backward, net.loss.gradient
        self.a = [np.empty((R, H, B), dtype) for H in hidden]
        with_one = [np.ones((R, H + 1, B), dtype) for H in hidden]
        #: h1, h2, ... (R, H, B), without the row of ones
        self.h = [h[:, :-1] for h in with_one]
        # One network alone takes np.dot: on small matrices two thirds of np.matmul's time, and the same bits, since
        # both give them to the same routine of BLAS (not where a side is 1). Its operands have no stack axis.
        self._alone = R == 1 and min(*net.sizes, B) > 1
        self._product: Callable[[Array, Array, Array], object] = np.dot if self._alone else np.matmul
        matrices: Callable[[Array], Array] = _only if self._alone else _all
        layers = net.layout.blocks(theta)
        self._up = [
            (matrices(Wb), matrices(a), a, h, matrices(h_with_one))
            for Wb, a, h, h_with_one in zip(layers[:-1], self.a, self.h, with_one, strict=True)
        ]
        self._last = matrices(layers[-1])
        if grad is None:
            return
        into = net.layout.blocks(grad)
        self._into_first = matrices(into[0])
        grad_z = np.empty((R, K, B), dtype)
        self._grad_z, self._grad_z_rows = matrices(grad_z), grad_z.swapaxes(1, 2)
        grad_a = [np.empty_like(a) for a in self.a]
        work = [(np.empty_like(a), np.empty_like(a)) for a in self.a]
        self._first = layers[0][..., :-1].swapaxes(1, 2), (grad_a or [grad_z])[0]
        self._down = [
            (
                matrices(h.swapaxes(1, 2)),
                matrices(G),
                matrices(T[..., :-1].swapaxes(1, 2)),
                matrices(ga),
                ga,
                a,
                h[:, :-1],
                w,
            )
            for h, G, T, ga, a, w in zip(with_one, into[1:], layers[1:], grad_a, self.a, work, strict=True)
        ][::-1]
        native = net.derivation is None or net.derivation.native
        #: Writes the gradient of the data loss on a batch into `grad`, after `forward` on the same batch.
        self.backward: Callable[[Array, Array, Array], None] = (
            self.backprop if native else DerivedPass(net, cast(Derivation, net.derivation), self, theta, grad)
        )

    def forward(self, xT: Array, z_memory: Array) -> None:
        """Write the logits into z_memory (R, K, B)."""
        product, below = self._product, xT
        if self._alone:
            below, z_memory = xT[0], z_memory[0]
        for Wb, into_a, a, h, h_with_one in self._up:
            product(Wb, below, into_a)  # a_h = Σ_m (W1)_hm x_m + (b1)_h, the whole pre-activation
            self.phi(a, h)  # h = φ(a)
            below = h_with_one
        product(self._last, below, z_memory)  # z_k = Σ_h (W2)_kh h_h + (b2)_k

    def backprop(self, x: Array, y: Array, z: Array) -> None:
        """The network's own backward rule: ∂Err/∂theta into `grad`, after `forward` on the same batch.

        In the homework's letters, for one hidden layer; deeper layers repeat (b) and (c) with the layer's own
        input in the place of x. The sum over the samples of the batch is in the products, its 1/B in (α).
        """
        # (α)  ∂Err/∂z_k = p_k − y_k,  p = softmax(z)                    [or the other losses' own]
        self.dloss(z, y, self._grad_z_rows)
        product, g = self._product, self._grad_z
        for h_with_one, G, W, into_a, grad_a, a, h, work in self._down:
            # (b)  ∂Err/∂(W2)_kh = (p_k − y_k) φ(a_h),  ∂Err/∂(b2)_k = p_k − y_k     [by the row of ones]
            product(g, h_with_one, G)
            # (c)  ∂Err/∂a_h = Σ_k (p_k − y_k)(W2)_kh φ'(a_h); φ' = 0 at a ≤ 0 for ReLU
            np.matmul(W, g, into_a)  # np.dot would copy W, which is part of [W | b]
            self.dphi(a, h, grad_a, work)
            g = into_a
        # (c)  ∂Err/∂(W1)_hd = ∂Err/∂a_h x_d,  ∂Err/∂(b1)_h = ∂Err/∂a_h  [by the ones beside x]
        product(g, x[0] if self._alone else x, self._into_first)

    def input_gradient(self) -> Array:
        """∂Err/∂x (R, D, B), after `backprop` on the same batch."""
        W, grad_a = self._first
        # (d)  ∂Err/∂x_d = Σ_h ∂Err/∂a_h (W1)_hd
        return np.matmul(W, grad_a)


def _only(stack: Array) -> Array:
    """The one network's matrix, without the stack axis."""
    return stack[0]


def _all(stack: Array) -> Array:
    return stack


class Objective:
    """The data loss on fixed samples as a function of theta, real or complex, for checks and evaluation.

    X (N, D) scaled features, y (N, K) encoded targets.
    """

    def __init__(self, net: MLP, X: Array, y: Array, dtype: DTypeLike = np.float64) -> None:
        self.net, self.N = net, len(X)
        self.x = with_ones(X, dtype)[None]
        self.y = np.asarray(y, dtype=dtype).T.copy()[None].swapaxes(1, 2)
        self._pass: tuple[Array, Array, Pass, Array, Array] | None = None

    def value(self, theta: Array) -> Array:
        """(S,) losses of S parameter vectors (S, P)."""
        return self.net.loss.value(self.logits(theta), self.y)

    def logits(self, theta: Array) -> Array:
        """Z (S, N, K); overwritten by the next call."""
        own, _, passing, xT, z = self._buffers(theta)
        own[...] = theta
        passing.forward(xT, z)
        return z.swapaxes(1, 2)

    def preactivations(self, theta: Array) -> list[Array]:
        """a1, a2, ... (S, H, N) of the hidden layers; overwritten by the next call."""
        self.logits(theta)
        return self._buffers(theta)[2].a

    def gradient(self, theta: Array) -> Array:
        """(S, P) hand-derived gradients at theta (S, P), of theta's dtype; overwritten by the next call.

        At a complex theta the backward pass is made in complex numbers, for its own derivative.
        """
        own, grad, passing, xT, z = self._buffers(theta, graded=True)
        own[...] = theta
        passing.forward(xT, z)
        logits = z.swapaxes(1, 2)
        passing.backward(xT.swapaxes(1, 2), np.broadcast_to(self.y, logits.shape), logits)
        return grad

    def input_gradient(self, theta: Array) -> Array:
        """∂Err/∂x (S, N, D) by the network's own backward pass, at theta (S, P)."""
        _, _, passing, xT, _ = self._buffers(theta, graded=True)
        logits = self.logits(theta)
        passing.backprop(xT.swapaxes(1, 2), np.broadcast_to(self.y, logits.shape), logits)
        return passing.input_gradient().swapaxes(1, 2)

    def _buffers(self, theta: Array, *, graded: bool = False) -> tuple[Array, Array, Pass, Array, Array]:
        last = self._pass
        fits = last is not None and last[0].shape == theta.shape and last[0].dtype == theta.dtype
        if last is None or not fits or (graded and not last[1].size):
            S, dtype = len(theta), theta.dtype
            own = np.empty(theta.shape, dtype)
            # A complex theta is mostly for values alone; these need no memory for gradients.
            graded = graded or dtype.kind == "f"
            grad = np.empty(theta.shape if graded else (S, 0), dtype)
            passing = Pass(self.net, own, grad if graded else None, self.N)
            z = np.empty((S, self.net.sizes[-1], self.N), dtype)
            last = self._pass = own, grad, passing, self.x.astype(dtype).swapaxes(1, 2), z
        return last
