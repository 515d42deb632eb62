"""The network: one flat theta, views into it, the forward pass, and the backward pass derived by hand.

    a1 = W1 x + b1,  h1 = φ(a1),  a2 = W2 h1 + b2,  ...,  z = WL h(L-1) + bL

A network is a stack of R networks: theta is (R, P), and member r of every array is what the network would
compute alone, bit for bit. In memory the features come before the samples, (R, H, B): products then need no
copy, and sums over the K outputs run along contiguous samples. A layer is one block [W | b] of theta, and its
input carries a row of ones, so that one product covers weights and bias, forward and backward.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from backproof.contracts import Activation, Array, Derivation, Initializer, Loss

#: Writes ∂Err/∂theta of the batch (x, y, z) into a pass's `grad`, after `forward` on the same batch.
BackwardRule: TypeAlias = Callable[[Array, Array, Array], None]


@dataclass(frozen=True)
class Layout:
    """The position of each tensor in theta, for layer sizes (D, H1, ..., K)."""

    sizes: tuple[int, ...]

    @property
    def depth(self) -> int:
        """Return L, the number of layers with weights."""
        return len(self.sizes) - 1

    @functools.cached_property
    def P(self) -> int:
        """Return the number of parameters."""
        return sum(out * (n + 1) for n, out in zip(self.sizes[:-1], self.sizes[1:], strict=True))

    def blocks(self, theta: Array) -> list[Array]:
        """Return [W | b] of each layer, (..., out, in + 1), as views of theta (..., P)."""
        views: list[Array] = []
        start = 0
        for n, out in zip(self.sizes[:-1], self.sizes[1:], strict=True):
            stop = start + out * (n + 1)
            views.append(theta[..., start:stop].reshape(*theta.shape[:-1], out, n + 1))
            start = stop
        return views

    def tensors(self, theta: Array) -> dict[str, Array]:
        """Return W1 (..., H1, D), b1 (..., H1), W2, ... by name, as views of theta (..., P)."""
        tensors: dict[str, Array] = {}
        for layer, block in enumerate(self.blocks(theta), start=1):
            tensors[f"W{layer}"], tensors[f"b{layer}"] = block[..., :-1], block[..., -1]
        return tensors

    @functools.cached_property
    def indices(self) -> dict[str, Array]:
        """Return for each tensor an array of its shape with the positions of its entries in theta."""
        return self.tensors(np.arange(self.P))

    def mask(self, dtype: DTypeLike, *, biases: bool) -> Array:
        """Return (P,): 1 for weights, and 1 for biases if `biases`, else 0."""
        mask = np.ones(self.P, dtype=dtype)
        if not biases:
            for block in self.blocks(mask):
                block[..., -1] = 0
        return mask

    def pack(self, tensors: Mapping[str, Array]) -> Array:
        """Return theta (..., P) from tensors by name. Raise ValueError if one is missing or has another shape."""
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
    """A multi-layer perceptron: a stateless function of theta."""

    sizes: tuple[int, ...]
    activation: Activation
    loss: Loss
    #: A backward rule that replaces the network's, unless it is None or native.
    derivation: Derivation | None = None

    @functools.cached_property
    def layout(self) -> Layout:
        """Return the position of each tensor in theta."""
        return Layout(self.sizes)

    def initial(self, initializer: Initializer, rngs: Sequence[np.random.Generator], dtype: DTypeLike) -> Array:
        """Return theta (R, P) before training: weights by the initializer, member r's from rngs[r]; biases zero."""
        theta = np.zeros((len(rngs), self.layout.P), dtype=dtype)
        blocks = self.layout.blocks(theta)
        for r, rng in enumerate(rngs):
            for block in blocks:
                initializer.fill(block[r, :, :-1], rng)
        return theta


class ForwardLayer(NamedTuple):
    """Views of hidden layer l for the forward pass. `_operand` lacks the stack axis if there is one network."""

    block_operand: Array  # [W | b] of layer l, (R, H, n+1)
    a_operand: Array
    a: Array  # (R, H, B)
    h: Array  # (R, H, B), without the row of ones
    h_operand: Array  # (R, H+1, B), with the row of ones


class BackwardLayer(NamedTuple):
    """Views of hidden layer l and of layer l+1 for the backward pass. `_operand` as in `ForwardLayer`."""

    h_operand: Array  # (R, B, H+1), transposed, with the row of ones
    grad_block_operand: Array  # ∂Err/∂[W | b] of layer l+1
    W_operand: Array  # W of layer l+1, transposed
    grad_a_operand: Array
    grad_a: Array  # ∂Err/∂a (R, H, B)
    a: Array
    h: Array
    work: tuple[Array, Array]


class Pass:
    """Forward and backward of a network for batches of B samples, in memory that is allocated once.

    theta (R, P) is read and grad (R, P) is written in place at every call; without `grad` only `forward` may be
    called. Shapes: x (R or 1, B, D+1), its last column ones; xT is x with the last two axes swapped; y and z
    (R, B, K) are swapped views of (R, K, B) memory.

    backward  writes the gradient of the data loss on a batch into `grad`: the rule that `make_rule` makes of this
              pass, or `backprop`
    """

    backward: BackwardRule

    def __init__(
        self,
        net: MLP,
        theta: Array,
        grad: Array | None,
        B: int,
        make_rule: Callable[[Pass], BackwardRule] | None = None,
    ) -> None:
        R, dtype, hidden = len(theta), theta.dtype, net.sizes[1:-1]
        self.net, self.theta, self.grad = net, theta, grad
        self.phi, self.dphi, self.dloss = net.activation.forward, net.activation.backward, net.loss.gradient
        self.a = [np.empty((R, H, B), dtype) for H in hidden]
        self._h_with_one = [np.ones((R, H + 1, B), dtype) for H in hidden]
        #: h1, h2, ... (R, H, B), without the row of ones.
        self.h = [h[:, :-1] for h in self._h_with_one]
        # A single network uses np.dot: two thirds of np.matmul's time on small matrices, and the same bits, since
        # both call the same BLAS routine (not if a side is 1). Its operands have no stack axis.
        self._single = R == 1 and min(*net.sizes, B) > 1
        self._product: Callable[[Array, Array, Array], object] = np.dot if self._single else np.matmul
        blocks = net.layout.blocks(theta)
        self._forward_layers = [
            ForwardLayer(self._operand(Wb), self._operand(a), a, h, self._operand(h_with_one))
            for Wb, a, h, h_with_one in zip(blocks[:-1], self.a, self.h, self._h_with_one, strict=True)
        ]
        self._last_Wb = self._operand(blocks[-1])
        if grad is not None:
            self._allocate_backward(blocks, net.layout.blocks(grad), B)
            self.backward = self.backprop if make_rule is None else make_rule(self)

    def _operand(self, stack: Array) -> Array:
        """Return an operand for the product: without the stack axis if there is one network."""
        return stack[0] if self._single else stack

    def _allocate_backward(self, blocks: list[Array], grad_blocks: list[Array], B: int) -> None:
        R, K, dtype = len(self.theta), self.net.sizes[-1], self.theta.dtype
        grad_z = np.empty((R, K, B), dtype)
        self._grad_z, self._grad_z_operand = grad_z.swapaxes(1, 2), self._operand(grad_z)
        grad_a = [np.empty_like(a) for a in self.a]
        self._grad_first_a, self._first_WT = (grad_a or [grad_z])[0], blocks[0][..., :-1].swapaxes(1, 2)
        self._grad_first_Wb = self._operand(grad_blocks[0])
        self._backward_layers = [
            BackwardLayer(
                self._operand(self._h_with_one[i].swapaxes(1, 2)),
                self._operand(grad_blocks[i + 1]),
                self._operand(blocks[i + 1][..., :-1].swapaxes(1, 2)),
                self._operand(grad_a[i]),
                grad_a[i],
                self.a[i],
                self.h[i],
                (np.empty_like(self.a[i]), np.empty_like(self.a[i])),
            )
            for i in reversed(range(len(self.a)))
        ]

    def forward(self, xT: Array, z_memory: Array) -> None:
        """Write the logits into z_memory (R, K, B)."""
        product, below = self._product, xT
        if self._single:
            below, z_memory = xT[0], z_memory[0]
        for layer in self._forward_layers:
            product(layer.block_operand, below, layer.a_operand)  # a_h = Σ_m (W1)_hm x_m + (b1)_h
            self.phi(layer.a, layer.h)  # h = φ(a)
            below = layer.h_operand
        product(self._last_Wb, below, z_memory)  # z_k = Σ_h (W2)_kh h_h + (b2)_k

    def backprop(self, x: Array, y: Array, z: Array) -> None:
        """Write ∂Err/∂theta into `grad` by the network's own backward rule, after `forward` on the same batch.

        In the homework's letters, for one hidden layer; deeper layers repeat (b) and (c) with the layer's own
        input in place of x. The products contain the sum over the samples of the batch, (α) the factor 1/B.
        """
        # (α)  ∂Err/∂z_k = p_k − y_k,  p = softmax(z)                    [for other losses, their own]
        self.dloss(z, y, self._grad_z)
        product, g = self._product, self._grad_z_operand
        for layer in self._backward_layers:
            # (b)  ∂Err/∂(W2)_kh = (p_k − y_k) φ(a_h),  ∂Err/∂(b2)_k = p_k − y_k     [by the row of ones]
            product(g, layer.h_operand, layer.grad_block_operand)
            # (c)  ∂Err/∂a_h = Σ_k (p_k − y_k)(W2)_kh φ'(a_h); φ' = 0 at a ≤ 0 for ReLU
            np.matmul(layer.W_operand, g, layer.grad_a_operand)  # np.dot would copy W, which is part of [W | b]
            self.dphi(layer.a, layer.h, layer.grad_a, layer.work)
            g = layer.grad_a_operand
        # (c)  ∂Err/∂(W1)_hd = ∂Err/∂a_h x_d,  ∂Err/∂(b1)_h = ∂Err/∂a_h  [by the column of ones in x]
        product(g, x[0] if self._single else x, self._grad_first_Wb)

    def input_gradient(self) -> Array:
        """Return ∂Err/∂x (R, D, B), after `backprop` on the same batch."""
        # (d)  ∂Err/∂x_d = Σ_h ∂Err/∂a_h (W1)_hd
        return np.matmul(self._first_WT, self._grad_first_a)
