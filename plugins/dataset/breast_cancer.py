"""Breast cancer (Wisconsin, diagnostic): 569 tumours, malignant or benign, by thirty measurements."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from backproof.contracts import CLASSIFICATION, Dataset, DatasetLoader


@dataclass(frozen=True)
class BreastCancer(DatasetLoader):
    """Wolberg et al. (1995, UCI), the copy in scikit-learn.

    X (569, 30), y (569,): class 0 is malignant (212), class 1 benign (357).
    """

    def load(self) -> Dataset:
        from sklearn.datasets import load_breast_cancer

        bunch: Any = load_breast_cancer()
        return Dataset(
            X=bunch.data,
            y=bunch.target.astype(np.int64),
            task=CLASSIFICATION,
            feature_names=tuple(map(str, bunch.feature_names)),
            target_names=tuple(map(str, bunch.target_names)),
        )
