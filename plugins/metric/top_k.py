"""Top-k accuracy."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from backproof.contracts import CLASSIFICATION, Array, Metric, hyper


@dataclass(frozen=True)
class TopK(Metric):
    """The share of samples whose class is among the k most likely (scikit-learn's top_k_accuracy_score).

    There must be more than k classes.
    """

    tasks: ClassVar[tuple[str, ...]] = (CLASSIFICATION,)
    reads: ClassVar[tuple[str, ...]] = ("probability", "score")

    k: int = hyper(3, "number of most likely classes that count", ge=1)

    @classmethod
    def examples(cls) -> tuple[dict[str, object], ...]:
        return ({}, {"k": 1}, {"k": 2})

    def __call__(self, prediction: Array, y: Array) -> Array:
        from sklearn.metrics import top_k_accuracy_score  # pyright: ignore

        K = prediction.shape[-1]
        if self.k >= K:
            raise ValueError(f"metric top_k: k must be below the number of classes, {K}, got {self.k}")
        # For two classes scikit-learn takes one score, and guesses the threshold from its range: 0 and 1 are
        # unambiguous.
        scores = (prediction[..., 1] > prediction[..., 0]).astype(float) if K == 2 else prediction
        # Its search for values that are not finite adds the scores. An overflow of the sum is harmless.
        with np.errstate(over="ignore", invalid="ignore"):
            return np.array(
                [top_k_accuracy_score(y, member, k=self.k, labels=np.arange(K)) for member in scores]
            )
