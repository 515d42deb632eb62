"""Diabetes: its progression within a year, for 442 patients by ten measurements."""

from dataclasses import dataclass
from typing import Any

from backproof.contracts import REGRESSION, Dataset, DatasetLoader


@dataclass(frozen=True)
class Diabetes(DatasetLoader):
    """Efron et al. (2004), the copy in scikit-learn. X (442, 10), y (442, 1) from 25 to 346.

    The features are in their original units (years, blood pressure, ...): scikit-learn's scaled copy was scaled
    with all 442 patients, so the test part would leak into training.
    """

    def load(self) -> Dataset:
        from sklearn.datasets import load_diabetes

        bunch: Any = load_diabetes(scaled=False)
        return Dataset(
            X=bunch.data,
            y=bunch.target[:, None],
            task=REGRESSION,
            feature_names=tuple(bunch.feature_names),
            target_names=("progression",),
        )
