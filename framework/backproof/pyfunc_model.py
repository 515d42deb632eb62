"""Floor 3: a saved model as MLflow loads it (`mlflow.pyfunc.load_model`), by the name of this module.

It takes a table of the features in original units, by name, and gives a table:

    classification   `prediction`, the name of the class, and `probability_NAME` (or `score_NAME`) of each class
    multilabel       `prediction_NAME`, 0 or 1, of each label, then `probability_NAME` of each
    regression       `NAME` of each target, in original units

This module does not import MLflow, which asks for no more than `_load_pyfunc`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from backproof.contracts import CLASSIFICATION, MULTILABEL, REGRESSION
from backproof.discovery.registry import registry
from backproof.nn.model_io import SavedModel
from backproof.nn.predictor import Predictor

if TYPE_CHECKING:
    from pandas import DataFrame  # pyright: ignore  (no types)


def columns(model: SavedModel) -> list[tuple[str, str]]:
    """The columns of a prediction: (name, type)."""
    names = model.target_names
    if model.task == REGRESSION:
        return [(name, "double") for name in names]
    chosen = [("prediction", "string")] if model.task == CLASSIFICATION else []
    if model.task == MULTILABEL:
        chosen = [(f"prediction_{name}", "long") for name in names]
    return chosen + [(f"{model.prediction}_{name}", "double") for name in names]


class PyfuncModel:
    """What MLflow calls."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> DataFrame:
        """One row for each row of the input."""
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
