"""Top-k accuracy."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from framework.kinds import CLASSIFICATION, Array, Metric, hyper


@dataclass(frozen=True)
class TopK(Metric):
    """The share of samples whose class is among the k most likely (scikit-learn's top_k_accuracy_score)."""

    tasks: ClassVar[tuple[str, ...]] = (CLASSIFICATION,)

    k: int = hyper(3, "how many of the most likely classes count", ge=1)

    @classmethod
    def examples(cls) -> tuple[dict[str, object], ...]:
        return ({"k": 1}, {"k": 2})

    def __call__(self, prediction: Array, y: Array) -> Array:
        from sklearn.metrics import top_k_accuracy_score  # pyright: ignore

        K = prediction.shape[-1]
        if self.k >= K:
            raise ValueError(f"metric top_k: k must be below the number of classes, {K}, got {self.k}")
        # For two classes scikit-learn wants the score of the second alone.
        scores = prediction[..., 1] if K == 2 else prediction
        return np.array([top_k_accuracy_score(y, each, k=self.k, labels=np.arange(K)) for each in scores])
