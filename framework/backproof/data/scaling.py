"""Scaling of features and regression targets: each column is shifted and divided."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from backproof.contracts import Array

STANDARD, MINMAX, NONE = "standard", "minmax", "none"


@dataclass(frozen=True)
class Scaler:
    """The scaling (x - offset) / scale of each feature, and of real targets, fitted on the training part."""

    offset: Array  # (D,)
    scale: Array  # (D,)
    y_offset: Array | None = None  # (T,) in regression
    y_scale: Array | None = None  # (T,)

    @classmethod
    def fit(cls, X: Array, y: Array | None, scaling: str, target_scaling: str) -> Scaler:
        """Return a scaler for X (N, D) and, in regression, y (N, T).

        Raise ValueError for a column whose values are too large to be scaled.
        """
        offset, scale = _offset_and_scale(X, scaling)
        y_offset, y_scale = (None, None) if y is None else _offset_and_scale(y, target_scaling)
        for name, scales in (("feature", scale), ("target", y_scale)):
            if scales is not None and not np.isfinite(scales).all():
                column = int(np.flatnonzero(~np.isfinite(scales))[0])
                raise ValueError(
                    f"the values of {name} {column} (counted from 0) are too large to be scaled in float64: "
                    "rescale them, or drop the column"
                )
        return cls(offset, scale, y_offset, y_scale)

    def transform(self, X: Array) -> Array:
        """Return scaled features (..., D), float64."""
        return (X - self.offset) / self.scale

    def inverse(self, X: Array) -> Array:
        """Return features (..., D) in their original units."""
        return X * self.scale + self.offset

    def transform_y(self, y: Array) -> Array:
        """Return scaled targets (..., T); y itself if the targets are not real numbers."""
        return y if self.y_offset is None or self.y_scale is None else (y - self.y_offset) / self.y_scale

    def inverse_y(self, y: Array) -> Array:
        """Return targets or predictions (..., T) in original units; y itself if they are not real numbers."""
        return y if self.y_offset is None or self.y_scale is None else y * self.y_scale + self.y_offset


def _offset_and_scale(values: Array, scaling: str) -> tuple[Array, Array]:
    """Return the mean and standard deviation (over N, not N - 1), or the minimum and range, of each column.

    A column that is constant, up to the rounding of its mean, is only shifted.
    """
    columns: int = values.shape[1]
    if scaling == NONE:
        return np.zeros(columns), np.ones(columns)
    offset: Array
    scale: Array
    with np.errstate(over="ignore", invalid="ignore"):
        if scaling == MINMAX:
            offset = values.min(axis=0)
            scale = values.max(axis=0) - offset
        else:
            offset, scale = values.mean(axis=0), values.std(axis=0)
    rounding = 10 * np.finfo(np.float64).eps * np.abs(offset)
    constant = (values == values[0]).all(axis=0) | (np.isfinite(offset) & (scale <= rounding))
    # The first value of a constant column is exact; its mean may be rounded.
    offset[constant] = values[0][constant]
    scale[constant] = 1
    return offset, scale
