"""The time of one check: all checkers on a 64-32-10 network, and backproof's and torch's on two sizes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import threadpoolctl

from benchmarks.gradcheck.checkers import Checker, ours
from benchmarks.gradcheck.problems import Problem, problem

SMALL, LARGE = (64, 32, 10), (784, 512, 10)


@dataclass(frozen=True)
class Cost:
    """One line: what was timed, the median seconds of `calls` calls, and their target."""

    what: str
    seconds: float
    calls: int
    target: float | None = None


def table(checkers: Sequence[Checker], calls: int) -> dict[str, float]:
    """Return the median seconds of each checker, in turns, for a right gradient of 64-32-10 with 23 samples."""
    right = relu(SMALL)
    checks = {checker.name: checker.make() for checker in checkers}
    times: dict[str, list[float]] = {name: [] for name in checks}
    for call in range(calls + 1):
        for name, check in checks.items():
            seconds = _timed(lambda check=check: check(right.candidate(None)))
            if call:  # the first call imports and compiles
                times[name].append(seconds)
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def sizes(calls: int, *, torch: bool) -> list[Cost]:
    """Time backproof, and torch.autograd.gradcheck on the same function computed and differentiated by torch."""
    small, large = relu(SMALL), relu(LARGE)
    check = ours()
    costs = [
        _cost("ours, 64-32-10, all 2,410 coordinates", lambda: check(small.candidate(None)), calls, 0.2),
        _cost(
            "ours, 784-512-10, screen of 407,050 parameters", lambda: check(large.candidate(None)), calls, 0.5
        ),
    ]
    with threadpoolctl.threadpool_limits(2, "blas"):
        costs.append(_cost("the same, two BLAS threads", lambda: check(large.candidate(None)), calls, 0.5))
    if torch:
        costs += [
            _cost("torch gradcheck, 64-32-10, slow", _torch(small, fast=False), calls),
            _cost("torch gradcheck, 64-32-10, fast", _torch(small, fast=True), calls),
            _cost("torch gradcheck, 784-512-10, fast", _torch(large, fast=True), calls),
        ]
        seconds = _forward(large)
        costs.append(
            Cost("torch gradcheck, 784-512-10, slow: 814,100 forward passes alone", 814_100 * seconds, 0)
        )
    return costs


def relu(sizes: tuple[int, ...]) -> Problem:
    """Return a fresh ReLU network in float64."""
    return problem("relu", sizes, "fresh", "float64", np.random.default_rng(0))


def _timed(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def _cost(what: str, call: Callable[[], object], calls: int, target: float | None = None) -> Cost:
    call()
    return Cost(what, statistics.median(_timed(call) for _ in range(calls)), calls, target)


def _torch(problem: Problem, *, fast: bool) -> Callable[[], object]:
    """Return gradcheck of torch's own forward and backward pass of a network."""
    import torch

    loss, inputs = _network(problem)
    return lambda: torch.autograd.gradcheck(loss, inputs, fast_mode=fast)


def _forward(problem: Problem) -> float:
    """Return the seconds of a forward pass in torch, of which its slow mode needs two per parameter."""
    loss, inputs = _network(problem)
    return _cost("", lambda: loss(*inputs), 50).seconds


def _network(problem: Problem) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    import torch
    from torch.nn.functional import cross_entropy, linear, relu

    X, classes = torch.from_numpy(problem.X), torch.from_numpy(problem.y.argmax(axis=1))
    tensors = problem.candidate(None).split(problem.theta)

    def loss(*tensors: torch.Tensor) -> torch.Tensor:
        h, pairs = X, list(zip(tensors[::2], tensors[1::2], strict=True))
        for W, b in pairs[:-1]:
            h = relu(linear(h, W, b))
        return cross_entropy(linear(h, *pairs[-1]), classes)

    return loss, tuple(torch.from_numpy(tensor).requires_grad_() for tensor in tensors)
