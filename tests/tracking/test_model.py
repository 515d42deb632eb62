"""The logged model loads in a new process from another directory."""

from pathlib import Path

import numpy as np
import pytest
from backproof import pyfunc_model
from backproof.contracts.errors import ModelFileError

from tests.helpers.experiments import saved_model
from tests.helpers.tracking import python, read

# The settings that `Store.open` makes for MLflow also apply to the imports of these tests.
pytestmark = pytest.mark.filterwarnings("ignore:Any type hint is inferred")


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.mark.slow
def test_the_model_loads_in_a_fresh_process_from_another_directory(store, tmp_path):
    folder, X, expected = saved_model(tmp_path)
    with store.start("with a model", {}, {}) as run:
        model_id = run.model(folder)
    recorded = read(run)
    assert [output.model_id for output in recorded.outputs.model_outputs] == [model_id]
    logged = store.client.get_logged_model(model_id)
    assert (logged.name, logged.source_run_id, str(logged.status)) == ("model", run.id, "READY")
    np.save(tmp_path / "X.npy", X)
    code = f"""
        import warnings; warnings.simplefilter("ignore")
        import mlflow, numpy, pandas
        mlflow.set_tracking_uri({store.uri!r})
        X = pandas.DataFrame(numpy.load("X.npy"), columns=["a", "b c", "d"])
        for uri in ("runs:/{run.id}/model", "models:/{model_id}"):
            model = mlflow.pyfunc.load_model(uri)
            table = model.predict(X[["d", "a", "b c"]])
            assert list(table) == model.metadata.signature.outputs.input_names(), list(table)
            numpy.save("recorded.npy", table[["probability_no", "probability_yes"]].to_numpy())
            assert set(table["prediction"]) == {{"no", "yes"}}
        try:
            model.predict(X[["a", "d"]])
        except Exception as error:
            assert "b c" in str(error), error
        else:
            raise AssertionError("a missing column was taken")
    """
    # The working directory is another one; PYTHONPATH leads to the code.
    done = python(code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert np.load(tmp_path / "recorded.npy").tobytes() == expected.tobytes()


@pytest.mark.slow
def test_the_model_lists_its_requirements(store, outputs, tmp_path):
    folder, _, _ = saved_model(tmp_path)
    with store.start("requirements", {}, {}) as run:
        model_id = run.model(folder)
    local = Path(store.client.get_logged_model(model_id).artifact_location.removeprefix("file://"))
    lines = (local / "requirements.txt").read_text().split()
    assert {line.partition("==")[0] for line in lines} == {
        "backproof", "numpy", "scipy", "scikit-learn", "mlflow"
    }  # fmt: skip
    assert all(line.partition("==")[2] for line in lines)


def test_a_model_logged_under_the_old_import_name_is_converted(store, tmp_path):
    folder, X, expected = saved_model(tmp_path)
    with store.start("converted", {}, {}) as run:
        model_id = run.model(folder)
    local = Path(store.client.get_logged_model(model_id).artifact_location.removeprefix("file://"))
    description = local / "MLmodel"
    text = description.read_text()
    assert "loader_module: backproof.pyfunc_model" in text
    description.write_text(text.replace("backproof.pyfunc_model", "framework.pyfunc_model"))
    pyfunc_model.convert(local)
    assert description.read_text() == text
    import mlflow.pyfunc
    import pandas

    table = mlflow.pyfunc.load_model(str(local)).predict(pandas.DataFrame(X, columns=["a", "b c", "d"]))
    assert table[["probability_no", "probability_yes"]].to_numpy().tobytes() == expected.tobytes()
    with pytest.raises(ModelFileError, match="there is nothing to convert"):
        pyfunc_model.convert(local)
