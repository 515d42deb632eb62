"""Compare accuracy with scikit-learn's MLPClassifier, on identical folds of four small datasets.

    python benchmarks/accuracy.py [--quick] [--initializer he_normal]

Both train one hidden layer of 100 ReLU units with Adam at 0.001 for 200 epochs (scikit-learn's defaults) in batches
of 32, without penalty and early stopping, on features scaled by the training part. Weights start from Glorot's
uniform distribution, the only one scikit-learn has; `--initializer` chooses another for ours. scikit-learn also
initializes biases randomly, and has one logistic output for two classes where we have a softmax.

Folds are stratified, 5 of them for each of two seeds; in each, both train from two starts (ours as one stack) whose
accuracies are averaged. The interval of the difference is Nadeau and Bengio's (2003): a paired t interval over the
folds, its variance corrected for overlapping training parts, s² (1/J + n_test/n_train). Equal: it contains 0.
"""

from __future__ import annotations

import argparse
import functools
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from backproof.contracts import Array, Dataset
from backproof.data import Batches, Scaler
from backproof.discovery.registry import registry
from backproof.nn.mlp import MLP
from backproof.nn.objective import DataLoss
from backproof.nn.training import train
from scipy import stats
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import StratifiedKFold
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

#: Accuracies to reach, as stated when the project began.
REFERENCE = {"iris": 0.95, "wine": 0.98, "breast_cancer": 0.975, "digits": 0.98}
HIDDEN, LR, BATCH, EPOCHS, FOLDS = 100, 1e-3, 32, 200, 5


def folds(dataset: Dataset, seeds: int) -> Iterator[tuple[Array, Array, Array, Array]]:
    """Yield training features and classes, then test ones; features are scaled by the training part."""
    for seed in range(seeds):
        splitter = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
        for fit, test in splitter.split(dataset.X, dataset.y):
            X = Scaler.fit(dataset.X[fit], None, "standard", "none").transform(dataset.X)
            yield X[fit], dataset.y[fit], X[test], dataset.y[test]


def ours(initializer: str, X: Array, y: Array, X_test: Array, y_test: Array, starts: int) -> float:
    """Return the mean accuracy of `starts` networks trained as one stack."""
    build: Callable[..., Any] = registry().build
    K = int(y.max()) + 1
    net = MLP((X.shape[1], HIDDEN, K), build("activation", "relu"), build("loss", "softmax_cross_entropy"))
    rngs = [np.random.default_rng(start) for start in range(starts)]
    theta = net.initial(build("initializer", initializer), rngs, np.float64)
    train(
        net,
        theta,
        Batches(X, net.loss.encode(y, K, np.float64), BATCH, rngs, np.float64),
        epochs=EPOCHS,
        optimizer=build("optimizer", "adam", {"lr": LR}),
        schedule=build("schedule", "constant"),
        penalty=build("penalty", "none"),
        after_epoch=lambda *_: True,
    )
    z = DataLoss(net, X_test, net.loss.encode(y_test, K, np.float64)).logits(theta)
    return float((z.argmax(axis=-1) == y_test).mean())


def theirs(X: Array, y: Array, X_test: Array, y_test: Array, starts: int) -> float:
    """Return the mean accuracy of `starts` scikit-learn networks."""
    scores: list[float] = []
    for start in range(starts):
        model = MLPClassifier(
            (HIDDEN,),
            alpha=0,
            batch_size=BATCH,
            learning_rate_init=LR,
            max_iter=EPOCHS,
            n_iter_no_change=EPOCHS + 1,
            random_state=start,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            scores.append(float(model.fit(X, y).score(X_test, y_test)))
    return float(np.mean(scores))


def interval(differences: Array, test_to_train: float) -> float:
    """Return half the 95 % interval of the mean of the differences (J,)."""
    J = len(differences)
    deviation = np.sqrt(differences.var(ddof=1) * (1 / J + test_to_train))
    return float(stats.t.ppf(0.975, J - 1) * deviation)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one seed of the folds, one start")
    parser.add_argument("--initializer", default="glorot_uniform", choices=registry().names("initializer"))
    args = parser.parse_args()
    seeds, starts = (1, 1) if args.quick else (2, 2)
    contenders = {"ours": functools.partial(ours, args.initializer), "scikit-learn": theirs}
    print(f"D-{HIDDEN}-K, Adam {LR:g}, batch {BATCH}, {EPOCHS} epochs, ours from {args.initializer}")
    print(
        f"{FOLDS} folds x {seeds} seeds x {starts} starts; accuracy: mean ± standard deviation over the folds"
    )
    print(f"{'':15}{'ours':>16}{'scikit-learn':>16}{'difference, 95 %':>25}{'reference':>17}{'seconds':>16}")
    for name, reference in REFERENCE.items():
        dataset: Dataset = registry().build("dataset", name).load()
        scores: dict[str, list[float]] = {contender: [] for contender in contenders}
        seconds = dict.fromkeys(contenders, 0.0)
        for fold in folds(dataset, seeds):
            for contender, accuracy in contenders.items():
                started = time.perf_counter()
                scores[contender].append(accuracy(*fold, starts))
                seconds[contender] += time.perf_counter() - started
        a, b = map(np.array, scores.values())
        difference, half = (a - b).mean(), interval(a - b, 1 / (FOLDS - 1))
        verdict = "level" if abs(difference) <= half else "better" if difference > 0 else "WORSE"
        print(
            f"{name:15}"
            + "".join(f"{x.mean():8.4f} ± {x.std(ddof=1):.3f}" for x in (a, b))
            + f"{difference:+11.4f} ± {half:.4f} {verdict:>6}{reference:9.3f} ({a.mean() - reference:+.3f})"
            + "".join(f"{total:8.1f}" for total in seconds.values())
        )


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
