"""R²."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from backproof.contracts import REGRESSION, Array, Metric


@dataclass(frozen=True)
class R2(Metric):
    """1 − Σ (y − ŷ)² / Σ (y − mean y)², then the mean over targets (scikit-learn's r2_score).

    NaN for fewer than two samples.
    """

    tasks: ClassVar[tuple[str, ...]] = (REGRESSION,)
    default_for: ClassVar[tuple[str, ...]] = (REGRESSION,)
    reads: ClassVar[tuple[str, ...]] = ("value",)

    def __call__(self, prediction: Array, y: Array) -> Array:
        from sklearn.metrics import r2_score  # pyright: ignore

        if len(y) < 2:
            return np.full(len(prediction), np.nan)
        # If errors are too large to be squared, the result is −inf.
        with np.errstate(over="ignore", invalid="ignore"):
            return np.array([r2_score(y, member) for member in prediction])
