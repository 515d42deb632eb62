"""Predictions of a trained stack of networks, and their loss and metrics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from backproof.contracts import CLASSIFICATION, REGRESSION, Array, Metric
from backproof.data import Part, SplitData, with_ones
from backproof.nn.functions import stacked_targets
from backproof.nn.mlp import MLP, Pass

#: The maximum size of one layer's output that is held at a time.
CHUNK_NUMBERS = 1 << 20


class Predictions:
    """Predictions (R, N, K) of a stack of networks, chunk by chunk of rows, in memory that is reused.

    theta (R, P) is read at every call, so that one object serves all epochs of a training.
    """

    def __init__(self, net: MLP, theta: Array, X: Array, data: SplitData) -> None:
        self.net, self.theta, self.data = net, theta, data
        R, N, K = len(theta), len(X), net.sizes[-1]
        self.table = with_ones(X, theta.dtype)[None]
        self.z = np.empty((R, K, N), theta.dtype)
        chunk = min(N, max(1, CHUNK_NUMBERS // (R * max(net.sizes))))
        self._ranges = [slice(start, min(start + chunk, N)) for start in range(0, N, chunk)]
        self._passes = {
            B: (Pass(net, theta, None, B), np.empty((R, K, B), theta.dtype))
            for B in {rows.stop - rows.start for rows in self._ranges}
        }

    def logits(self) -> Array:
        """Return z (R, N, K); the next call overwrites it."""
        for rows in self._ranges:
            network_pass, z = self._passes[rows.stop - rows.start]
            network_pass.forward(self.table[:, rows].swapaxes(1, 2), z)
            self.z[..., rows] = z
        return self.z.swapaxes(1, 2)

    def __call__(self, z: Array | None = None) -> Array:
        """Return predictions (R, N, K) in float64: probabilities or scores of all classes or labels, or real values
        in original units.
        """
        z = (self.logits() if z is None else z).astype(np.float64)
        out = np.empty_like(z)
        self.net.loss.link(z, out)
        if self.data.task == REGRESSION:
            return self.data.scaler.inverse_y(out)
        if self.data.task == CLASSIFICATION and out.shape[-1] == 1:
            # A binary loss has one output, for the second class.
            first_class = 1 - out if self.net.loss.prediction == "probability" else -out
            return np.concatenate([first_class, out], axis=-1)
        return out


class Evaluation:
    """The loss and the metrics of a stack of networks on one part of the data."""

    def __init__(
        self, name: str, net: MLP, theta: Array, part: Part, data: SplitData, metrics: Sequence[Metric]
    ) -> None:
        self.name, self.net, self.part, self.metrics = name, net, part, metrics
        self.predict = Predictions(net, theta, part.X, data)
        y = net.loss.encode(data.scaler.transform_y(part.y), net.sizes[-1], theta.dtype)
        self.y = stacked_targets(y, theta.dtype)

    def __call__(self) -> dict[str, Array]:
        """Return `val/loss`, `val/accuracy`, ... (R,) in float64, for a part called val."""
        return dict(self._items())

    def _items(self) -> Iterator[tuple[str, Array]]:
        with np.errstate(all="ignore"):
            z = self.predict.logits()
            loss = self.net.loss.value(z, self.y).astype(np.float64)
        yield f"{self.name}/loss", loss
        # Metrics of members with non-finite logits are NaN; their loss shows that training has diverged.
        finite = np.isfinite(z).all(axis=(1, 2))
        prediction = self.predict(z if finite.all() else z[finite]) if finite.any() and self.metrics else None
        for metric in self.metrics:
            values = np.full(len(z), np.nan)
            if prediction is not None:
                values[finite] = metric(prediction, self.part.y)
            yield f"{self.name}/{metric.name}", values


def summarize(metrics: dict[str, Array]) -> dict[str, float]:
    """Return the mean over the members (R,), and for R > 1 the standard deviation (over R - 1) as NAME_std."""
    summary: dict[str, float] = {}
    for name, values in metrics.items():
        summary[name] = float(np.mean(values))
        if len(values) > 1:
            summary[f"{name}_std"] = float(np.std(values, ddof=1))
    return summary
