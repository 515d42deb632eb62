"""Orthogonal weights."""

from dataclasses import dataclass

import numpy as np
from backproof.contracts import Array, Initializer, hyper


@dataclass(frozen=True)
class Orthogonal(Initializer):
    """W = gain · Q, with orthonormal rows, or columns if there are fewer of them (Saxe, McClelland & Ganguli 2014).

    Q is uniformly distributed among all such matrices, thanks to the signs of R (Mezzadri 2007).
    """

    gain: float = hyper(1.0, "length of the rows: √2 is usual for ReLU", gt=0)

    def fill(self, W: Array, rng: np.random.Generator) -> None:
        long, short = max(W.shape), min(W.shape)
        Q, R = np.linalg.qr(rng.standard_normal((long, short)))
        Q *= np.where(np.diag(R) < 0, -1, 1)
        W[...] = self.gain * (Q if W.shape[0] == long else Q.T)
