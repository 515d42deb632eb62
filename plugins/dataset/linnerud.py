"""Linnerud: weight, waist and pulse of twenty men by three physical exercises."""

from dataclasses import dataclass
from typing import Any

from backproof.contracts import REGRESSION, Dataset, DatasetLoader


@dataclass(frozen=True)
class Linnerud(DatasetLoader):
    """Tenenhaus (1998), the copy in scikit-learn. X (20, 3) counts chin-ups, sit-ups and jumps; y (20, 3)."""

    def load(self) -> Dataset:
        from sklearn.datasets import load_linnerud

        bunch: Any = load_linnerud()
        return Dataset(
            X=bunch.data,
            y=bunch.target,
            task=REGRESSION,
            feature_names=tuple(bunch.feature_names),
            target_names=tuple(bunch.target_names),
        )
