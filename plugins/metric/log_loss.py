"""Log loss."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from backproof.contracts import CLASSIFICATION, Array, Metric


@dataclass(frozen=True)
class LogLoss(Metric):
    """The mean of −log p of the true class (scikit-learn's log_loss, which raises p to at least 2.2e-16).

    For a loss without such a floor, see `val/loss`.
    """

    tasks: ClassVar[tuple[str, ...]] = (CLASSIFICATION,)
    reads: ClassVar[tuple[str, ...]] = ("probability",)
    greater_is_better: ClassVar[bool] = False

    def __call__(self, prediction: Array, y: Array) -> Array:
        from sklearn.metrics import log_loss  # pyright: ignore

        labels = np.arange(prediction.shape[-1])
        return np.array([log_loss(y, member, labels=labels) for member in prediction])
