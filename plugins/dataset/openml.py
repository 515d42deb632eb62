"""Any dataset on OpenML, by number or name (a download)."""

import warnings
from dataclasses import dataclass
from typing import Any, ClassVar

from backproof.contracts import CLASSIFICATION, TASKS, Dataset, DatasetLoader, hyper
from backproof.contracts.table import AUTO, Table


@dataclass(frozen=True)
class OpenML(DatasetLoader):
    """Vanschoren et al. (2013), through scikit-learn's `fetch_openml`, which caches it in its data directory.

    Columns that OpenML calls nominal are categories: one feature of 0 and 1 each. Missing values are errors.
    """

    downloads: ClassVar[bool] = True

    data_id: int | None = hyper(None, "the dataset's number on OpenML", ge=1)
    data_name: str | None = hyper(None, "the dataset's name, instead of data_id")
    version: int | None = hyper(None, "the version of that name; by default the oldest active one", ge=1)
    target: str | None = hyper(None, "the column to predict; by default OpenML's own choice")
    task: str = hyper(AUTO, "auto: nominal or up to 20 whole numbers are classes", choices=(AUTO, *TASKS))
    ignore: tuple[str, ...] = hyper((), "columns to leave out")
    categorical: str = hyper("one_hot", "what to do with text in features", choices=("one_hot", "error"))
    max_categories: int = hyper(100, "maximum number of categories of a column (at most half the rows)", ge=2)

    @classmethod
    def examples(cls) -> tuple[dict[str, object], ...]:
        return ()

    def load(self) -> Dataset:
        if (self.data_id is None) == (self.data_name is None):
            raise ValueError(
                f"give either data_id or data_name, got data_id={self.data_id}, data_name={self.data_name}"
            )
        bunch = self._fetch()
        columns = {name: bunch.frame[name] for name in bunch.frame}
        nominal = {name for name, column in columns.items() if str(column.dtype) == "category"}
        targets = [self.target] if self.target is not None else list(bunch.target_names)
        task = CLASSIFICATION if self.task == AUTO and targets and set(targets) <= nominal else self.task
        table = Table(
            source=f"OpenML dataset {self.data_id or self.data_name}",
            columns={name: column.to_numpy() for name, column in columns.items()},
            rows=range(1, len(bunch.frame) + 1),
        )
        return table.dataset(
            targets,
            task=task,
            ignore=self.ignore,
            nominal=nominal - set(targets),
            categorical=self.categorical,
            max_categories=self.max_categories,
        )

    def _fetch(self) -> Any:
        from sklearn.datasets import fetch_openml

        selection: dict[str, Any] = {"data_id": self.data_id} if self.data_id else {"name": self.data_name}
        if self.version is not None:
            selection["version"] = self.version
        try:
            # scikit-learn requires at least one retry; its warning about it is noise.
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "A network error occurred")
                return fetch_openml(**selection, as_frame=True, n_retries=1, delay=0.5)
        except OSError as error:
            raise OSError(
                f"OpenML dataset {self.data_id or self.data_name} could not be downloaded: {error}. The "
                "first time it needs network access; then it is cached in scikit-learn's data directory "
                "(~/scikit_learn_data, or SCIKIT_LEARN_DATA): connect and try again, or copy that directory "
                "from another machine"
            ) from error
