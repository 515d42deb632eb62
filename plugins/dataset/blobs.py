"""One round Gaussian cloud per class."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from backproof.contracts import CLASSIFICATION, Dataset, DatasetLoader, hyper


@dataclass(frozen=True)
class Blobs(DatasetLoader):
    """scikit-learn's `make_blobs`: X (samples, features), y (samples,), classes of the same size."""

    samples: int = hyper(500, "number of samples, at least two for each class", ge=4)
    features: int = hyper(2, "number of features", ge=1)
    classes: int = hyper(3, "number of classes", ge=2)
    noise: float = hyper(1.0, "standard deviation of each cloud; their centres lie in [-10, 10]", ge=0)
    seed: int = hyper(0, "seed of the generator", ge=0, lt=2**32)

    @classmethod
    def examples(cls) -> tuple[dict[str, object], ...]:
        return ({}, {"samples": 11, "features": 1, "classes": 5, "noise": 0.0, "seed": 1})

    def load(self) -> Dataset:
        from sklearn.datasets import make_blobs

        if self.samples < 2 * self.classes:
            raise ValueError(
                f"samples={self.samples} is too few for classes={self.classes}: each class needs at least two"
            )
        arrays: Any = make_blobs(
            n_samples=self.samples,
            n_features=self.features,
            centers=self.classes,
            cluster_std=self.noise,
            random_state=self.seed,
        )
        return Dataset(
            X=arrays[0],
            y=arrays[1].astype(np.int64),
            task=CLASSIFICATION,
            feature_names=tuple(f"x{d + 1}" for d in range(self.features)),
            target_names=tuple(map(str, range(self.classes))),
        )
