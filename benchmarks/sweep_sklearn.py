"""For benchmarks/sweep.py: scikit-learn's network on the grid, recorded by MLflow's autolog.

python benchmarks/sweep_sklearn.py seed=0,1 lr=0.01 decay=0.0
"""

from __future__ import annotations

import sys
import warnings

import mlflow
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import ParameterGrid, train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler
from sweep import BATCH, EPOCHS, HIDDEN


def main() -> None:
    """Train all points, one after another."""
    lists = {key: values.split(",") for key, _, values in (arg.partition("=") for arg in sys.argv[1:])}
    X, y = load_digits(return_X_y=True)
    # As many training samples as ours: three fifths.
    X_train, X_rest, y_train, y_rest = train_test_split(X, y, train_size=0.6, stratify=y, random_state=0)
    scaler = StandardScaler().fit(X_train)
    X_train, X_rest = scaler.transform(X_train), scaler.transform(X_rest)
    mlflow.set_experiment("sklearn")
    mlflow.sklearn.autolog(silent=True)
    warnings.simplefilter("ignore", ConvergenceWarning)
    for point in ParameterGrid(lists):
        model = MLPClassifier(
            (HIDDEN,),
            solver="adam",
            alpha=float(point["decay"]),
            learning_rate_init=float(point["lr"]),
            batch_size=BATCH,
            max_iter=EPOCHS,
            n_iter_no_change=10**9,
            random_state=int(point["seed"]),
        )
        with mlflow.start_run(run_name=f"lr{point['lr']}-decay{point['decay']}-seed{point['seed']}"):
            model.fit(X_train, y_train)
            mlflow.log_metric("test_accuracy", float(model.score(X_rest, y_rest)))


if __name__ == "__main__":
    main()
