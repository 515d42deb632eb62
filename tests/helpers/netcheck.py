"""Mistakes planted in a gradient that is otherwise right."""

from dataclasses import dataclass
from typing import ClassVar

from backproof.contracts import Derivation
from backproof.discovery.registry import registry

REG = registry()


def missing_mean(grads, trace):
    return {name: trace.N * each for name, each in grads.items()}


def planted(mistake):
    @dataclass(frozen=True)
    class Planted(Derivation):
        name: ClassVar[str] = mistake.__name__

        def gradients(self, trace):
            return mistake(trace.backprop(), trace)

    return Planted()
