"""Wine: 178 wines of three cultivars by thirteen chemical measurements."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from backproof.contracts import CLASSIFICATION, Dataset, DatasetLoader


@dataclass(frozen=True)
class Wine(DatasetLoader):
    """Forina et al. (1991, UCI), the copy in scikit-learn. X (178, 13), y (178,), classes of 59, 71 and 48."""

    def load(self) -> Dataset:
        from sklearn.datasets import load_wine

        bunch: Any = load_wine()
        return Dataset(
            X=bunch.data,
            y=bunch.target.astype(np.int64),
            task=CLASSIFICATION,
            feature_names=tuple(bunch.feature_names),
            target_names=tuple(map(str, bunch.target_names)),
        )
