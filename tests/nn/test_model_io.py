"""Saved models: they load bit for bit, damaged files are errors, predictions are in original units."""

import json
import os
import subprocess
import sys
import zipfile
from types import SimpleNamespace

import numpy as np
import pandas
import pytest
from backproof import pyfunc_model
from backproof.contracts import Dataset
from backproof.contracts.errors import ModelFileError
from backproof.data import DataOptions, split
from backproof.discovery.registry import registry
from backproof.nn import model_io, predictor
from backproof.nn.evaluation import Evaluation, Predictions
from backproof.nn.mlp import MLP
from backproof.nn.model_io import SavedModel
from backproof.nn.predictor import Predictor

#: (task, loss, targets)
CASES = [
    ("classification", "softmax_cross_entropy", 3),
    ("classification", "sigmoid_cross_entropy", 2),
    ("classification", "hinge", 3),
    ("multilabel", "sigmoid_cross_entropy", 4),
    ("regression", "squared_error", 2),
]


def untrained(task, loss_name, targets, R=3, dtype="float64", N=120, activation="leaky_relu"):
    """Return an untrained network, its data, and the data before scaling."""
    rng = np.random.default_rng(0)
    X = 5 + 3 * rng.normal(size=(N, 4))
    y = {
        "classification": np.arange(N) % targets,
        "multilabel": rng.integers(0, 2, (N, targets)),
        "regression": 100 + 20 * rng.normal(size=(N, targets)),
    }[task]
    names = tuple(f"t{i}" for i in range(targets))
    dataset = Dataset(X, y, task, ("a", "b", "c", "d"), names)
    data = split(dataset, DataOptions())
    loss = registry().build("loss", loss_name)
    net = MLP((4, 5, loss.outputs(task, targets)), registry().build("activation", activation), loss)
    theta = rng.normal(size=(R, net.layout.P)).astype(dtype)
    return net, theta, data, dataset


@pytest.fixture(params=CASES, ids=lambda case: "-".join(map(str, case)))
def case(request, tmp_path):
    net, theta, data, dataset = untrained(*request.param)
    model_io.save(tmp_path / "model", SavedModel.of(net, theta, data))
    return SimpleNamespace(net=net, theta=theta, data=data, dataset=dataset, folder=tmp_path / "model")


@pytest.mark.slow
def test_a_loaded_model_equals_the_saved_one(case):
    saved, loaded = SavedModel.of(case.net, case.theta, case.data), model_io.load(case.folder)
    assert loaded.theta.tobytes() == saved.theta.tobytes()
    for key in ("sizes", "activation", "loss", "task", "feature_names", "target_names", "prediction"):
        assert getattr(loaded, key) == getattr(saved, key)
    for key, value in vars(saved.scaler).items():
        np.testing.assert_array_equal(getattr(loaded.scaler, key), value)
    net = loaded.network(registry())
    assert (net.activation, net.loss) == (case.net.activation, case.net.loss)


def test_predictions_equal_those_of_the_evaluation_bit_for_bit(case):
    loaded = Predictor.load(case.folder, registry())
    test = case.data.test
    members = Predictions(case.net, case.theta, test.X, case.data)()
    X = case.dataset.X[test.indices]
    assert loaded.predict_members(X).tobytes() == members.tobytes()
    assert loaded.predict(X).tobytes() == members.mean(axis=0).tobytes()
    assert loaded.predict(X).dtype == np.float64


def test_a_loaded_model_has_the_metrics_of_the_end_of_training(case):
    metrics = [registry().build("metric", name) for name in registry().names("metric")]
    fitting = tuple(
        m for m in metrics if case.data.task in m.default_for and case.net.loss.prediction in m.reads
    )
    test = case.data.test
    final = Evaluation("test", case.net, case.theta, test, case.data, fitting)()
    prediction = Predictor.load(case.folder, registry()).predict_members(case.dataset.X[test.indices])
    for metric in fitting:
        np.testing.assert_array_equal(metric(prediction, test.y), final[f"test/{metric.name}"])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_prediction_by_hand(dtype):
    """One hidden layer, written out as in the homework."""
    net, theta, data, dataset = untrained(
        "classification", "softmax_cross_entropy", 3, R=1, dtype=dtype, activation="relu"
    )
    tensors = {name: value[0].astype(float) for name, value in net.layout.tensors(theta).items()}
    x = (dataset.X - data.scaler.offset) / data.scaler.scale
    z = np.maximum(x @ tensors["W1"].T + tensors["b1"], 0) @ tensors["W2"].T + tensors["b2"]
    expected = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    prediction = Predictor(SavedModel.of(net, theta, data), registry()).predict(dataset.X)
    np.testing.assert_allclose(prediction, expected, rtol=1e-4 if dtype == "float32" else 1e-12)


def test_long_inputs_are_predicted_in_chunks(monkeypatch):
    net, theta, data, dataset = untrained("regression", "squared_error", 2)
    X = np.tile(dataset.X, (3, 1))
    whole = Predictor(SavedModel.of(net, theta, data), registry())
    expected = whole.predict(X)
    monkeypatch.setattr(predictor, "CHUNK_NUMBERS", 10 * len(theta) * 5)
    monkeypatch.setattr(predictor, "CHUNK_ROWS", 70)
    chunked = Predictor(SavedModel.of(net, theta, data), registry())
    assert chunked._chunk == 70
    np.testing.assert_allclose(chunked.predict(X), expected, rtol=1e-12)
    np.testing.assert_allclose(chunked.predict_members(X).mean(axis=0), expected, rtol=1e-12)
    assert chunked.predict(X[:0]).shape == (0, 2)


def test_columns_of_a_table_are_matched_by_name(case):
    loaded = Predictor.load(case.folder, registry())
    X = case.dataset.X[:7]
    table = pandas.DataFrame(X, columns=list("abcd"))[["d", "b", "a", "c"]].assign(other="text")
    np.testing.assert_array_equal(loaded.predict(table), loaded.predict(X))


def test_labels(case):
    loaded = Predictor.load(case.folder, registry())
    X = case.dataset.X
    prediction = loaded.predict(X)
    if case.data.task == "regression":
        with pytest.raises(ValueError, match="a regression has no labels"):
            loaded.predict_labels(X)
    elif case.data.task == "multilabel":
        np.testing.assert_array_equal(loaded.predict_labels(X), prediction > 0.5)
    else:
        assert prediction.shape[1] == case.data.targets
        assert loaded.predict_labels(X).tolist() == [f"t{k}" for k in prediction.argmax(axis=1)]


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.zeros((3, 5)), r"X must be \(N, 4\), got \(3, 5\)"),
        (np.zeros(4), r"X must be \(N, 4\), got \(4,\)"),
        ([["a", "b", "c", "d"]], "X must be numbers"),
        ([[1, 2, float("nan"), 4]], "row 0 has nan for 'c'"),
        (pandas.DataFrame({"a": [1], "c": [2]}), "2 of 4 features are missing: 'b', 'd'"),
    ],
)
def test_invalid_inputs(X, message):
    net, theta, data, _ = untrained("regression", "squared_error", 1)
    with pytest.raises(ValueError, match=message):
        Predictor(SavedModel.of(net, theta, data), registry()).predict(X)


def test_hyperparameters_of_a_stack_are_saved(tmp_path):
    """An (R, 1) array, one value per member, is loaded with the same bits."""
    net, theta, data, _ = untrained("regression", "squared_error", 1)
    slopes = np.array([[0.1], [1 / 3], [0.7]])
    leaky = registry().build("activation", "leaky_relu")
    field = next(iter(vars(leaky)))
    saved = SavedModel.of(net, theta, data)
    saved = model_io.SavedModel(**{**vars(saved), "activation": ("leaky_relu", {field: slopes})})
    model_io.save(tmp_path, saved)
    assert model_io.load(tmp_path).activation[1][field].tobytes() == slopes.tobytes()


def change(folder, **values):
    file = folder / model_io.DESCRIPTION
    description = json.loads(file.read_text()) | values
    file.write_text(json.dumps({key: value for key, value in description.items() if value is not ...}))


def arrays(folder, **values):
    with np.load(folder / model_io.WEIGHTS) as archive:
        contents = {key: archive[key] for key in archive.files} | values
    np.savez(folder / model_io.WEIGHTS, **{key: value for key, value in contents.items() if value is not ...})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "model.json").unlink(), "model.json is missing"),
        (lambda f: (f / "weights.npz").unlink(), "weights.npz is missing"),
        (lambda f: (f / "model.json").write_text("{"), "model.json is not valid JSON"),
        (lambda f: (f / "model.json").write_text("[]"), "does not describe a backproof model"),
        (lambda f: (f / "weights.npz").write_bytes(b"PK\x03\x04 cut off"), "weights.npz cannot be read"),
        (lambda f: (f / "weights.npz").write_bytes(b""), "weights.npz cannot be read"),
        (lambda f: change(f, version=2), "format version 2, this backproof reads 1"),
        (lambda f: change(f, version=...), "format version None"),
        (lambda f: change(f, loss=...), "lacks 'loss'"),
        (lambda f: change(f, loss="hinge"), "model.json is damaged"),
        (lambda f: change(f, sizes=None), "model.json is damaged"),
        (lambda f: change(f, task="clustering"), "task must be one of .*, got 'clustering'"),
        (lambda f: change(f, dtype="float32"), "theta is float64, but model.json says float32"),
        (lambda f: change(f, members=4), r"theta has shape \(3, 37\), but model.json requires \(4, 37\)"),
        (lambda f: change(f, feature_names=["a"]), "names 1 features, but sizes has 4"),
        (
            lambda f: change(f, target_names=["a"]),
            r"scaler_y_offset has shape \(2,\), but model.json requires \(1,\)",
        ),
        (lambda f: arrays(f, theta=...), "lacks 'theta'"),
        (lambda f: arrays(f, theta=np.zeros((3, 36))), r"theta has shape \(3, 36\)"),
        (lambda f: arrays(f, scaler_scale=np.ones(5)), r"scaler_scale has shape \(5,\)"),
        (lambda f: arrays(f, theta=np.array([[print]])), "weights.npz cannot be read"),
    ],
)
def test_damaged_models_are_rejected(tmp_path, damage, message):
    net, theta, data, _ = untrained("regression", "squared_error", 2)
    model_io.save(tmp_path, SavedModel.of(net, theta, data))
    damage(tmp_path)
    with pytest.raises(ModelFileError, match=message):
        model_io.load(tmp_path)


def rewritten(folder, compression=zipfile.ZIP_STORED, **contents):
    """Write weights.npz anew, with the bytes of some arrays replaced."""
    file = folder / model_io.WEIGHTS
    with zipfile.ZipFile(file) as archive:
        parts = {info.filename: archive.read(info) for info in archive.infolist()}
    parts |= {f"{name}.npy": content for name, content in contents.items()}
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


def header(shape, dtype="<f8"):
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00\x76\x00" + text


def flags(folder, value):
    """Set a bit in the flags of every entry, as of an encrypted file (1)."""
    file = folder / model_io.WEIGHTS
    content = bytearray(file.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.find(signature)
        while at >= 0:
            content[at + offset] |= value
            at = content.find(signature, at + 4)
    file.write_bytes(bytes(content))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: rewritten(f, zipfile.ZIP_DEFLATED), "is compressed"),
        (lambda f: flags(f, 1), "weights.npz cannot be read: .*encrypted"),
        (lambda f: flags(f, 0x20), "weights.npz cannot be read"),
        (lambda f: rewritten(f, theta=header("(1, 4000000000000)")), r"0 bytes for an array of shape"),
        (
            lambda f: rewritten(f, theta=header("(3, __import__('os').system('id'))")),
            "theta.npy is not an array",
        ),
        (lambda f: rewritten(f, theta=header("(1,)", "|O") + bytes(8)), "theta.npy is not an array"),
        (lambda f: rewritten(f, theta=b""), "theta.npy is not an array"),
        (lambda f: arrays(f, theta=np.full((3, 37), np.nan)), "numbers that are not finite"),
        (lambda f: (f / "model.json").write_text("[" * 100_000), "not valid JSON"),
        (lambda f: (f / "model.json").write_bytes(b"\xff\xfe"), "not valid JSON"),
        (lambda f: (f / "model.json").write_text("9" * 5000), "not valid JSON"),
        (lambda f: ((f / "weights.npz").unlink(), (f / "weights.npz").mkdir()), "not a regular file"),
        (
            lambda f: ((f / "model.json").unlink(), (f / "model.json").symlink_to("/dev/zero")),
            "not a regular file",
        ),
        (lambda f: change(f, sizes=[]), "sizes must be at least inputs and outputs"),
        (lambda f: change(f, sizes=[4, -5, 2]), "expected a whole number"),
        (lambda f: change(f, sizes=[4, 10**400, 2]), "expected a whole number"),
        (lambda f: change(f, sizes="452"), "expected a list"),
        (lambda f: change(f, sizes=[4, 5.0, 2]), "expected a whole number"),
        (lambda f: change(f, feature_names="abcd"), "expected a list"),
        (lambda f: change(f, members=0), "expected a whole number"),
        (lambda f: change(f, activation={"name": ["relu"], "params": {}}), "expected a plugin's name"),
        (lambda f: change(f, activation={"name": "relu", "params": [1]}), "expected a plugin's name"),
        (
            lambda f: change(f, activation={"name": "relu", "params": {"a": {"array": [[1], [1, 2]]}}}),
            "is damaged",
        ),
        (
            lambda f: change(f, activation={"name": "relu", "params": {"a": {"array": [1]}}}),
            "one finite number",
        ),
        # Predictions would silently be in other units.
        (
            lambda f: arrays(f, scaler_y_offset=..., scaler_y_scale=...),
            "scaler_y_offset belongs to a regression",
        ),
        (lambda f: change(f, task="multilabel"), "scaler_y_offset belongs to a regression"),
        (lambda f: change(f, prediction="x"), "each a 'x'"),
        (lambda f: change(f, loss={"name": "hinge", "params": {}}), "does not fit its plugins|each a"),
        (
            lambda f: change(f, activation={"name": "leaky_relu", "params": {"slope": "x"}}),
            "does not fit its plugins",
        ),
    ],
)
def test_hostile_models_are_rejected(tmp_path, damage, message):
    net, theta, data, _ = untrained("regression", "squared_error", 2)
    model_io.save(tmp_path, SavedModel.of(net, theta, data))
    damage(tmp_path)
    with pytest.raises(ModelFileError, match=message):
        Predictor.load(tmp_path, registry())


def test_a_missing_plugin_is_named(tmp_path):
    net, theta, data, _ = untrained("regression", "squared_error", 1)
    model_io.save(tmp_path, SavedModel.of(net, theta, data))
    change(tmp_path, activation={"name": "reluu", "params": {}})
    with pytest.raises(ValueError, match="no activation is called 'reluu', did you mean relu"):
        Predictor.load(tmp_path, registry())


def test_columns_of_the_mlflow_model(case):
    model = pyfunc_model._load_pyfunc(str(case.folder))
    table = pandas.DataFrame(case.dataset.X[:5], columns=list("abcd"), index=[10, 11, 12, 13, 14])
    labelled = model.predict(table)
    prediction = Predictor.load(case.folder, registry()).predict(table)
    names = case.data.target_names
    if case.data.task == "regression":
        assert list(labelled) == list(names)
        values = labelled
    else:
        kind = case.net.loss.prediction
        first = ["prediction"] if case.data.task == "classification" else [f"prediction_{n}" for n in names]
        assert list(labelled) == first + [f"{kind}_{name}" for name in names]
        np.testing.assert_array_equal(
            labelled[first].to_numpy().squeeze(), model.predictor.labels(prediction).squeeze()
        )
        values = labelled.drop(columns=first)
    np.testing.assert_array_equal(values.to_numpy(float), prediction)
    assert list(labelled.index) == list(table.index)


@pytest.mark.slow
def test_predictions_need_neither_mlflow_nor_pandas(case):
    code = (
        "import sys; from backproof.discovery.registry import registry;"
        "from backproof.nn.predictor import Predictor;"
        f"Predictor.load({str(case.folder)!r}, registry()).predict([[1, 2, 3, 4]]);"
        "assert not {'mlflow', 'pandas', 'hydra'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
