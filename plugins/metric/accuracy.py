"""Accuracy."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from backproof.contracts import CLASSIFICATION, MULTILABEL, Array, Metric


@dataclass(frozen=True)
class Accuracy(Metric):
    """The share of samples whose class, or all of whose labels, are predicted correctly.

    The formula is that of scikit-learn's accuracy_score, which spends more time on checking its input than on it.
    A label is predicted if its probability is above one half.
    """

    tasks: ClassVar[tuple[str, ...]] = (CLASSIFICATION, MULTILABEL)
    default_for: ClassVar[tuple[str, ...]] = (CLASSIFICATION, MULTILABEL)
    reads: ClassVar[tuple[str, ...]] = ("probability", "score")

    def __call__(self, prediction: Array, y: Array) -> Array:
        if y.ndim == 1:
            return np.mean(prediction.argmax(axis=-1) == y, axis=-1)
        return np.mean(((prediction > 0.5) == y).all(axis=-1), axis=-1)
