"""Root mean squared error."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from backproof.contracts import REGRESSION, Array, Metric


@dataclass(frozen=True)
class RMSE(Metric):
    """√ mean (y − ŷ)² of each target, in its units, then the mean over targets.

    This is scikit-learn's root_mean_squared_error.
    """

    tasks: ClassVar[tuple[str, ...]] = (REGRESSION,)
    default_for: ClassVar[tuple[str, ...]] = (REGRESSION,)
    reads: ClassVar[tuple[str, ...]] = ("value",)
    greater_is_better: ClassVar[bool] = False

    def __call__(self, prediction: Array, y: Array) -> Array:
        from sklearn.metrics import root_mean_squared_error  # pyright: ignore

        # If errors are too large to be squared, the result is inf.
        with np.errstate(over="ignore", invalid="ignore"):
            return np.array([root_mean_squared_error(y, member) for member in prediction])
