"""California housing: the median house value of 20,640 districts by eight features (a download)."""

import warnings
from dataclasses import dataclass
from typing import Any, ClassVar

from backproof.contracts import REGRESSION, Dataset, DatasetLoader


@dataclass(frozen=True)
class CaliforniaHousing(DatasetLoader):
    """Pace & Barry (1997), X (20640, 8), y (20640, 1) in 100,000 dollars.

    scikit-learn downloads it once into its data directory: ~/scikit_learn_data, or SCIKIT_LEARN_DATA.
    """

    downloads: ClassVar[bool] = True

    @classmethod
    def examples(cls) -> tuple[dict[str, object], ...]:
        return ()

    def load(self) -> Dataset:
        from sklearn.datasets import fetch_california_housing

        try:
            # scikit-learn requires at least one retry; its warning about it is noise.
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Retry downloading")
                bunch: Any = fetch_california_housing(n_retries=1, delay=0.5)
        except OSError as error:
            raise OSError(
                f"california_housing could not be downloaded: {error}. The first time it needs network access; "
                "then it is cached in scikit-learn's data directory (~/scikit_learn_data, or SCIKIT_LEARN_DATA): "
                "connect and try again, or copy that directory from another machine"
            ) from error
        return Dataset(
            X=bunch.data,
            y=bunch.target[:, None],
            task=REGRESSION,
            feature_names=tuple(bunch.feature_names),
            target_names=tuple(bunch.target_names),
        )
