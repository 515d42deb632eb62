"""A saved model as MLflow loads it (`mlflow.pyfunc.load_model`), by the name of this module.

It predicts from a table of the features in original units, by name, and returns a table:

    classification   `prediction`, the name of the class, and `probability_NAME` (or `score_NAME`) of each class
    multilabel       `prediction_NAME`, 0 or 1, of each label, then `probability_NAME` of each
    regression       `NAME` of each target, in original units

MLflow needs only `_load_pyfunc`; this module does not import MLflow. Its name is written into every logged model
and must not change. Earlier versions wrote `framework.pyfunc_model`; `convert` corrects that:

    python -c "from backproof.pyfunc_model import convert; convert('path/to/model')"
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from backproof.contracts import CLASSIFICATION, MULTILABEL, REGRESSION
from backproof.contracts.errors import ModelFileError
from backproof.discovery.registry import registry
from backproof.nn.model_io import SavedModel
from backproof.nn.predictor import Predictor

if TYPE_CHECKING:
    from pandas import DataFrame  # pyright: ignore  (no types)


def columns(model: SavedModel) -> list[tuple[str, str]]:
    """Return the columns of a prediction: (name, type)."""
    names = model.target_names
    if model.task == REGRESSION:
        return [(name, "double") for name in names]
    chosen = [("prediction", "string")] if model.task == CLASSIFICATION else []
    if model.task == MULTILABEL:
        chosen = [(f"prediction_{name}", "long") for name in names]
    return chosen + [(f"{model.prediction}_{name}", "double") for name in names]


def convert(folder: str | Path) -> None:
    """Make a logged model that names `framework.pyfunc_model`, or an artifact folder with such models, loadable.

    Raise ModelFileError if no MLmodel file there names it.
    """
    old, new = "loader_module: framework.pyfunc_model", f"loader_module: {__name__}"
    texts = {file: file.read_text(encoding="utf-8") for file in Path(folder).rglob("MLmodel")}
    outdated = {file: text for file, text in texts.items() if old in text}
    if not outdated:
        raise ModelFileError(f"no MLmodel file in {folder} has the line {old!r}: there is nothing to convert")
    for file, text in outdated.items():
        file.write_text(text.replace(old, new), encoding="utf-8")


class PyfuncModel:
    """The model that MLflow calls."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> DataFrame:
        """Return one row for each row of the input."""
        from pandas import DataFrame  # pyright: ignore  (no types)

        prediction = self.predictor.predict(model_input)
        task = self.predictor.model.task
        values: list[Any] = list(prediction.T)
        if task == CLASSIFICATION:
            values.insert(0, self.predictor.labels(prediction))
        elif task == MULTILABEL:
            values = [*self.predictor.labels(prediction).T, *values]
        names = [name for name, _ in columns(self.predictor.model)]
        return DataFrame(dict(zip(names, values, strict=True)), index=getattr(model_input, "index", None))


def _load_pyfunc(path: str) -> PyfuncModel:  # pyright: ignore[reportUnusedFunction]  (MLflow calls it)
    return PyfuncModel(Predictor.load(path, registry()))
