"""A circle around a smaller one in the plane."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from backproof.contracts import CLASSIFICATION, Dataset, DatasetLoader, hyper


@dataclass(frozen=True)
class Circles(DatasetLoader):
    """scikit-learn's `make_circles`: X (samples, 2), y (samples,), two classes of the same size."""

    samples: int = hyper(500, "number of samples", ge=4)
    noise: float = hyper(0.1, "standard deviation of the noise added to every coordinate", ge=0)
    factor: float = hyper(0.5, "radius of the inner circle, that of the outer one being 1", ge=0, lt=1)
    seed: int = hyper(0, "seed of the generator", ge=0, lt=2**32)

    @classmethod
    def examples(cls) -> tuple[dict[str, object], ...]:
        return ({}, {"samples": 7, "noise": 0.0, "factor": 0.9, "seed": 1})

    def load(self) -> Dataset:
        from sklearn.datasets import make_circles

        arrays: Any = make_circles(
            n_samples=self.samples, noise=self.noise, factor=self.factor, random_state=self.seed
        )
        return Dataset(arrays[0], arrays[1].astype(np.int64), CLASSIFICATION, ("x1", "x2"), ("outer", "inner"))
