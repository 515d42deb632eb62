"""Two interleaved half circles in the plane."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from backproof.contracts import CLASSIFICATION, Dataset, DatasetLoader, hyper


@dataclass(frozen=True)
class Moons(DatasetLoader):
    """scikit-learn's `make_moons`: X (samples, 2), y (samples,), two classes of the same size."""

    samples: int = hyper(500, "number of samples", ge=4)
    noise: float = hyper(0.2, "standard deviation of the noise added to every coordinate", ge=0)
    seed: int = hyper(0, "seed of the generator", ge=0, lt=2**32)

    @classmethod
    def examples(cls) -> tuple[dict[str, object], ...]:
        return ({}, {"samples": 7, "noise": 0.0, "seed": 1})

    def load(self) -> Dataset:
        from sklearn.datasets import make_moons

        arrays: Any = make_moons(n_samples=self.samples, noise=self.noise, random_state=self.seed)
        return Dataset(arrays[0], arrays[1].astype(np.int64), CLASSIFICATION, ("x1", "x2"), ("upper", "lower"))
