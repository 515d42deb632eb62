"""Measure the cost of recording a run of 100 epochs in MLflow (SQLite, on a local disk).

    python benchmarks/recording.py [RUNS]

The first run of a process imports modules and creates the database; the table gives it separately, and the median,
minimum and maximum of the others. Metrics are logged epoch by epoch, as in training.
"""

from __future__ import annotations

import gc
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from backproof.data import Scaler
from backproof.nn.model_io import SavedModel, save
from backproof.render import plots
from backproof.tracking import Run, Store, TrackingOptions

EPOCHS, METRICS, PARAMS = 100, 8, 30


def steps(store: Store, folder: Path) -> dict[str, float]:
    """Record one run. Return seconds by what was recorded."""
    seconds: dict[str, float] = {}

    def timed(name: str, call: Callable[[], object]) -> None:
        started = time.perf_counter()
        call()
        seconds[name] = time.perf_counter() - started

    runs: list[Run] = []
    params = {f"section.param{i}": i for i in range(PARAMS)}
    tags = {
        "backproof.gradcheck": "passed",
        "backproof.config_hash": "0123456789ab",
        "mlflow.note.content": "#",
    }
    timed("start: run, 30 params, tags", lambda: runs.append(store.start("benchmark", params, tags)))
    run = runs[0]

    def metrics() -> None:
        for epoch in range(EPOCHS):
            run.metrics({f"val/metric{i}": 1 / (1 + epoch + i) for i in range(METRICS)}, epoch)
        run.flush()

    timed("800 metrics", metrics)
    timed(
        "2 JSON artifacts", lambda: [run.text(json.dumps({"a": [1.5] * 500}), f"{name}.json") for name in "ab"]
    )
    timed("2 small files", lambda: [run.file(folder / name, "config") for name in ("a.yaml", "b.yaml")])
    timed("end", run.finish)
    seconds["all of these"] = sum(seconds.values())
    timed(
        "(dataset)", lambda: run.dataset("digits", "0123456789ab", {"name": "digits"}, {"rows": 1797}, "train")
    )
    timed("(model, MLflow pyfunc)", lambda: run.model(folder / "network"))
    history = {
        name: [(1 / (1 + i), 0.01) for i in range(EPOCHS)] for name in ("train/loss", "val/loss", "val/a")
    }

    def log_plot(name: str, png: bytes) -> None:
        (folder / name).write_bytes(png)
        run.file(folder / name, "plots")

    timed("(plot of learning curves)", lambda: log_plot("curves.png", plots.learning_curves(history)))
    matrix = np.random.default_rng(0).integers(0, 40, (10, 10))
    names = [str(i) for i in range(10)]
    timed(
        "(plot of a confusion)",
        lambda: log_plot("confusion.png", plots.confusion_matrix(matrix, names)),
    )
    return seconds


def main(runs: int = 15) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name in ("a.yaml", "b.yaml"):
            (folder / name).write_text("key: value\n" * 50)
        sizes, names = (64, 32, 10), tuple(str(i) for i in range(64))
        theta = np.zeros((1, 65 * 32 + 33 * 10))
        network = SavedModel(
            sizes,
            ("relu", {}),
            ("softmax_cross_entropy", {}),
            "classification",
            names,
            names[:10],
            theta,
            Scaler(np.zeros(64), np.ones(64)),
            "probability",
        )
        save(folder / "network", network)
        started = time.perf_counter()
        store = Store.open(TrackingOptions(), folder)
        print(f"open: import MLflow, create the database {time.perf_counter() - started:.2f} s")
        first = steps(store, folder)
        gc.freeze()
        repeated = [steps(store, folder) for _ in range(runs)]
    print(f"\n{'ms':28}{'first':>8}{'median':>8}{'min':>8}{'max':>8}   of {runs} more runs")
    for name, seconds in first.items():
        later = [times[name] * 1e3 for times in repeated]
        middle = statistics.median(later)
        print(f"{name:28}{seconds * 1e3:8.1f}{middle:8.1f}{min(later):8.1f}{max(later):8.1f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
