"""Macro-averaged F1."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from backproof.contracts import CLASSIFICATION, MULTILABEL, Array, Metric


@dataclass(frozen=True)
class F1Macro(Metric):
    """The mean over classes, or labels, of 2 TP / (2 TP + FP + FN) (scikit-learn's f1_score).

    A class that neither occurs nor is predicted counts as 0. A label is predicted if its probability is above one
    half.
    """

    tasks: ClassVar[tuple[str, ...]] = (CLASSIFICATION, MULTILABEL)
    default_for: ClassVar[tuple[str, ...]] = (MULTILABEL,)
    reads: ClassVar[tuple[str, ...]] = ("probability", "score")

    def __call__(self, prediction: Array, y: Array) -> Array:
        from sklearn.metrics import f1_score  # pyright: ignore

        labels = np.arange(prediction.shape[-1])
        predicted = prediction.argmax(axis=-1) if y.ndim == 1 else prediction > 0.5
        if y.shape[1:] == (1,):
            # scikit-learn would read a single label as two classes; class 1 is the label.
            y, predicted, labels = y[:, 0], predicted[..., 0], np.array([1])
        scores = [
            f1_score(y, member, average="macro", labels=labels, zero_division=0)  # pyright: ignore
            for member in predicted
        ]
        return np.array(scores)
