"""Predictions of a saved model for new data, in original units."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from backproof.contracts import CLASSIFICATION, MULTILABEL, Array
from backproof.data import Part, SplitData
from backproof.nn import model_io
from backproof.nn.evaluation import CHUNK_NUMBERS, Predictions
from backproof.nn.model_io import PluginBuilder, SavedModel

#: The approximate number of samples predicted at a time.
CHUNK_ROWS = 1 << 16


class Predictor:
    """A trained stack of networks as one model: predictions are means over its members."""

    def __init__(self, model: SavedModel, plugins: PluginBuilder) -> None:
        self.model = model
        self._net = model.network(plugins)
        empty = Part(np.empty((0, model.sizes[0])), np.empty(0), np.empty(0, np.int64))
        self._data = SplitData(
            empty, None, None, model.scaler, model.task, model.feature_names, model.target_names
        )
        # A multiple of an evaluation's chunk, so that the products and their bits are the same.
        rows = max(1, CHUNK_NUMBERS // (len(model.theta) * max(model.sizes)))
        self._chunk = rows * max(1, CHUNK_ROWS // rows)

    @classmethod
    def load(cls, folder: str | Path, plugins: PluginBuilder) -> Predictor:
        """Load a folder that `model_io.save` wrote. Raise ModelFileError or PluginError."""
        return cls(model_io.load(Path(folder)), plugins)

    def predict(self, X: Any) -> Array:
        """Return (N, K) in float64: probabilities or scores of classes or labels, or values in original units.

        X (N, D) in original units: an array with the features in the order of training, or a DataFrame with a
        column for each, in any order. Raise ValueError for anything else.
        """
        table = self._table(X)
        out = np.empty((len(table), len(self.model.target_names)))
        for start in range(0, len(table), self._chunk):
            rows = slice(start, start + self._chunk)
            out[rows] = self._members(table[rows]).mean(axis=0)
        return out

    def predict_members(self, X: Any) -> Array:
        """Return (R, N, K), the predictions of each member of the stack, which `predict` averages."""
        table = self._table(X)
        out = np.empty((len(self.model.theta), len(table), len(self.model.target_names)))
        for start in range(0, len(table), self._chunk):
            rows = slice(start, start + self._chunk)
            out[:, rows] = self._members(table[rows])
        return out

    def predict_labels(self, X: Any) -> Array:
        """Return the name of the most likely class of each sample (N,), or for labels (N, L) of 0 and 1."""
        return self.labels(self.predict(X))

    def labels(self, prediction: Array) -> Array:
        """Return the labels for a result of `predict`: the class with the largest value, or labels above 0.5."""
        if self.model.task == CLASSIFICATION:
            return np.array(self.model.target_names)[prediction.argmax(axis=1)]
        if self.model.task == MULTILABEL:
            return (prediction > 0.5).astype(np.int64)
        raise ValueError("a regression has no labels: use predict")

    def _members(self, table: Array) -> Array:
        X = self.model.scaler.transform(table)
        return Predictions(self._net, self.model.theta, X, self._data)()

    def _table(self, X: Any) -> Array:
        """Return X as (N, D) float64, with the features in the order of training."""
        names = self.model.feature_names
        if hasattr(X, "columns"):
            missing = [name for name in names if name not in X.columns]
            if missing:
                shown = ", ".join(map(repr, missing[:5])) + (", ..." if len(missing) > 5 else "")
                raise ValueError(f"{len(missing)} of {len(names)} features are missing: {shown}")
        values = X[list(names)].to_numpy() if hasattr(X, "columns") else X
        try:
            table = np.asarray(values, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(f"X must be numbers: {error}") from None
        if table.ndim != 2 or table.shape[1] != len(names):
            raise ValueError(f"X must be (N, {len(names)}), got {table.shape}")
        if not np.isfinite(table).all():
            row, column = np.argwhere(~np.isfinite(table))[0]
            raise ValueError(f"X must be finite, row {row} has {table[row, column]} for {names[column]!r}")
        return table
