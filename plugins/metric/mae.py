"""Mean absolute error."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from backproof.contracts import REGRESSION, Array, Metric


@dataclass(frozen=True)
class MAE(Metric):
    """The mean of |y − ŷ| over samples and targets, in their units (scikit-learn's mean_absolute_error)."""

    tasks: ClassVar[tuple[str, ...]] = (REGRESSION,)
    reads: ClassVar[tuple[str, ...]] = ("value",)
    greater_is_better: ClassVar[bool] = False

    def __call__(self, prediction: Array, y: Array) -> Array:
        from sklearn.metrics import mean_absolute_error  # pyright: ignore

        # If errors are too large to be added, the result is inf.
        with np.errstate(over="ignore", invalid="ignore"):
            return np.array([mean_absolute_error(y, member) for member in prediction])
