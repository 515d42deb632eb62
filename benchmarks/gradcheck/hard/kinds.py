"""All kinds: importing a family registers its kinds."""

from benchmarks.gradcheck.hard import (
    domains,
    imaginary,
    iterative,
    jumps,
    kinks,
    likelihoods,
    losses,
    matrices,
    physics,
    scales,
    series,
    waves,
)
from benchmarks.gradcheck.hard.kind import KINDS

FAMILIES = (
    kinks,
    domains,
    scales,
    imaginary,
    jumps,
    iterative,
    waves,
    series,
    likelihoods,
    losses,
    matrices,
    physics,
)

__all__ = ["FAMILIES", "KINDS"]
