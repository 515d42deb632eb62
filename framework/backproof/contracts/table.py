"""A table of named columns that becomes a Dataset: for loaders that read files, downloads or databases.

The columns are NumPy arrays, so that any reader can supply them. Every error names the row and the column.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from backproof.contracts.base import Array
from backproof.contracts.dataset import CLASSIFICATION, MULTILABEL, REGRESSION, Dataset
from backproof.contracts.errors import did_you_mean

AUTO = "auto"
#: Text that means a missing value, in lower case.
MISSING_TEXT = frozenset({"", "nan", "na", "n/a", "null", "?"})
#: With `task=auto`, a target of whole numbers is read as classes up to this many different values.
MOST_CLASSES = 20


@dataclass(frozen=True)
class Column:
    """One column, as cells (N,) and as numbers (N,), which are NaN where a cell is not a number."""

    name: str
    cells: Array
    numbers: Array
    missing: Array
    nominal: bool

    @classmethod
    def read(cls, name: str, cells: Array, nominal: bool, decimal: str) -> Column:
        """Return a column of numbers, or of objects whose text is parsed."""
        if cells.dtype.kind in "biuf":
            numbers = cells.astype(np.float64)
            return cls(name, cells, numbers, np.isnan(numbers), nominal)
        numbers = np.array([_number(cell, decimal) for cell in cells], dtype=np.float64)
        missing = np.zeros(len(cells), dtype=bool)
        unread = np.isnan(numbers)
        missing[unread] = [
            cell is None or str(cell).strip().casefold() in MISSING_TEXT for cell in cells[unread]
        ]
        return cls(name, cells, numbers, missing, nominal)

    @property
    def text(self) -> Array:
        """The cells as text (N,)."""
        return np.array([str(cell).strip() for cell in self.cells], dtype=np.str_)

    @property
    def numeric(self) -> bool:
        """Whether this is a column of numbers: more than half of its cells are. The others are then mistakes."""
        read = np.count_nonzero(~np.isnan(self.numbers))
        return not self.nominal and bool(2 * read > np.count_nonzero(~self.missing))

    @property
    def stray(self) -> Array:
        """Where cells hold text (N,)."""
        return np.isnan(self.numbers) & ~self.missing


def _number(cell: object, decimal: str) -> float:
    """Return the number in a cell, or NaN. Python's `float` would read 2020_1 as 20201.

    With another decimal sign a point may separate thousands: 1.234 is not read as a number then.
    """
    text = str(cell)
    if "_" in text or (decimal != "." and "." in text):
        return np.nan
    try:
        return float(text if decimal == "." else text.replace(decimal, "."))
    except ValueError:
        return np.nan


@dataclass(frozen=True)
class Table:
    """Columns of the same length, and how errors name a row: 'line 7' of a file, 'row 7' of a download.

    Cells are numbers, or str objects (None or NaN if missing).
    """

    source: str
    columns: Mapping[str, Array]
    rows: Sequence[int]
    row: str = "row"

    def dataset(
        self,
        targets: Sequence[str],
        *,
        task: str = AUTO,
        ignore: Collection[str] = (),
        nominal: Collection[str] = (),
        categorical: str = "one_hot",
        max_categories: int = 100,
        decimal: str = ".",
    ) -> Dataset:
        """Return the dataset with these targets, and all other columns but `ignore` as features.

        A column is numeric if more than half of its cells are numbers; text in it is then an error. Other columns,
        and those in `nominal`, are categories: one feature 'column=value' each, or an error with categorical=error.

        With task=auto, text is classification, and so are up to 20 different whole numbers that occur twice on
        average; other numbers are regression; several targets of only 0 and 1 are multilabel.
        Raise ValueError for anything that cannot be learnt from.
        """
        for name in (*targets, *ignore, *nominal):
            self._require(name)
        if not targets:
            raise ValueError(f"{self.source}: no target column is named. {self._listing()}")
        if not len(self.rows):
            raise ValueError(f"{self.source} names its columns but holds no rows of data")
        names = [name for name in self.columns if name not in targets and name not in ignore]
        if not names:
            raise ValueError(f"{self.source}: no columns are left as features. {self._listing()}")
        columns = {
            name: Column.read(name, self.columns[name], name in nominal, decimal) for name in (*names, *targets)
        }
        self._require_complete(list(columns.values()))
        y, task, target_names = self._targets([columns[name] for name in targets], task)
        X, feature_names = self._features([columns[name] for name in names], categorical, max_categories)
        return Dataset(X, y, task, feature_names, target_names)

    def _listing(self) -> str:
        shown = [*self.columns][:30]
        return "Its columns: " + ", ".join(shown) + (", ..." if len(self.columns) > len(shown) else "")

    def _require(self, name: str) -> None:
        if name not in self.columns:
            hint = did_you_mean(name, self.columns, n=1)
            raise ValueError(f"{self.source} has no column {name!r}{hint or '.'} {self._listing()}")

    def _first(self, cells: Array) -> str:
        return f"{self.row} {self.rows[int(np.flatnonzero(cells)[0])]}"

    def _require_complete(self, columns: list[Column]) -> None:
        bad = [
            (column.name, column.missing | (np.isinf(column.numbers) & column.numeric)) for column in columns
        ]
        bad = [(name, cells) for name, cells in bad if cells.any()]
        if bad:
            total = sum(np.count_nonzero(cells) for _, cells in bad)
            listed = [f"{name!r} {cells.sum()} (first in {self._first(cells)})" for name, cells in bad]
            raise ValueError(
                f"{self.source}: missing (NaN) or infinite values, {total} in all: column "
                + ", ".join(listed[:10])
                + (", ..." if len(listed) > 10 else "")
                + ". Fill them in, remove those rows, or leave the columns out with `ignore`"
            )

    def _numbers(self, column: Column) -> Array:
        stray = column.stray
        if stray.any():
            raise ValueError(
                f"{self.source}, {self._first(stray)}, column {column.name!r}: {str(column.cells[stray][0])!r} "
                f"is not a number ({stray.sum()} of {len(stray)} values are not). Correct it, or leave the column "
                "out with `ignore`"
            )
        return column.numbers

    def _features(
        self, columns: list[Column], categorical: str, max_categories: int
    ) -> tuple[Array, tuple[str, ...]]:
        """Return X (N, D) and the names of its columns."""
        texts = [column for column in columns if not column.numeric]
        if texts and categorical == "error":
            listed = ", ".join(f"{column.name!r} (such as {str(column.cells[0])!r})" for column in texts)
            raise ValueError(
                f"{self.source}: text in the feature columns {listed}. Replace it by numbers, leave them out with "
                "`ignore`, or use categorical=one_hot"
            )
        blocks: list[Array] = []
        names: list[str] = []
        for column in columns:
            if column.numeric:
                blocks.append(self._numbers(column)[:, None])
                names.append(column.name)
                continue
            categories, index = np.unique(column.text, return_inverse=True)
            if len(categories) > min(max_categories, max(10, len(index) // 2)):
                raise ValueError(
                    f"{self.source}: column {column.name!r} holds text with {len(categories)} different values "
                    f"in {len(index)} rows (such as {str(column.cells[0])!r}): too many for categories. Leave "
                    "it out with `ignore`; if it holds numbers, give the decimal sign with `decimal`; if these "
                    "are categories, raise `max_categories` (at most half the rows)"
                )
            blocks.append(index[:, None] == np.arange(len(categories)))
            names += [f"{column.name}={category}" for category in categories]
        return np.concatenate(blocks, axis=1, dtype=np.float64), tuple(names)

    def _targets(self, columns: list[Column], task: str) -> tuple[Array, str, tuple[str, ...]]:
        """Return y, the task and the names of the targets."""
        task = self._task(columns) if task == AUTO else task
        if task == CLASSIFICATION:
            if len(columns) > 1:
                names = ", ".join(column.name for column in columns)
                raise ValueError(f"{self.source}: classification takes one target column, got {names}")
            return self._classes(columns[0])
        y = np.stack([self._numbers(column) for column in columns], axis=1)
        names = tuple(column.name for column in columns)
        if task == REGRESSION:
            return y, task, names
        for column, values in zip(columns, y.T, strict=True):
            other = (values != 0) & (values != 1)
            if other.any():
                raise ValueError(
                    f"{self.source}, {self._first(other)}, column {column.name!r}: a label must be 0 or 1, "
                    f"got {values[other][0]:g}"
                )
        return y.astype(np.int64), task, names

    def _task(self, columns: list[Column]) -> str:
        if len(columns) > 1:
            values = [self._numbers(column) for column in columns]
            return MULTILABEL if np.isin(values, (0, 1)).all() else REGRESSION
        column = columns[0]
        if not column.numeric:
            return CLASSIFICATION
        values = self._numbers(column)
        different = len(np.unique(values))
        whole = bool(np.all(values == np.floor(values)))
        return CLASSIFICATION if whole and different <= min(MOST_CLASSES, len(values) // 2) else REGRESSION

    def _classes(self, column: Column) -> tuple[Array, str, tuple[str, ...]]:
        """Return class indices, in the order of the numbers or of the alphabet, the task and the classes' names."""
        if column.stray.any():
            levels, y = np.unique(column.text, return_inverse=True)
            names = tuple(map(str, levels))
        else:
            levels, y = np.unique(column.numbers, return_inverse=True)
            names = tuple(str(int(level)) if level.is_integer() else str(level) for level in levels)
        counts = np.bincount(y)
        where = f"{self.source}: target column {column.name!r}"
        if len(names) == 1:
            raise ValueError(f"{where} has a single class, {names[0]!r}: there is nothing to classify")
        single = np.flatnonzero(counts == 1)
        if len(single):
            more = f", and so do {len(single) - 1} more classes" if len(single) > 1 else ""
            raise ValueError(
                f"{where}: class {names[single[0]]!r} has one sample ({self._first(y == single[0])}){more}. A "
                "class needs samples to train on and to test on: add some, merge it with another class, or remove "
                "it (or, if these are quantities, use task=regression)"
            )
        return y.astype(np.int64), CLASSIFICATION, names
