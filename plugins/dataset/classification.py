"""A classification problem of chosen difficulty: clusters at the corners of a hypercube."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from backproof.contracts import CLASSIFICATION, Dataset, DatasetLoader, hyper


@dataclass(frozen=True)
class Classification(DatasetLoader):
    """scikit-learn's `make_classification` (Guyon 2003, the generator of the Madelon data).

    X (samples, features): `informative` features determine the classes, `redundant` ones are linear
    combinations of these, and the rest is noise; y (samples,).
    """

    samples: int = hyper(500, "number of samples", ge=4)
    features: int = hyper(20, "number of features", ge=1)
    informative: int = hyper(5, "features that determine the classes", ge=1)
    redundant: int = hyper(2, "features that are linear combinations of the informative ones", ge=0)
    classes: int = hyper(3, "number of classes", ge=2)
    clusters: int = hyper(1, "clusters of each class", ge=1)
    separation: float = hyper(1.0, "distance between the clusters: larger is easier", gt=0)
    flipped: float = hyper(0.01, "fraction of the samples whose class is drawn at random", ge=0, lt=1)
    seed: int = hyper(0, "seed of the generator", ge=0, lt=2**32)

    @classmethod
    def examples(cls) -> tuple[dict[str, object], ...]:
        return ({}, {"samples": 60, "features": 4, "informative": 3, "redundant": 1, "clusters": 2, "seed": 1})

    def load(self) -> Dataset:
        from sklearn.datasets import make_classification

        if self.informative + self.redundant > self.features:
            raise ValueError(
                f"informative={self.informative} and redundant={self.redundant} together exceed "
                f"features={self.features}"
            )
        if self.classes * self.clusters > 2**self.informative:
            raise ValueError(
                f"classes={self.classes} of clusters={self.clusters} each do not fit on the "
                f"{2**self.informative} corners of informative={self.informative} features"
            )
        arrays: Any = make_classification(
            n_samples=self.samples,
            n_features=self.features,
            n_informative=self.informative,
            n_redundant=self.redundant,
            n_classes=self.classes,
            n_clusters_per_class=self.clusters,
            class_sep=self.separation,
            flip_y=self.flipped,
            random_state=self.seed,
        )
        return Dataset(
            X=arrays[0],
            y=arrays[1].astype(np.int64),
            task=CLASSIFICATION,
            feature_names=tuple(f"x{d + 1}" for d in range(self.features)),
            target_names=tuple(map(str, range(self.classes))),
        )
