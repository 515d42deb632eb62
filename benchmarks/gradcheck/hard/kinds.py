"""All kinds: importing a family registers its kinds."""

from benchmarks.gradcheck.hard import domains, imaginary, iterative, jumps, kinks, scales
from benchmarks.gradcheck.hard.kind import KINDS

FAMILIES = (kinks, domains, scales, imaginary, jumps, iterative)

__all__ = ["FAMILIES", "KINDS"]
