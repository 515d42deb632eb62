"""The contract of a derivation: a backward rule that somebody derived by hand."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from backproof.contracts.base import Array, Plugin


@dataclass(frozen=True)
class Trace:
    """What a backward rule may use, in the homework's letters, for one network (no stack axis).

    Layers are counted from 1: a[1] is the first pre-activation, a[L] = z; h[0] = x. Arrays are read-only.
    """

    x: Array  # (N, D)
    y: Array  # (N, K) encoded targets
    p: Array  # (N, K) link(z)
    z: Array  # (N, K)
    a: Mapping[int, Array]  # l -> (N, H_l)
    h: Mapping[int, Array]  # l -> (N, H_l), h[0] = x
    W: Mapping[int, Array]  # l -> (H_l, H_{l-1})
    b: Mapping[int, Array]  # l -> (H_l,)
    N: int
    phi: Callable[[Array], Array]
    dphi: Callable[[Array], Array]
    dloss: Callable[[], Array]  # ∂Err/∂z (N, K), the 1/N included
    backprop: Callable[[], dict[str, Array]]  # the network's own backward pass


@dataclass(frozen=True)
class Derivation(Plugin):
    """A hand-derived backward rule, checked like any gradient and usable for training."""

    kind: ClassVar[str] = "derivation"
    #: True for the rule that is the network's own backward pass: training then takes the fast path.
    native: ClassVar[bool] = False
    #: The rule in index form by tensor, for reports; empty if it is code.
    formulas: ClassVar[Mapping[str, str]] = MappingProxyType({})

    def check(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Raise ValueError, which says why, if the rule is not for a network with tensors of these shapes."""

    @abstractmethod
    def gradients(self, trace: Trace) -> dict[str, Array]:
        """Return ∂Err/∂W1, ∂Err/∂b1, ... by tensor, each of the tensor's shape. Err is the data loss alone."""
