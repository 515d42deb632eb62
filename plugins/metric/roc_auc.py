"""Area under the ROC curve."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from backproof.contracts import CLASSIFICATION, MULTILABEL, Array, Metric


@dataclass(frozen=True)
class RocAuc(Metric):
    """The probability that a sample of a class has a higher score for it than one of another class.

    It is the mean over classes or labels (scikit-learn's roc_auc_score, one against the rest, which takes scores
    too); of two classes, that of the second. NaN if a class is missing, or if all or no samples have a label.
    """

    tasks: ClassVar[tuple[str, ...]] = (CLASSIFICATION, MULTILABEL)
    reads: ClassVar[tuple[str, ...]] = ("probability", "score")

    def __call__(self, prediction: Array, y: Array) -> Array:
        from sklearn.metrics import roc_auc_score  # pyright: ignore

        K = prediction.shape[-1]
        truth = (y[:, None] == np.arange(K)) if y.ndim == 1 else y.astype(bool)
        if y.ndim == 1 and K == 2:
            truth, prediction = truth[:, 1:], prediction[..., 1:]
        if truth.all(axis=0).any() or not truth.any(axis=0).all():
            return np.full(len(prediction), np.nan)
        # scikit-learn takes differences of the scores. Their overflow is harmless.
        with np.errstate(over="ignore", invalid="ignore"):
            return np.array([roc_auc_score(truth, member, average="macro") for member in prediction])
