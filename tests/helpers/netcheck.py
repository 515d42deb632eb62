"""Mistakes planted in an otherwise correct gradient."""

from dataclasses import dataclass
from typing import ClassVar

from backproof.contracts import Derivation
from backproof.discovery.registry import registry

REG = registry()


def missing_mean(grads, trace):
    return {name: trace.N * grad for name, grad in grads.items()}


def planted(mistake):
    @dataclass(frozen=True)
    class Planted(Derivation):
        name: ClassVar[str] = mistake.__name__

        def gradients(self, trace):
            return mistake(trace.backprop(), trace)

    return Planted()
