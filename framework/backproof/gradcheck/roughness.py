"""How rough slopes are: how far they move where theta moves so little that a smooth function's slopes stay."""

from __future__ import annotations

import numpy as np

from backproof.contracts import Array
from backproof.gradcheck.claim import Claim
from backproof.gradcheck.exact import complex_slopes
from backproof.gradcheck.lines import LAST_BITS

#: Moves within the last bits of theta that show how rough a slope is, and the weight of what they show.
MOVES, ROUGH = 4, 10.0
#: Moves that are large enough for every rounding to fall differently, relative to the size of a parameter.
NEARBY = 2.0**-23
#: A rough gradient widens its own tolerance by no more than this.
ROUGHEST = 1e-6


class Roughness:
    """The roughness of the claimed slopes and of those by the complex step, measured when it is first needed.

    Within the last bits of theta, slopes that cancel inside f may all be rounded alike. A little further away they
    are not: there the gap between the two slopes of a line moves, which that of a mistake does not.
    """

    def __init__(self, claim: Claim, exact: Array) -> None:
        self.claim, self.exact = claim, exact
        self._known: tuple[Array, Array, Array] | None = None

    def of(self, row: int, size: float, *, complex_step: bool = True) -> float:
        """Return how wrong a slope of this size may be for being rough: the claimed one, and the one by the complex
        step where it is used."""
        if self._known is None:
            self._known = self._measured()
        exact, got, gap = (float(moved[row]) for moved in self._known)
        by_claim = min(ROUGH * (max(got, gap) if complex_step else got), ROUGHEST * size)
        return (ROUGH * exact if complex_step else 0.0) + by_claim

    def _measured(self) -> tuple[Array, Array, Array]:
        rng = np.random.default_rng(0)
        by_complex = bool(np.isfinite(self.exact).any())
        exact, got, gap = (np.zeros(len(self.exact)) for _ in range(3))
        for _ in range(MOVES):
            lines, slopes = self.claim.moved(rng, LAST_BITS)
            got = np.fmax(got, np.abs(slopes - self.claim.slopes))
            if by_complex:
                exact = np.fmax(exact, np.abs(complex_slopes(lines)[0] - self.exact))
        for _ in range(MOVES if by_complex else 0):
            lines, slopes = self.claim.moved(rng, NEARBY)
            apart = slopes - complex_slopes(lines)[0]
            gap = np.fmax(gap, np.abs(apart - (self.claim.slopes - self.exact)))
        return exact, got, gap
