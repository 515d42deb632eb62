"""A multilabel problem: bags of words, each on several topics at once."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from backproof.contracts import MULTILABEL, Dataset, DatasetLoader, hyper


@dataclass(frozen=True)
class Multilabel(DatasetLoader):
    """scikit-learn's `make_multilabel_classification`.

    X (samples, features) holds counts, y (samples, labels) 0 and 1.
    """

    samples: int = hyper(500, "number of samples", ge=4)
    features: int = hyper(20, "number of features", ge=1)
    labels: int = hyper(5, "number of labels", ge=1)
    average: int = hyper(2, "average number of labels per sample", ge=1)
    seed: int = hyper(0, "seed of the generator", ge=0, lt=2**32)

    @classmethod
    def examples(cls) -> tuple[dict[str, object], ...]:
        return ({}, {"samples": 20, "features": 3, "labels": 2, "average": 1, "seed": 1})

    def load(self) -> Dataset:
        from sklearn.datasets import make_multilabel_classification

        arrays: Any = make_multilabel_classification(
            n_samples=self.samples,
            n_features=self.features,
            n_classes=self.labels,
            n_labels=self.average,
            random_state=self.seed,
        )
        return Dataset(
            X=arrays[0],
            y=arrays[1].astype(np.int64),
            task=MULTILABEL,
            feature_names=tuple(f"x{d + 1}" for d in range(self.features)),
            target_names=tuple(f"label {label + 1}" for label in range(self.labels)),
        )
