"""A linear regression problem with noise."""

from dataclasses import dataclass
from typing import Any

from backproof.contracts import REGRESSION, Dataset, DatasetLoader, hyper


@dataclass(frozen=True)
class Regression(DatasetLoader):
    """scikit-learn's `make_regression`.

    X (samples, features) holds standard normal numbers, y (samples, targets) is a linear function of
    `informative` of the features, plus noise.
    """

    samples: int = hyper(500, "number of samples", ge=4)
    features: int = hyper(10, "number of features", ge=1)
    informative: int = hyper(5, "features that the targets depend on; the others are noise", ge=1)
    targets: int = hyper(1, "number of targets", ge=1)
    noise: float = hyper(10.0, "standard deviation of the noise on the targets (theirs is about 100)", ge=0)
    seed: int = hyper(0, "seed of the generator", ge=0, lt=2**32)

    @classmethod
    def examples(cls) -> tuple[dict[str, object], ...]:
        return ({}, {"samples": 20, "features": 3, "informative": 3, "targets": 2, "noise": 0.0, "seed": 1})

    def load(self) -> Dataset:
        from sklearn.datasets import make_regression

        if self.informative > self.features:
            raise ValueError(f"informative={self.informative} exceeds features={self.features}")
        arrays: Any = make_regression(
            n_samples=self.samples,
            n_features=self.features,
            n_informative=self.informative,
            n_targets=self.targets,
            noise=self.noise,
            random_state=self.seed,
        )
        return Dataset(
            X=arrays[0],
            y=arrays[1].reshape(self.samples, self.targets),
            task=REGRESSION,
            feature_names=tuple(f"x{d + 1}" for d in range(self.features)),
            target_names=tuple(f"y{t + 1}" for t in range(self.targets)),
        )
