"""Root mean squared error."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from backproof.contracts import REGRESSION, Array, Metric


@dataclass(frozen=True)
class RMSE(Metric):
    """√ of the mean of (y − ŷ)² for each target, in its units; the mean over targets (scikit-learn's
    root_mean_squared_error)."""

    tasks: ClassVar[tuple[str, ...]] = (REGRESSION,)
    default_for: ClassVar[tuple[str, ...]] = (REGRESSION,)
    reads: ClassVar[tuple[str, ...]] = ("value",)
    greater_is_better: ClassVar[bool] = False

    def __call__(self, prediction: Array, y: Array) -> Array:
        from sklearn.metrics import root_mean_squared_error  # pyright: ignore

        # Errors too large to be squared give inf.
        with np.errstate(over="ignore", invalid="ignore"):
            return np.array([root_mean_squared_error(y, each) for each in prediction])
