"""Floor 3: what a trained stack of networks predicts, and how good that is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from backproof.contracts import CLASSIFICATION, REGRESSION, Array, Metric
from backproof.data import Part, SplitData, with_ones
from backproof.nn.mlp import MLP, Pass

#: Most numbers of one layer's output that are held at a time.
ROOM = 1 << 20


class Predictions:
    """Predictions (R, N, K) of a stack of networks, in rows at a time and memory that is kept.

    theta (R, P) is read at every call, so one object serves all epochs of a training.
    """

    def __init__(self, net: MLP, theta: Array, X: Array, data: SplitData) -> None:
        self.net, self.theta, self.data = net, theta, data
        R, N, K = len(theta), len(X), net.sizes[-1]
        self.table = with_ones(X, theta.dtype)[None]
        self.z = np.empty((R, K, N), theta.dtype)
        rows = min(N, max(1, ROOM // (R * max(net.sizes))))
        self._ranges = [slice(start, min(start + rows, N)) for start in range(0, N, rows)]
        self._passes = {
            B: (Pass(net, theta, None, B), np.empty((R, K, B), theta.dtype))
            for B in {each.stop - each.start for each in self._ranges}
        }

    def logits(self) -> Array:
        """z (R, N, K); overwritten by the next call."""
        for rows in self._ranges:
            passing, z = self._passes[rows.stop - rows.start]
            passing.forward(self.table[:, rows].swapaxes(1, 2), z)
            self.z[..., rows] = z
        return self.z.swapaxes(1, 2)

    def __call__(self, z: Array | None = None) -> Array:
        """What a person reads, (R, N, K): probabilities or scores of all classes or labels, or real values in
        original units, float64."""
        z = (self.logits() if z is None else z).astype(np.float64)
        out = np.empty_like(z)
        self.net.loss.link(z, out)
        if self.data.task == REGRESSION:
            return self.data.scaler.inverse_y(out)
        if self.data.task == CLASSIFICATION and out.shape[-1] == 1:
            # A binary loss has one output, for the second class.
            other = 1 - out if self.net.loss.prediction == "probability" else -out
            return np.concatenate([other, out], axis=-1)
        return out


class Evaluation:
    """The loss and the metrics of a stack of networks on one part of the data."""

    def __init__(
        self, name: str, net: MLP, theta: Array, part: Part, data: SplitData, metrics: Sequence[Metric]
    ) -> None:
        self.name, self.net, self.part, self.metrics = name, net, part, metrics
        self.predict = Predictions(net, theta, part.X, data)
        y = net.loss.encode(data.scaler.transform_y(part.y), net.sizes[-1], theta.dtype)
        self.y = y.T.copy()[None].swapaxes(1, 2)

    def __call__(self) -> dict[str, Array]:
        """`val/loss`, `val/accuracy`, ... (R,) float64, for a part called val."""
        return dict(self._items())

    def _items(self) -> Iterator[tuple[str, Array]]:
        with np.errstate(all="ignore"):
            z = self.predict.logits()
            loss = self.net.loss.value(z, self.y).astype(np.float64)
        yield f"{self.name}/loss", loss
        # A metric of what is not a number is not a number; the loss says that training has diverged.
        finite = np.isfinite(z).all(axis=(1, 2))
        prediction = self.predict(z if finite.all() else z[finite]) if finite.any() and self.metrics else None
        for metric in self.metrics:
            values = np.full(len(z), np.nan)
            if prediction is not None:
                values[finite] = metric(prediction, self.part.y)
            yield f"{self.name}/{metric.name}", values


def summarised(metrics: dict[str, Array]) -> dict[str, float]:
    """Means over the members (R,), each with its standard deviation (of R - 1) as NAME_std where R > 1."""
    numbers: dict[str, float] = {}
    for name, values in metrics.items():
        numbers[name] = float(np.mean(values))
        if len(values) > 1:
            numbers[f"{name}_std"] = float(np.std(values, ddof=1))
    return numbers
