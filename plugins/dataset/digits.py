"""Digits: 1,797 handwritten digits of 8 by 8 pixels."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from backproof.contracts import CLASSIFICATION, Dataset, DatasetLoader


@dataclass(frozen=True)
class Digits(DatasetLoader):
    """The test part of Alpaydin & Kaynak (1998, UCI), the copy in scikit-learn.

    X (1797, 64) holds pixels from 0 to 16, y (1797,), ten classes.
    """

    def load(self) -> Dataset:
        from sklearn.datasets import load_digits

        bunch: Any = load_digits()
        return Dataset(
            X=bunch.data,
            y=bunch.target.astype(np.int64),
            task=CLASSIFICATION,
            feature_names=tuple(bunch.feature_names),
            target_names=tuple(map(str, bunch.target_names)),
        )
