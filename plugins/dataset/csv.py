"""Your own data: a csv file whose first line names the columns."""

import csv
import dataclasses
import difflib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from backproof.contracts import TASKS, Dataset, DatasetLoader, hyper
from backproof.contracts.table import AUTO, Table


@dataclass(frozen=True)
class Csv(DatasetLoader):
    """Numbers are used as features unchanged; a text column becomes one feature of 0 and 1 per category.

    A column is numeric if more than half of its values are numbers; text in it is then an error that names the
    line. Missing values (empty, NA, NaN, null, ?) and infinite ones are errors too: nothing is filled in.
    """

    path: str = hyper(
        dataclasses.MISSING, "the file: UTF-8 text with the names of the columns in its first line"
    )
    target: str | None = hyper(None, "the column to predict")
    targets: tuple[str, ...] = hyper((), "the columns to predict, if there are several")
    task: str = hyper(AUTO, "auto: text or up to 20 whole numbers are classes", choices=(AUTO, *TASKS))
    separator: str = hyper(",", "the character between values; 'tab' for a tab")
    decimal: str = hyper(".", "the decimal sign", choices=(".", ","))
    ignore: tuple[str, ...] = hyper((), "columns to leave out, such as an identifier")
    nominal: tuple[str, ...] = hyper((), "columns of numbers that denote categories, such as a postal code")
    categorical: str = hyper("one_hot", "what to do with text in features", choices=("one_hot", "error"))
    max_categories: int = hyper(100, "maximum number of categories of a column (at most half the rows)", ge=2)

    @classmethod
    def examples(cls) -> tuple[dict[str, object], ...]:
        return ()

    @property
    def label(self) -> str:
        """The name of the file, without its suffix."""
        return Path(self.path).stem or self.name

    def load(self) -> Dataset:
        if self.target is not None and self.targets:
            raise ValueError("give target (one column) or targets (several), not both")
        try:
            path = Path(self.path).expanduser().absolute()
        except RuntimeError as error:  # the home folder of an unknown user
            raise ValueError(f"no such file: {self.path}: {error}") from None
        table = self._read(path)
        return table.dataset(
            self.targets or (() if self.target is None else (self.target,)),
            task=self.task,
            ignore=self.ignore,
            nominal=self.nominal,
            categorical=self.categorical,
            max_categories=self.max_categories,
            decimal=self.decimal,
        )

    def _read(self, path: Path) -> Table:
        separator = {"tab": "\t", "\\t": "\t"}.get(self.separator, self.separator)
        if len(separator) != 1:
            raise ValueError(f"separator must be one character or 'tab', got {self.separator!r}")
        if path.is_dir():
            raise IsADirectoryError(f"{path} is a folder, expected a file of comma-separated values")
        if not path.is_file():
            folder = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
            matches = difflib.get_close_matches(path.name, folder, n=1)
            raise FileNotFoundError(
                f"no such file: {path}" + (f". Did you mean {matches[0]!r}?" if matches else "")
            )
        rows: list[list[str]] = []
        lines: list[int] = []
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=separator, skipinitialspace=True, strict=True)
            try:
                for row in filter(None, reader):
                    if rows and len(row) != len(rows[0]):
                        raise ValueError(
                            f"{path}, line {reader.line_num}: {len(row)} values, but the first line names "
                            f"{len(rows[0])} columns (does a value contain the separator {separator!r} unquoted?)"
                        )
                    rows.append(row)
                    lines.append(reader.line_num)
            except csv.Error as error:
                raise ValueError(f"{path}, line {reader.line_num}: not well-formed csv: {error}") from error
            except UnicodeDecodeError as error:
                raise ValueError(f"{path} is not UTF-8 text ({error.reason}): save it as UTF-8") from error
        if not rows:
            raise ValueError(f"{path} is empty: expected a first line with the names of the columns")
        header = self._header(path, [name.strip() for name in rows[0]])
        cells = np.array(rows[1:], dtype=object).reshape(-1, len(header))
        return Table(str(path), dict(zip(header, cells.T, strict=True)), lines[1:], row="line")

    def _header(self, path: Path, names: list[str]) -> list[str]:
        if len(names) == 1:
            raise ValueError(
                f"{path}: the first line has one column, {names[0]!r}, but features and a target are needed. If "
                "the separator is another character, set `separator`"
            )
        if all(name.lstrip("+-").replace(".", "", 1).isdigit() for name in names):
            raise ValueError(f"{path}: the first line contains numbers; it must name the columns")
        for column, name in enumerate(names):
            if name in self.ignore:
                continue
            if not name:
                raise ValueError(
                    f"{path}: column {column + 1} has no name (a saved row index?): name it, or exclude it "
                    "with ignore=['']"
                )
            if names.index(name) != column:
                raise ValueError(
                    f"{path}: columns {names.index(name) + 1} and {column + 1} are both named {name!r}"
                )
        return names
