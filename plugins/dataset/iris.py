"""Iris: 150 flowers of three species by four measurements."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from backproof.contracts import CLASSIFICATION, Dataset, DatasetLoader


@dataclass(frozen=True)
class Iris(DatasetLoader):
    """Fisher (1936), the copy in scikit-learn. X (150, 4) in cm, y (150,), three classes of 50."""

    def load(self) -> Dataset:
        from sklearn.datasets import load_iris

        bunch: Any = load_iris()
        return Dataset(
            X=bunch.data,
            y=bunch.target.astype(np.int64),
            task=CLASSIFICATION,
            feature_names=tuple(bunch.feature_names),
            target_names=tuple(map(str, bunch.target_names)),
        )
