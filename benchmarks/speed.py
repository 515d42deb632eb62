"""Measure a training step: against scikit-learn's, against its matrix products alone, and in a stack.

    python benchmarks/speed.py [--quick]

float32, one BLAS thread. The candidates take turns in this process, for about the same time each, so that a change
of the clock rate or a busy machine affects all of them; the tables give medians over the turns. Ours is the code
that runs use: `backproof.nn.training.train` on `Batches`, with plugins from the registry. The time of a step is
that of whole epochs divided by their steps, so it includes a share of the costs of an epoch (drawing an order,
gathering the rows, the loss).
A missed target is marked; the exit code is 0.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
import threadpoolctl
from backproof.contracts import Array
from backproof.data import Batches, DataOptions, split
from backproof.discovery.registry import registry
from backproof.nn.mlp import MLP
from backproof.nn.training import train
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

#: Returns the mean seconds per step over many steps.
Contender = Callable[[], float]
LR = 1e-3


@dataclass(frozen=True)
class Network:
    """A network on data, ready to be trained: sizes (D, H, K), X (N, D), y (N,) class indices."""

    sizes: tuple[int, ...]
    X: Array
    y: Array
    batch_size: int

    @property
    def steps(self) -> int:
        """The number of steps of an epoch."""
        return -(-len(self.X) // self.batch_size)

    def ours(self, optimizer: str, epochs: int, repeats: int = 1) -> Contender:
        """Return a contender that trains anew at each call; the first epoch, which allocates, is not timed."""
        plugins = registry()
        build: Callable[..., Any] = plugins.build
        net = MLP(self.sizes, build("activation", "relu"), build("loss", "softmax_cross_entropy"))
        rngs = [np.random.default_rng(seed) for seed in range(repeats)]
        start = net.initial(build("initializer", "he_normal"), rngs, np.float32)
        Y = net.loss.encode(self.y, self.sizes[-1], np.float32)
        batches = Batches(self.X, Y, self.batch_size, rngs, np.float32)
        step, schedule = build("optimizer", optimizer, {"lr": LR}), build("schedule", "constant")
        penalty = build("penalty", "none")

        def run() -> float:
            ends: list[float] = []

            def after_epoch(epoch: int, losses: Array) -> bool:
                ends.append(time.perf_counter())
                return True

            train(
                net,
                start.copy(),
                batches,
                epochs=epochs + 1,
                optimizer=step,
                schedule=schedule,
                penalty=penalty,
                after_epoch=after_epoch,
            )
            return (ends[-1] - ends[0]) / epochs / self.steps

        return run

    def scikit_learn(self, epochs: int, *, partial: bool = False) -> Contender:
        """Return MLPClassifier with Adam, without early stopping and without a validation part.

        `fit` with warm_start continues for `max_iter` epochs and checks its input once; `partial_fit` does one
        epoch per call, and checks it each time.
        """
        model = MLPClassifier(
            self.sizes[1:-1],
            solver="adam",
            alpha=0,
            batch_size=self.batch_size,
            learning_rate_init=LR,
            max_iter=epochs,
            n_iter_no_change=10**9,
            warm_start=not partial,
            random_state=0,
        )
        X, classes = self.X.astype(np.float32), np.unique(self.y)

        def run() -> float:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                started = time.perf_counter()
                if partial:
                    for _ in range(epochs):
                        model.partial_fit(X, self.y, classes=classes)
                else:
                    model.fit(X, self.y)
                seconds = time.perf_counter() - started
            assert model.coefs_[0].dtype == np.float32, "scikit-learn must compute in float32 too"
            return seconds / epochs / self.steps

        return run

    def products(self, repetitions: int) -> Contender:
        """Return the five matrix products of a step alone.

        Their layout is that of `backproof.nn.mlp`: features first, then samples, with a row of ones in the input of
        each layer.
        """
        (D, H, K), B = self.sizes, self.batch_size
        rng = np.random.default_rng(0)

        def array(*shape: int) -> Array:
            return rng.standard_normal((1, *shape)).astype(np.float32)

        x, W1, W2, G1, G2 = array(B, D + 1), array(H, D + 1), array(K, H + 1), array(H, D + 1), array(K, H + 1)
        a, h, z, dz, da = array(H, B), array(H + 1, B), array(K, B), array(K, B), array(H, B)
        xT, hT, W2T = x.swapaxes(1, 2), h.swapaxes(1, 2), W2[..., :-1].swapaxes(1, 2)
        matmul = np.matmul

        def run() -> float:
            started = time.perf_counter()
            for _ in range(repetitions):
                matmul(W1, xT, a)
                matmul(W2, h, z)
                matmul(dz, hT, G2)
                matmul(W2T, dz, da)
                matmul(da, x, G1)
            return (time.perf_counter() - started) / repetitions

        return run


def small() -> Network:
    """Return 64-32-10, batch 32, on the training part of digits."""
    data = split(registry().build("dataset", "digits").load(), DataOptions())
    return Network((64, 32, 10), data.train.X, data.train.y, 32)


def large() -> Network:
    """Return 784-512-10, batch 256, on random numbers."""
    rng = np.random.default_rng(0)
    return Network((784, 512, 10), rng.standard_normal((2560, 784)), rng.integers(0, 10, 2560), 256)


def alternating(contenders: dict[str, Contender], rounds: int) -> dict[str, list[float]]:
    """Return seconds per step by contender, one per round; the first round is not counted."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for counted in range(-1, rounds):
        for name, run in contenders.items():
            seconds = run()
            if counted >= 0:
                times[name].append(seconds)
    return times


def row(name: str, seconds: list[float], unit: float, ratio: str = "") -> None:
    """Print a line: median and quartiles in the unit, and a comparison."""
    low, middle, high = (quantile / unit for quantile in np.quantile(seconds, (0.25, 0.5, 0.75)))
    print(f"  {name:34}{middle:10.4g}{low:10.4g}{high:10.4g}   {ratio}")


def judged(value: float, target: float, *, at_least: bool) -> str:
    """Return '7.40 (target >= 8): MISSED'."""
    met = value >= target if at_least else value <= target
    sign = ">=" if at_least else "<="
    return f"{value:.2f} (target {sign} {target:g}): {'met' if met else 'MISSED'}"


def heading(title: str, unit: str) -> None:
    print(f"\n{title}\n  {'':34}{unit:>10}{'25 %':>10}{'75 %':>10}")


def machine() -> str:
    """Return a description of machine and versions."""
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), cpu)
    blas = ", ".join(
        f"{pool['internal_api']} {pool['version']} ({pool.get('architecture')}, {pool['num_threads']} thread)"
        for pool in threadpoolctl.threadpool_info()
        if pool["user_api"] == "blas"
    )
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return (
        f"{cpu}, {os.cpu_count()} CPUs{load}; {platform.platform()}\n"
        f"Python {platform.python_version()}, NumPy {np.__version__}, scikit-learn {sklearn.__version__}\n{blas}"
    )


def against_scikit_learn(network: Network, rounds: int) -> None:
    contenders = {
        "scikit-learn's fit": network.scikit_learn(5),
        "scikit-learn's partial_fit": network.scikit_learn(5, partial=True),
        "ours": network.ours("adam", epochs=30),
    }
    times = alternating(contenders, rounds)
    ours = statistics.median(times["ours"])
    fit, partial = (statistics.median(times[name]) / ours for name in list(times)[:2])
    heading("64-32-10, Adam, batch 32, digits: one step", "µs")
    for name, seconds in times.items():
        row(name, seconds, 1e-6)
    print(f"  ours is faster than fit by {judged(fit, 8, at_least=True)}; than partial_fit by {partial:.2f}")


def against_products(network: Network, rounds: int) -> None:
    optimizers = {"sgd": 1.15, "adam": 1.35}
    contenders = {name: network.ours(name, epochs=2) for name in optimizers}
    times = alternating({"products": network.products(2 * network.steps), **contenders}, rounds)
    alone = statistics.median(times["products"])
    heading("784-512-10, batch 256, random numbers: one step", "ms")
    row("the matrix products alone", times["products"], 1e-3)
    for name, target in optimizers.items():
        ratio = statistics.median(times[name]) / alone
        row(
            f"ours, {name}",
            times[name],
            1e-3,
            "relative to the products: " + judged(ratio, target, at_least=False),
        )


def in_a_stack(network: Network, rounds: int, repeats: int = 32) -> None:
    contenders = {"alone": network.ours("adam", epochs=30), "stack": network.ours("adam", 2, repeats)}
    times = alternating(contenders, rounds)
    members = [seconds / repeats for seconds in times["stack"]]
    ratio = statistics.median(members) / statistics.median(times["alone"])
    heading(f"64-32-10, Adam, batch 32, digits, repeats={repeats}: one step of one member", "µs")
    row("alone", times["alone"], 1e-6)
    row("in the stack", members, 1e-6, "relative to alone: " + judged(ratio, 0.5, at_least=False))


def commands(calls: int) -> None:
    """Measure the wall time of `backproof ...` as a separate process."""
    targets: dict[str, float | None] = {"--help": 0.6, "train --help": None, "plugins": None}
    script = Path(sys.executable).with_name("backproof")
    command = [str(script)] if script.exists() else [sys.executable, "-m", "backproof"]
    heading("the command, as a process", "s")
    for arguments, target in targets.items():
        seconds: list[float] = []
        for _ in range(calls):
            started = time.perf_counter()
            subprocess.run([*command, *arguments.split()], check=True, stdout=subprocess.DEVNULL)
            seconds.append(time.perf_counter() - started)
        middle = statistics.median(seconds)
        row(f"backproof {arguments}", seconds, 1, judged(middle, target, at_least=False) if target else "")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few repetitions, for a rough impression")
    quick = parser.parse_args().quick
    digits = small()
    with threadpoolctl.threadpool_limits(1):
        print(machine())
        against_scikit_learn(digits, 5 if quick else 40)
        against_products(large(), 3 if quick else 20)
        in_a_stack(digits, 3 if quick else 20)
    commands(3 if quick else 7)


if __name__ == "__main__":
    main()
