"""The csv loader: its results against pandas, and its messages about bad files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn.datasets as sk
from backproof.contracts import CLASSIFICATION, MULTILABEL, REGRESSION, Dataset
from backproof.data import validate
from backproof.plugins.dataset.csv import Csv


def load(**params: Any) -> Dataset:
    return Csv(**params).load()


def write(folder: Path, text: str) -> str:
    file = folder / "data.csv"
    file.write_text(text, encoding="utf-8")
    return str(file)


def test_csv_of_iris_is_iris(tmp_path: Path) -> None:
    iris = sk.load_iris(as_frame=True)
    frame = iris.data.assign(species=[str(iris.target_names[c]) for c in iris.target])
    frame.to_csv(tmp_path / "iris.csv", index=False)
    data = load(path=str(tmp_path / "iris.csv"), target="species")
    np.testing.assert_array_equal(data.X, iris.data.to_numpy())
    np.testing.assert_array_equal(data.y, iris.target)
    assert (data.task, data.target_names) == (CLASSIFICATION, ("setosa", "versicolor", "virginica"))
    assert data.feature_names == tuple(iris.feature_names)
    validate(data)


def test_csv_text_becomes_one_hot_as_in_pandas(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "size": [1.5, -2.0, 3e-3, 4.0] * 3,
            "color": ["red", "blue", "red", "gr, ay"] * 3,
            "zip": [60614, 7, 7, 8] * 3,
        }
    )
    frame.assign(y=[0.1 * i for i in range(12)]).to_csv(tmp_path / "d.csv", index=False)
    data = load(path=str(tmp_path / "d.csv"), target="y", nominal=("zip",))
    expected = pd.get_dummies(frame.astype({"zip": str}), prefix_sep="=", dtype=float)
    assert sorted(data.feature_names) == sorted(expected.columns)
    np.testing.assert_array_equal(data.X, expected[list(data.feature_names)].to_numpy())
    assert data.task == REGRESSION


@pytest.mark.parametrize(
    ("values", "task", "names"),
    [
        ("b a b a b a", CLASSIFICATION, ("a", "b")),
        ("1 2 10 10 2 1", CLASSIFICATION, ("1", "2", "10")),
        ("1.0 0.0 1.0 0.0 1.0 0.0", CLASSIFICATION, ("0", "1")),
        ("1 2 3 4 5 6", REGRESSION, ("y",)),
        ("1.5 1.5 2 2 2 2", REGRESSION, ("y",)),
    ],
)
def test_csv_task_is_inferred_from_the_target(
    tmp_path: Path, values: str, task: str, names: tuple[str, ...]
) -> None:
    text = "x,y\n" + "".join(f"{i},{value}\n" for i, value in enumerate(values.split()))
    data = load(path=write(tmp_path, text), target="y")
    assert (data.task, data.target_names) == (task, names)
    if task == CLASSIFICATION:
        assert [float(names[c]) if names[c].isdigit() else names[c] for c in data.y] == [
            float(v) if v[0].isdigit() else v for v in values.split()
        ]
    else:
        np.testing.assert_array_equal(data.y[:, 0], [float(v) for v in values.split()])


def test_csv_task_can_be_set(tmp_path: Path) -> None:
    path = write(tmp_path, "x,y,z\n1,0,1\n2,1,1\n3,1,0\n4,0,0\n")
    assert load(path=path, target="y", task="regression").y.dtype == np.float64
    both = load(path=path, targets=("z", "y"))
    assert (both.task, both.target_names) == (MULTILABEL, ("z", "y"))
    np.testing.assert_array_equal(both.y, [[1, 0], [1, 1], [0, 1], [0, 0]])
    assert load(path=path, targets=["x", "y"]).task == REGRESSION
    with pytest.raises(ValueError, match="classification takes one target column, got y, z"):
        load(path=path, targets=("y", "z"), task="classification")
    with pytest.raises(ValueError, match="line 3, column 'x': a label must be 0 or 1, got 2"):
        load(path=path, targets=("x", "z"), task="multilabel")
    with pytest.raises(ValueError, match="not both"):
        load(path=path, targets=("x",), target="y")


def test_csv_as_written_by_spreadsheets(tmp_path: Path) -> None:
    file = tmp_path / "e.csv"
    file.write_bytes('\ufeffa;b ;y\r\n1,5;x;0,25\r\n\r\n2;x;1e-1\r\n-3;"z";7\r\n4;z;8\r\n'.encode())
    data = load(path=str(file), target="y", separator=";", decimal=",")
    np.testing.assert_array_equal(data.X, [[1.5, 1, 0], [2, 1, 0], [-3, 0, 1], [4, 0, 1]])
    assert data.feature_names == ("a", "b=x", "b=z")
    np.testing.assert_array_equal(data.y[:, 0], [0.25, 0.1, 7, 8])
    file.write_text("a\ty\n1\t2\n3\t4\n", encoding="utf-8")
    assert load(path=str(file), target="y", separator="tab").X.shape == (2, 1)


def test_a_point_is_no_decimal_sign_where_a_comma_is(tmp_path: Path) -> None:
    file = tmp_path / "e.csv"
    file.write_text("a;y\n" + "".join(f"{i},5;{i},25\n" for i in range(9)) + "1.234;7\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"line 11, column 'a': '1\.234' is not a number"):
        load(path=str(file), target="y", separator=";", decimal=",")


ROWS = "".join(f"{i},{i * i},{'uv'[i % 2]}\n" for i in range(30))
BAD: dict[str, tuple[str, dict[str, Any], str]] = {
    "empty": ("", {}, r"data\.csv is empty: expected a first line with the names"),
    "blank": ("\n\n", {}, "is empty"),
    "header only": ("a,b,y\n", {}, "names its columns but holds no rows"),
    "no header": (ROWS.replace("u", "1").replace("v", "2"), {}, "the first line contains numbers; it must name"),
    "long row": ("a,b,y\n1,2,u\n1,2,3,u\n", {}, "line 3: 4 values, but the first line names 3 columns"),
    "short row": ("a,b,y\n1,2,u\n\n1,2\n", {}, "line 4: 2 values, but the first line names 3 columns"),
    "open quote": ('a,b,y\n1,"2,u\n1,2,u\n', {}, "line 3: not well-formed csv: unexpected end of data"),
    "separator": ("a;b;y\n1;2;u\n", {}, "the first line has one column, 'a;b;y'.*`separator`"),
    "long separator": (ROWS, {"separator": "::"}, "separator must be one character or 'tab', got '::'"),
    "unnamed column": (",b,y\n" + ROWS, {}, r"column 1 has no name .*ignore=\[''\]"),
    "same name": ("a,a,y\n" + ROWS, {}, "columns 1 and 2 are both named 'a'"),
    "target": (
        "a,b,y\n" + ROWS, {"target": "yy"},
        r"has no column 'yy', did you mean y\? Its columns: a, b, y",
    ),
    "no target": ("a,b,y\n" + ROWS, {"target": None}, "no target column is named. Its columns: a, b, y"),
    "ignored": ("a,b,y\n" + ROWS, {"ignore": ("c",)}, "has no column 'c'"),
    "nothing left": ("a,b,y\n" + ROWS, {"ignore": ("a", "b")}, "no columns are left as features"),
    "stray text": (
        "a,b,y\n" + ROWS + "oops,1,u\n1,1,v\nah,1,u\n", {},
        r"data\.csv, line 32, column 'a': 'oops' is not a number \(2 of 33 values are not\)",
    ),
    "stray underscore": ("a,b,y\n" + ROWS + "1_0,1,u\n", {}, "line 32, column 'a': '1_0' is not a number"),
    "missing": (
        "a,b,y\n" + ROWS + "1,,u\nNA,1,u\n?,1,u\n", {},
        r"values, 3 in all: column 'a' 2 \(first in line 33\), 'b' 1 \(first in line 32\)\. Fill",
    ),
    "nan": ("a,b,y\n" + ROWS + "1,nan,u\n", {}, r"1 in all: column 'b' 1 \(first in line 32\)"),
    "infinite": ("a,b,y\n" + ROWS + "-inf,1,u\n1e999,1,u\n", {}, r"2 in all: column 'a' 2 \(first in line 32"),
    "missing class": ("a,b,y\n" + ROWS + "1,2,\n", {}, r"1 in all: column 'y' 1 \(first in line 32\)"),
    "all missing": ("a,b,y\n,1,u\n,1,v\n", {}, r"column 'a' 2 \(first in line 2\)"),
    "one class": ("a,b,y\n1,2,u\n1,3,u\n", {}, "target column 'y' has a single class, 'u'"),
    "one sample": ("a,b,y\n" + ROWS + "1,2,w\n", {}, r"class 'w' has one sample \(line 32\)\. A class needs"),
    "text targets": (
        "a,b,y\n" + ROWS, {"task": "regression"},
        r"line 2, column 'y': 'u' is not a number \(30 of 30 values are not\)",
    ),
    "stray target": ("a,y\n" + "1,2\n" * 9 + "1,u\n", {}, "line 11, column 'y': 'u' is not a number"),
    "identifier": (
        "a,b,y\n" + "".join(f"k{i},{i},{'uv'[i % 2]}\n" for i in range(30)), {},
        "column 'a' holds text with 30 different values in 30 rows .*too many for categories.*`ignore`",
    ),
    "many categories": (
        "a,b,y\n" + "".join(f"{'pqr'[i % 3]},{i},{'uv'[i % 2]}\n" for i in range(30)), {"max_categories": 2},
        "column 'a' holds text with 3 different values",
    ),
    "text rejected": (
        "a,b,y\n" + "p,1,u\nq,2,v\n" * 5, {"categorical": "error"},
        r"text in the feature columns 'a' \(such as 'p'\)\. Replace it by numbers",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_an_error_names_what_is_wrong_and_where(tmp_path: Path, case: str) -> None:
    text, params, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        load(**{"path": write(tmp_path, text), "target": "y", **params})


def test_a_file_that_is_missing_or_not_text(tmp_path: Path) -> None:
    write(tmp_path, "a,y\n")
    with pytest.raises(FileNotFoundError, match=r"no such file: .*dta\.csv\. Did you mean 'data\.csv'\?"):
        load(path=str(tmp_path / "dta.csv"), target="y")
    with pytest.raises(FileNotFoundError, match="no such file"):
        load(path=str(tmp_path / "nowhere" / "data.csv"), target="y")
    with pytest.raises(IsADirectoryError, match="is a folder"):
        load(path=str(tmp_path), target="y")
    (tmp_path / "data.csv").write_bytes("a,y\né,1\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"is not UTF-8 text \(.*\): save it as UTF-8"):
        load(path=str(tmp_path / "data.csv"), target="y")


def test_a_bad_column_may_be_excluded(tmp_path: Path) -> None:
    text = ",a,b,y\n" + "".join(f"{i},k{i},{i},{'uv'[i % 2]}\n" for i in range(30)) + "30,?,30,u\n"
    data = load(path=write(tmp_path, text), target="y", ignore=("", "a"))
    assert data.feature_names == ("b",)
    assert len(data.X) == 31
