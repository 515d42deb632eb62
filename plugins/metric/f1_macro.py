"""Macro-averaged F1."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from backproof.contracts import CLASSIFICATION, MULTILABEL, Array, Metric


@dataclass(frozen=True)
class F1Macro(Metric):
    """The mean over classes, or labels, of 2 TP / (2 TP + FP + FN); 0 for one that neither is nor is predicted
    (scikit-learn's f1_score). A label is chosen when its probability is above one half.
    """

    tasks: ClassVar[tuple[str, ...]] = (CLASSIFICATION, MULTILABEL)
    default_for: ClassVar[tuple[str, ...]] = (MULTILABEL,)
    reads: ClassVar[tuple[str, ...]] = ("probability", "score")

    def __call__(self, prediction: Array, y: Array) -> Array:
        from sklearn.metrics import f1_score  # pyright: ignore

        labels = np.arange(prediction.shape[-1])
        chosen = prediction.argmax(axis=-1) if y.ndim == 1 else prediction > 0.5
        if y.shape[1:] == (1,):
            # scikit-learn would take a single label for two classes; 1 is the one that counts.
            y, chosen, labels = y[:, 0], chosen[..., 0], np.array([1])
        scores = [
            f1_score(y, each, average="macro", labels=labels, zero_division=0)  # pyright: ignore
            for each in chosen
        ]
        return np.array(scores)
